/**
 * Objects: C_CreateObject, C_CopyObject, C_DestroyObject, C_GetObjectSize, C_GetAttributeValue, C_SetAttributeValue and
 * the search. PKCS#11 3.1, 5.7.
 * @module
 */
import type {
  Args,
  Attribute,
  AttributeReplies,
  AttributeReply,
  AttributeRequest,
  AttributeValue,
  Reply,
} from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { attributeName } from "../../spec/attributes.ts";
import { CKR } from "../../spec/returns.ts";
import type { Application, Session } from "../application.ts";
import { attr, cls } from "../codes.ts";
import { refuse } from "../refusal.ts";
import { findObjects, type Query, readEntries } from "../store/objects.ts";
import { isTemplate, type Values } from "../store/record.ts";
import { isUlong } from "../ulong.ts";
import {
  addObjects,
  changeObject,
  destroyObject,
  findByHandle,
  getObject,
  handleOf,
  isVisible,
  mustBeWritable,
  secretsOf,
} from "./access.ts";
import { assemble } from "./assemble.ts";
import type { TokenObject } from "./object.ts";
import { isSecretClass, type Rule } from "./policy.ts";
import { entry, indexValues, isIndexed, verifyEntries } from "./records.ts";
import { lengthInC, readTemplate, sameValue } from "./template.ts";

export function createObject(app: Application, args: Args<"C_CreateObject">): Reply<"C_CreateObject"> {
  const session = app.session(args.session);
  const draft = assemble({ origin: "create", template: args.template, isSo: session.token.role === "so" });
  return { object: addObjects(app, session, [draft])[0]! };
}

/** What C_CopyObject and C_SetAttributeValue may do to an attribute. @throws Refusal */
function checkChange(
  object: TokenObject,
  rule: Rule | undefined,
  type: number,
  value: AttributeValue,
  how: Change,
): void {
  const { notes } = rule ?? refuse("CKR_ATTRIBUTE_TYPE_INVALID", attributeName(type));
  if (sameValue(object.values.get(type), value)) return;
  const readOnly = (): never => refuse("CKR_ATTRIBUTE_READ_ONLY", attributeName(type));
  // Footnote 10, and with it that only the SO takes trust away.
  if (notes.has("10")) {
    if (!how.isSo) readOnly();
    return;
  }
  if (type === attr.PUBLIC_KEY_INFO && object.class === cls.PRIVATE_KEY) {
    refuse("CKR_ATTRIBUTE_VALUE_INVALID", "CKA_PUBLIC_KEY_INFO is of another key");
  }
  if (!notes.has("8") && !(how.isCopy && notes.has("c"))) readOnly();
  const before = object.values.get(type);
  if (notes.has("11") && before === true) readOnly();
  if (notes.has("12") && before === false) readOnly();
  // 5.7.2: a copy may become private, never public.
  if (type === attr.PRIVATE && before === true) refuse("CKR_TEMPLATE_INCONSISTENT", "a copy cannot be less private");
}

interface Change {
  readonly isSo: boolean;
  readonly isCopy: boolean;
}

function changes(object: TokenObject, template: readonly Attribute[], how: Change): Values {
  const given = readTemplate(template);
  for (const [type, value] of given) checkChange(object, object.policy.get(type), type, value, how);
  return given;
}

export function copyObject(app: Application, args: Args<"C_CopyObject">): Reply<"C_CopyObject"> {
  const session = app.session(args.session);
  const object = getObject(app, session, args.object);
  if (!object.flag(attr.COPYABLE)) return refuse("CKR_ACTION_PROHIBITED", "CKA_COPYABLE is false");
  const changed = changes(object, args.template, { isSo: session.token.role === "so", isCopy: true });
  const values = new Map([...object.values, ...changed]);
  // Trust is given to one object, not to its copies.
  if (session.token.role !== "so" && values.has(attr.TRUSTED)) values.set(attr.TRUSTED, false);
  if (isSecretClass(object.class) && values.get(attr.TOKEN) === true && values.get(attr.PRIVATE) !== true) {
    return refuse("CKR_TEMPLATE_INCONSISTENT", "a secret or private key in the token with CKA_PRIVATE false");
  }
  mustBeWritable(session, values.get(attr.TOKEN) === true, values.get(attr.PRIVATE) === true);
  return { copy: addObjects(app, session, [{ values, secrets: secretsOf(object) }])[0]! };
}

export function destroy(app: Application, args: Args<"C_DestroyObject">): Reply<"C_DestroyObject"> {
  const session = app.session(args.session);
  const object = getObject(app, session, args.object);
  mustBeWritable(session, object.isToken, object.isPrivate);
  if (!object.flag(attr.DESTROYABLE)) return refuse("CKR_ACTION_PROHIBITED", "CKA_DESTROYABLE is false");
  destroyObject(app, session, object);
  return {};
}

export function objectSize(app: Application, args: Args<"C_GetObjectSize">): Reply<"C_GetObjectSize"> {
  const session = app.session(args.session);
  const object = getObject(app, session, args.object);
  let size = 0;
  for (const value of object.values.values()) size += lengthInC(value);
  for (const type of object.secretTypes) size += object.secret(type)?.length ?? 0;
  return { size };
}

