/**
 * Handles to objects: looking them up, adding, replacing and removing objects, in the store or in a session.
 *
 * Handles of token objects are made of their number in the store, so listing any number keeps nothing in memory; those of
 * private objects also of the login, with which they end. Handles of session objects are odd.
 * @module
 */
import { toHex, utf8 } from "../../codec/bytes.ts";
import type { Application, OpenToken, Session } from "../application.ts";
import { attr } from "../codes.ts";
import { refuse } from "../refusal.ts";
import { insertObject, readObject, readRevision, removeObject, replaceObject } from "../store/objects.ts";
import type { Draft } from "./assemble.ts";
import { TokenObject } from "./object.ts";
import { newUid, openRow, sealRow } from "./records.ts";

const LOGIN_TAGS = 255;

/** The handle of a row; private ones carry a tag of the login. */
export function handleOf(token: OpenToken, row: number, isPrivate: boolean): number {
  const tag = isPrivate ? 1 + (token.logins % LOGIN_TAGS) : 0;
  return (row * (LOGIN_TAGS + 1) + tag) * 2;
}

function rowOf(handle: number): number {
  return Math.floor(handle / (2 * (LOGIN_TAGS + 1)));
}

/** Whether the application may see an object: private ones only the user (4.4). */
export function isVisible(token: OpenToken, isPrivate: boolean): boolean {
  return !isPrivate || token.role === "user";
}

/** The object of a handle, as it is in the store now; undefined if there is none that may be seen. */
export function findByHandle(app: Application, session: Session, wanted: number | bigint): TokenObject | undefined {
  const handle = Number(wanted);
  const { token } = session;
  if (handle % 2 === 1) {
    const object = token.sessionObjects.get(handle);
    return object !== undefined && isVisible(token, object.isPrivate) ? object : undefined;
  }
  const known = token.cache.get(handle);
  if (known === undefined) return readIn(app, token, handle);
  if (known.seen === app.epoch) return known;
  if (readRevision(app.db, known.row!) === known.revision) {
    known.seen = app.epoch;
    return known;
  }
  return readIn(app, token, handle, known);
}

function readIn(app: Application, token: OpenToken, handle: number, before?: TokenObject): TokenObject | undefined {
  const row = readObject(app.db, rowOf(handle));
  if (row?.slot !== token.slot || handleOf(token, row.id, row.private) !== handle || !isVisible(token, row.private)) {
    token.forget(handle);
    return undefined;
  }
  const opened = openRow(token, token.keys, row);
  const object = new TokenObject({ handle, row: row.id, ...row, ...opened, materials: before?.materials });
  object.seen = app.epoch;
  token.cache.set(handle, object);
  return object;
}

/** @throws Refusal CKR_OBJECT_HANDLE_INVALID */
export function getObject(app: Application, session: Session, handle: number | bigint): TokenObject {
  return findByHandle(app, session, handle) ?? refuse("CKR_OBJECT_HANDLE_INVALID");
}

/** Whether a session may write such an object (5.7.1, table 6). @throws Refusal */
export function mustBeWritable(session: Session, isToken: boolean, isPrivate: boolean): void {
  if (isToken && !session.isReadWrite) refuse("CKR_SESSION_READ_ONLY", "an object of the token");
  if (isPrivate && session.token.role !== "user") refuse("CKR_USER_NOT_LOGGED_IN", "a private object");
}

/** Refuses before the work of making an object is done what would be refused after it. */
export function checkAccess(session: Session, template: Draft["values"], isPrivateByDefault: boolean): void {
  const isPrivate = (template.get(attr.PRIVATE) as boolean | undefined) ?? isPrivateByDefault;
  mustBeWritable(session, template.get(attr.TOKEN) === true, isPrivate);
}

/** Puts new objects where their CKA_TOKEN says, all or none, and gives their handles. */
export function addObjects(app: Application, session: Session, drafts: readonly Draft[]): number[] {
  for (const { values } of drafts) {
    mustBeWritable(session, values.get(attr.TOKEN) === true, values.get(attr.PRIVATE) === true);
  }
  const handles = new Map<Draft, number>();
  const add = (isToken: boolean) => {
    for (const draft of drafts) {
      if ((draft.values.get(attr.TOKEN) === true) === isToken) handles.set(draft, addObject(app, session, draft));
    }
  };
  // The store first: it may be busy, and then all of this is done again.
  if (drafts.length > 1) app.db.transaction(() => add(true));
  else add(true);
  add(false);
  // What is sealed now need not stay in the open.
  for (const { values, secrets } of drafts) if (values.get(attr.TOKEN) === true) wipe(secrets);
  return drafts.map((draft) => handles.get(draft)!);
}

function wipe(secrets: ReadonlyMap<number, Uint8Array>): void {
  for (const secret of secrets.values()) secret.fill(0);
}

function addObject(app: Application, session: Session, { values, secrets }: Draft): number {
  const { token } = session;
  const isPrivate = values.get(attr.PRIVATE) === true;
  const uid = newUid(token, token.keys, isPrivate);
  values.set(attr.UNIQUE_ID, utf8(toHex(uid)));
  if (values.get(attr.TOKEN) === true) {
    const sealed = sealRow(token, token.keys, uid, values, secrets);
    const row = insertObject(app.db, token, sealed) ?? refuse("CKR_DEVICE_REMOVED");
    return handleOf(token, row, isPrivate);
  }
  const handle = app.nextHandle() * 2 + 1;
  const object = new TokenObject({
    handle,
    row: undefined,
    uid,
    revision: 0,
    values,
    secretTypes: new Set(secrets.keys()),
    secret: (type) => {
      const value = secrets.get(type);
      return value && new Uint8Array(value);
    },
  });
  object.material("secrets", () => ({ free: () => wipe(secrets) }));
  token.sessionObjects.set(handle, object);
  session.objects.add(handle);
  return handle;
}

/** Changes attributes of an object that is there. The caller has checked that it may. */
export function changeObject(app: Application, session: Session, object: TokenObject, changed: Draft["values"]): void {
  mustBeWritable(session, object.isToken, object.isPrivate);
  const values = new Map([...object.values, ...changed]);
  if (object.row === undefined) {
    for (const [type, value] of changed) object.values.set(type, value);
    return;
  }
  const { token } = session;
  if (object.hasMac && token.keys === undefined) {
    refuse("CKR_USER_NOT_LOGGED_IN", "an object that was made under a login is changed under one only");
  }
  const secrets = secretsOf(object);
  const sealed = sealRow(token, token.keys, object.uid, values, secrets);
  wipe(secrets);
  if (!replaceObject(app.db, object.row, object.revision, sealed)) {
    refuse("CKR_FUNCTION_FAILED", "the object was changed by another process meanwhile");
  }
}

/** All sealed values of an object, opened. */
export function secretsOf(object: TokenObject): Map<number, Uint8Array> {
  return new Map([...object.secretTypes].map((type) => [type, object.secret(type)!]));
}

export function destroyObject(app: Application, session: Session, object: TokenObject): void {
  mustBeWritable(session, object.isToken, object.isPrivate);
  if (object.row !== undefined && !removeObject(app.db, object.row)) refuse("CKR_OBJECT_HANDLE_INVALID");
  session.token.forget(object.handle);
  for (const other of session.token.sessions) other.objects.delete(object.handle);
}
