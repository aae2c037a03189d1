/**
 * Objects and their rows: what is sealed, what is authenticated, and under which index entries a row is found.
 * @module
 */
import { randomBytes } from "node:crypto";
import { concat, sameBytes, toHex, utf8 } from "../../codec/bytes.ts";
import type { AttributeValue } from "../../cryptoki/port.ts";
import { authenticate, blindEntry, openEntry, sameMac } from "../../seal/blind.ts";
import { openEnvelope, sealEnvelope } from "../../seal/envelope.ts";
import { attr } from "../codes.ts";
import type { TokenKeys } from "../login.ts";
import { refuse } from "../refusal.ts";
import {
  type Entries,
  INDEXED,
  type IndexEntries,
  type IndexedField,
  type NewObject,
  type ObjectRow,
  type Owner,
  TAIL_LENGTH,
} from "../store/objects.ts";
import { decodeSealed, decodeValues, encodeSealed, encodeValues, type Values } from "../store/record.ts";

/** Stands for all open attributes of a private object, which are sealed as one value. */
const ALL_ATTRIBUTES = 0xffff_ffff;

/** Flags that a stranger with write access to the file must not be able to turn (see `verifyRow`). */
const GUARDED: readonly (readonly [type: number, stranger: boolean])[] = [
  [attr.TRUSTED, false],
  [attr.MODIFIABLE, true],
  [attr.COPYABLE, true],
  [attr.DESTROYABLE, true],
];

/** Whether a public object says something that only a row with a MAC may say. */
function isGuarded(values: Values): boolean {
  return GUARDED.some(([type, stranger]) => values.has(type) && values.get(type) !== stranger);
}

/** What a sealed value belongs to: token, generation, object, attribute. */
function bindTo(owner: Owner, uid: Uint8Array, type: number): Uint8Array {
  return concat(utf8(`${owner.serial}/${owner.generation}/${type.toString(16)}/`), uid);
}

/** The row of an object. @throws Refusal CKR_USER_NOT_LOGGED_IN when it takes a key that is not there */
export function sealRow(
  owner: Owner,
  keys: TokenKeys | undefined,
  uid: Uint8Array,
  values: Values,
  secrets: ReadonlyMap<number, Uint8Array>,
): NewObject {
  const isPrivate = values.get(attr.PRIVATE) === true;
  const plain = encodeValues(values);
  const index = indexOf(owner, values, isPrivate ? keys : undefined);
  if (!isPrivate) {
    if (keys === undefined && isGuarded(values)) {
      return refuse(
        "CKR_USER_NOT_LOGGED_IN",
        "a public object that is trusted, or not modifiable, copyable or destroyable",
      );
    }
    const mac = keys === undefined ? undefined : rowMac(owner, keys, uid, plain);
    return { uid, private: false, index, attributes: plain, secrets: undefined, mac };
  }
  const seal = keys?.seal;
  if (seal === undefined) return refuse("CKR_USER_NOT_LOGGED_IN", "a private object");
  const attributes = sealEnvelope(seal, plain, bindTo(owner, uid, ALL_ATTRIBUTES));
  const sealed = new Map<number, Uint8Array>();
  for (const [type, value] of secrets) sealed.set(type, sealEnvelope(seal, value, bindTo(owner, uid, type)));
  return {
    uid,
    private: true,
    index,
    attributes,
    secrets: sealed.size === 0 ? undefined : encodeSealed(sealed),
    mac: entriesMac(owner, keys!, { uid, index, tail: attributes.subarray(-TAIL_LENGTH) }),
  };
}

const UID_LENGTH = 16;
const UID_RANDOM = 8;

/**
 * The identity of a new object. That of a public one which is made under a login says so, to whoever has the row key:
 * its second half is a MAC of the first. Such a row is never genuine without its MAC.
 */
export function newUid(owner: Owner, keys: TokenKeys | undefined, isPrivate: boolean): Uint8Array {
  if (isPrivate || keys === undefined) return randomBytes(UID_LENGTH);
  const random = randomBytes(UID_RANDOM);
  return concat(random, uidMark(owner, keys, random));
}

function uidMark(owner: Owner, keys: TokenKeys, random: Uint8Array): Uint8Array {
  const mark = authenticate(keys.rows, utf8(`${owner.serial}/${owner.generation}/uid`), random);
  return mark.subarray(0, UID_LENGTH - UID_RANDOM);
}

function mustHaveMac(owner: Owner, keys: TokenKeys, uid: Uint8Array): boolean {
  return sameMac(uid.subarray(UID_RANDOM), uidMark(owner, keys, uid.subarray(0, UID_RANDOM)));
}

function rowMac(owner: Owner, keys: TokenKeys, uid: Uint8Array, attributes: Uint8Array): Uint8Array {
  return authenticate(keys.rows, utf8(`${owner.serial}/${owner.generation}`), uid, attributes);
}

/** What a row holds. */
export interface OpenedRow {
  readonly values: Values;
  readonly secretTypes: ReadonlySet<number>;
  secret(type: number): Uint8Array | undefined;
}

/**
 * Opens a row. Of a public one the MAC is checked as soon as somebody is logged in: a row without one may only be that of
 * an object that was made without a login, is not trusted and may be modified, copied and destroyed.
 * @throws Refusal CKR_DEVICE_ERROR when the row is not as this token wrote it
 */