export function setAttributes(app: Application, args: Args<"C_SetAttributeValue">): Reply<"C_SetAttributeValue"> {
  const session = app.session(args.session);
  const object = getObject(app, session, args.object);
  mustBeWritable(session, object.isToken, object.isPrivate);
  const isSo = session.token.role === "so";
  // The SO may call an object trusted that its owner may not change any more.
  const onlyTrust = isSo && args.template.every(({ type }) => type === attr.TRUSTED);
  if (!object.flag(attr.MODIFIABLE) && !onlyTrust) return refuse("CKR_ACTION_PROHIBITED", "CKA_MODIFIABLE is false");
  changeObject(app, session, object, changes(object, args.template, { isSo, isCopy: false }));
  return {};
}

export function getAttributes(app: Application, args: Args<"C_GetAttributeValue">): Reply<"C_GetAttributeValue"> {
  const session = app.session(args.session);
  return { values: readAttributes(getObject(app, session, args.object), args.requests) };
}

function readAttributes(object: TokenObject, requests: readonly AttributeRequest[]): AttributeReplies {
  let rv: number = CKR.CKR_OK[0];
  const values = requests.map((request): AttributeReply => {
    const { type } = request;
    if (object.isSecret(type) && !object.isReadable) {
      rv = CKR.CKR_ATTRIBUTE_SENSITIVE[0];
      return { type };
    }
    const value = object.visible(type);
    if (value === undefined) {
      rv = CKR.CKR_ATTRIBUTE_TYPE_INVALID[0];
      return { type };
    }
    const reply = intoRequest(request, value);
    // What cannot be read at all says more than what is read with more room.
    if (!reply.fits && rv === CKR.CKR_OK[0]) rv = CKR.CKR_BUFFER_TOO_SMALL[0];
    return reply.reply;
  });
  return { rv, values };
}

function intoRequest(request: AttributeRequest, value: AttributeValue): { reply: AttributeReply; fits: boolean } {
  const { type, room, nested } = request;
  const needed = lengthInC(value);
  if (room === null) return { reply: { type, needed }, fits: true };
  if (room !== undefined && room < needed) return { reply: { type, needed }, fits: false };
  if (nested === undefined || !Array.isArray(value) || !isTemplate(value))
    return { reply: { type, value }, fits: true };
  const tooLong = value.some((item, i) => {
    const inner = nested[i]?.room;
    return inner !== undefined && inner !== null && inner < lengthInC(item.value);
  });
  return tooLong ? { reply: { type, needed }, fits: false } : { reply: { type, value }, fits: true };
}

export function findInit(app: Application, args: Args<"C_FindObjectsInit">): Reply<"C_FindObjectsInit"> {
  const session = app.session(args.session);
  session.operations.mustBeFree("find");
  const wanted = readTemplate(args.template);
  session.operations.begin("find", { found: search(app, session, wanted), at: 0 });
  return {};
}

function search(app: Application, session: Session, wanted: Values): number[] {
  const { token } = session;
  const fits = (object: TokenObject) => [...wanted].every(([type, value]) => sameValue(object.visible(type), value));
  const own = [...token.sessionObjects.values()]
    .filter((object) => isVisible(token, object.isPrivate) && fits(object))
    .map((object) => object.handle);
  if (wanted.get(attr.TOKEN) === false) return own;
  const includePrivate = token.role === "user" && wanted.get(attr.PRIVATE) !== false;
  const query: Query = indexValues(wanted, (field, value) => {
    const open = entry(token, undefined, field, value);
    return includePrivate ? [open, entry(token, token.keys, field, value)] : [open];
  });
  const fields = [...wanted].filter(([type, value]) => !isPlain(type, value));
  const byIndex = fields.every(([type, value]) => isIndexed(type, value));
  const isFound = (row: { id: number; private: boolean }, handle: number): boolean => {
    if (fields.length === 0) return true;
    if (byIndex && row.private) {
      const entries = readEntries(app.db, row.id);
      if (entries === undefined) return false;
      if (verifyEntries(token, token.keys!, entries) === true) return true;
    }
    const wasKnown = token.cache.has(handle);
    const object = findByHandle(app, session, handle);
    const isRight = object !== undefined && fits(object);
    // What a search of thousands only looked at is not kept.
    if (!isRight && !wasKnown) token.forget(handle);
    return isRight;
  };
  const found = findObjects(app.db, token.slot, query, includePrivate)
    .map((row) => [row, handleOf(token, row.id, row.private)] as const)
    .filter(([row, handle]) => isFound(row, handle))
    .map(([, handle]) => handle);
  return [...own, ...found];
}

/**
 * Whether an attribute of a token object is taken from the store as it stands there: CKA_TOKEN, and the class, at which
 * every use of an object looks again. Whoever can write the file can change what else an object is found by, so that is
 * verified.
 */
function isPlain(type: number, value: AttributeValue): boolean {
  return type === attr.CLASS || (type === attr.TOKEN && value === true);
}

export function find(app: Application, args: Args<"C_FindObjects">): Reply<"C_FindObjects"> {
  const { operations } = app.session(args.session);
  return operations.step("find", ({ work }) => {
    if (!isUlong(args.max)) return refuse("CKR_ARGUMENTS_BAD", `${args.max} objects at most`);
    const objects = work.found.slice(work.at, work.at + small(args.max));
    work.at += objects.length;
    return { objects };
  });
}

export function findFinal(app: Application, args: Args<"C_FindObjectsFinal">): Reply<"C_FindObjectsFinal"> {
  const { operations } = app.session(args.session);
  operations.get("find");
  operations.end("find");
  return {};
}