export function openRow(owner: Owner, keys: TokenKeys | undefined, row: ObjectRow): OpenedRow {
  if (!row.private) {
    const values = decoded(row, row.attributes);
    verifyIndex(owner, undefined, row, values);
    if (keys !== undefined) verifyRow(owner, keys, row, values);
    return { values, secretTypes: new Set(), secret: () => undefined };
  }
  const seal = keys?.seal;
  if (seal === undefined) return refuse("CKR_USER_NOT_LOGGED_IN", "a private object");
  const plain = openEnvelope(seal, row.attributes, bindTo(owner, row.uid, ALL_ATTRIBUTES));
  if (plain === undefined) return damaged(row);
  const values = decoded(row, plain);
  verifyIndex(owner, keys, row, values);
  const sealed = row.secrets === undefined ? new Map<number, Uint8Array>() : decodeSealed(row.secrets);
  return {
    values,
    secretTypes: new Set(sealed.keys()),
    secret: (type) => {
      const envelope = sealed.get(type);
      if (envelope === undefined) return undefined;
      return openEnvelope(seal, envelope, bindTo(owner, row.uid, type)) ?? damaged(row);
    },
  };
}

function decoded(row: ObjectRow, bytes: Uint8Array): Values {
  try {
    const values = decodeValues(bytes);
    if (values.has(attr.CLASS) && (values.get(attr.PRIVATE) === true) === row.private) return values;
  } catch {
    // Told like any other damage.
  }
  return damaged(row);
}

function verifyRow(owner: Owner, keys: TokenKeys, row: ObjectRow, values: Values): void {
  if (row.mac === undefined) {
    if (isGuarded(values) || mustHaveMac(owner, keys, row.uid)) damaged(row);
  } else if (!sameMac(row.mac, rowMac(owner, keys, row.uid, row.attributes))) {
    damaged(row);
  }
}

/**
 * The MAC of a private row: over what it is found by, and the tag of the envelope that it belongs to. So a search need
 * not open what it finds.
 */
function entriesMac(owner: Owner, keys: TokenKeys, { uid, index, tail }: Omit<Entries, "mac">): Uint8Array {
  const context = utf8(`${owner.serial}/${owner.generation}/entries`);
  const entries = INDEXED.map((field) => index[field] ?? NO_ENTRY);
  return authenticate(keys.index!, context, uid, tail, ...entries);
}

const NO_ENTRY = new Uint8Array(0);

/**
 * Whether a private row is found by its own entries; undefined if only its contents can tell, in a store of before.
 * @throws Refusal CKR_DEVICE_ERROR when it is not
 */
export function verifyEntries(owner: Owner, keys: TokenKeys, entries: Entries): true | undefined {
  if (entries.mac === undefined) return undefined;
  return sameMac(entries.mac, entriesMac(owner, keys, entries)) || damaged(entries);
}

/** A row under entries that are not its own would be found as another object. */
function verifyIndex(owner: Owner, keys: TokenKeys | undefined, row: ObjectRow, values: Values): void {
  if (row.private) {
    const tail = row.attributes.subarray(-TAIL_LENGTH);
    if (verifyEntries(owner, keys!, { ...row, tail }) === true) return;
  }
  const right = indexOf(owner, values, keys);
  for (const field of INDEXED) {
    const [a, b] = [row.index[field], right[field]];
    if (a === undefined || b === undefined ? a !== b : !sameBytes(a, b)) damaged(row);
  }
}

function damaged(row: { readonly uid: Uint8Array }): never {
  return refuse("CKR_DEVICE_ERROR", `object ${toHex(row.uid)} in the store is not as this token wrote it`);
}

const FIELD_OF: readonly (readonly [type: number, field: Exclude<IndexedField, "issuer">])[] = [
  [attr.CLASS, "class"],
  [attr.LABEL, "label"],
  [attr.ID, "keyid"],
  [attr.SUBJECT, "subject"],
];

/** Whether the index has an entry for an attribute by itself; empty values have none. */
export function isIndexed(type: number, value: AttributeValue): boolean {
  return FIELD_OF.some(([indexed]) => indexed === type) && indexable(value) !== undefined;
}

function indexOf(owner: Owner, values: Values, keys: TokenKeys | undefined): IndexEntries {
  return indexValues(values, (field, value) => entry(owner, keys, field, value));
}

/** The fields of a set of attributes by which rows are found; empty values are not indexed. */
export function indexValues<T>(
  values: Values,
  make: (field: IndexedField, value: Uint8Array) => T,
): { [F in IndexedField]?: T } {
  const found: { [F in IndexedField]?: T } = {};
  for (const [type, field] of FIELD_OF) {
    const value = indexable(values.get(type));
    if (value !== undefined) found[field] = make(field, value);
  }
  const issuer = indexable(values.get(attr.ISSUER));
  const serial = indexable(values.get(attr.SERIAL_NUMBER));
  if (issuer !== undefined && serial !== undefined) found.issuer = make("issuer", concat(issuer, serial));
  return found;
}

function indexable(value: AttributeValue | undefined): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value.length === 0 ? undefined : value;
  return typeof value === "number" || typeof value === "bigint" ? utf8(String(value)) : undefined;
}

/** The index entry of a field: blind under the token's key, open without one. */
export function entry(owner: Owner, keys: TokenKeys | undefined, field: IndexedField, value: Uint8Array): Uint8Array {
  const context = utf8(`${owner.serial}/${field}`);
  return keys?.index === undefined ? openEntry(context, value) : blindEntry(keys.index, context, value);
}
