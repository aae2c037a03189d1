import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { derOid } from "../../src/codec/der.ts";
import { UNAVAILABLE_INFORMATION } from "../../src/spec/structures.ts";
import {
  attribute,
  findAll,
  generatePair,
  mechanism,
  openSession,
  PIN,
  type Rig,
  RO,
  rig,
  rvOf,
  SO_PIN,
  sign,
  template,
} from "./rig.ts";

const P256 = derOid("1.2.840.10045.3.1.7");
type Values = Parameters<typeof template>[0];

async function create(r: Rig, values: Values): Promise<number | bigint> {
  return (await r.app.call("C_CreateObject", { session: r.session, template: template(values) })).object;
}

const DATA: Values = { CKA_CLASS: 0, CKA_LABEL: "note", CKA_APPLICATION: "test", CKA_VALUE: "text" };
const SECRET: Values = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "0123456789abcdef" };
const CERTIFICATE: Values = {
  CKA_CLASS: 1,
  CKA_CERTIFICATE_TYPE: 0,
  CKA_SUBJECT: "subject",
  CKA_ISSUER: "issuer",
  CKA_SERIAL_NUMBER: "serial",
  CKA_VALUE: "certificate",
};

test("private objects are not seen before login and not after logout", async () => {
  const r = await rig();
  const token = await create(r, { ...DATA, CKA_TOKEN: true, CKA_PRIVATE: true });
  const session = await create(r, { ...DATA, CKA_PRIVATE: true });
  const open = await create(r, { ...DATA, CKA_TOKEN: true });
  expect(await findAll(r, { CKA_LABEL: "note" })).toEqual([session, token, open]);
  await r.app.call("C_Logout", { session: r.session });
  expect(await findAll(r, { CKA_LABEL: "note" })).toEqual([open]);
  const read = (object: number | bigint) => rvOf(() => attribute(r, object, "CKA_LABEL"));
  expect(await read(token)).toBe("CKR_OBJECT_HANDLE_INVALID");
  expect(await rvOf(() => create(r, { ...DATA, CKA_PRIVATE: true }))).toBe("CKR_USER_NOT_LOGGED_IN");
  await r.app.call("C_Login", { session: r.session, userType: 1, pin: PIN });
  // Handles to private objects end with the login, and private session objects themselves.
  expect(await read(token)).toBe("CKR_OBJECT_HANDLE_INVALID");
  expect(await read(session)).toBe("CKR_OBJECT_HANDLE_INVALID");
  expect((await findAll(r, { CKA_LABEL: "note" })).length).toBe(2);
});

test("the SO does not see private objects", async () => {
  const r = await rig();
  await create(r, { ...SECRET, CKA_TOKEN: true });
  await r.app.call("C_Logout", { session: r.session });
  await r.app.call("C_Login", { session: r.session, userType: 0, pin: SO_PIN });
  expect(await findAll(r, {})).toEqual([]);
});

test("a read-only session makes session objects only", async () => {
  const r = await rig();
  const readOnly = { ...r, session: await openSession(r.app, r.slot, RO) };
  expect(await rvOf(() => create(readOnly, { ...DATA, CKA_TOKEN: true }))).toBe("CKR_SESSION_READ_ONLY");
  const object = await create(readOnly, DATA);
  expect(await attribute(r, object, "CKA_LABEL")).toEqual(utf8("note"));
  await r.app.call("C_CloseSession", { session: readOnly.session });
  expect(await rvOf(() => attribute(r, object, "CKA_LABEL"))).toBe("CKR_OBJECT_HANDLE_INVALID");
});

test("objects are found by each indexed field, by others, and by several at once", async () => {
  const r = await rig();
  const certificate = await create(r, { ...CERTIFICATE, CKA_TOKEN: true, CKA_ID: "1", CKA_LABEL: "www" });
  const hidden = await create(r, { ...CERTIFICATE, CKA_TOKEN: true, CKA_PRIVATE: true, CKA_ID: "2", CKA_LABEL: "www" });
  await create(r, { ...DATA, CKA_TOKEN: true });
  const both = [certificate, hidden];
  expect(await findAll(r, { CKA_CLASS: 1 })).toEqual(both);
  expect(await findAll(r, { CKA_LABEL: "www" })).toEqual(both);
  expect(await findAll(r, { CKA_ID: "2" })).toEqual([hidden]);
  expect(await findAll(r, { CKA_SUBJECT: "subject", CKA_CLASS: 1 })).toEqual(both);
  expect(await findAll(r, { CKA_ISSUER: "issuer", CKA_SERIAL_NUMBER: "serial" })).toEqual(both);
  expect(await findAll(r, { CKA_ISSUER: "issuer", CKA_SERIAL_NUMBER: "other" })).toEqual([]);
  expect(await findAll(r, { CKA_VALUE: "certificate", CKA_PRIVATE: true })).toEqual([hidden]);
  expect(await findAll(r, { CKA_LABEL: "www", CKA_ID: "1", CKA_TOKEN: true })).toEqual([certificate]);
  expect(await findAll(r, { CKA_ID: "" })).toHaveLength(0);
  expect(await findAll(r, { CKA_LABEL: "www", CKA_TOKEN: false })).toEqual([]);
});

test("a search is no oracle for a sensitive value", async () => {
  const r = await rig();
  await create(r, { ...SECRET, CKA_TOKEN: true });
  const open = await create(r, { ...SECRET, CKA_TOKEN: true, CKA_SENSITIVE: false, CKA_EXTRACTABLE: true });
  expect(await findAll(r, { CKA_VALUE: "0123456789abcdef" })).toEqual([open]);
});

test("a search goes on where it stopped, and one at a time", async () => {
  const r = await rig();
  const { app, session } = r;
  for (let i = 0; i < 3; i += 1) await create(r, { ...DATA, CKA_TOKEN: true });
  await app.call("C_FindObjectsInit", { session, template: [] });
  expect(await rvOf(() => app.call("C_FindObjectsInit", { session, template: [] }))).toBe("CKR_OPERATION_ACTIVE");
  const next = async () => (await app.call("C_FindObjects", { session, max: 2 })).objects.length;
  expect([await next(), await next(), await next()]).toEqual([2, 1, 0]);
  await app.call("C_FindObjectsFinal", { session });
  expect(await rvOf(next)).toBe("CKR_OPERATION_NOT_INITIALIZED");
});

test("the value of a sensitive or unextractable key is not read; the others are", async () => {
  const r = await rig();
  const hidden = await create(r, SECRET);
  const { values } = await r.app.call("C_GetAttributeValue", {
    session: r.session,
    object: hidden,
    requests: [{ type: 0x11 }, { type: 0x161 }, { type: 0x80 }],
  });
  // CKR_ATTRIBUTE_TYPE_INVALID for the last; the length is told all the same.
  expect(values.rv).toBe(0x12);
  expect(values.values).toEqual([{ type: 0x11 }, { type: 0x161, value: 16 }, { type: 0x80 }]);
  const open = await create(r, { ...SECRET, CKA_SENSITIVE: false, CKA_EXTRACTABLE: true });
  expect(await attribute(r, open, "CKA_VALUE")).toEqual(utf8("0123456789abcdef"));
  expect(await attribute(r, open, "CKA_ALWAYS_SENSITIVE")).toBe(false);
  expect(await attribute(r, open, "CKA_NEVER_EXTRACTABLE")).toBe(false);
  expect(await attribute(r, open, "CKA_LOCAL")).toBe(false);
  expect(await attribute(r, open, "CKA_KEY_GEN_MECHANISM")).toBe(UNAVAILABLE_INFORMATION);
});

test("room for an attribute: its length when asked, or when it does not fit", async () => {
  const r = await rig();
  const object = await create(r, DATA);
  const ask = async (room: number | null) =>
    (await r.app.call("C_GetAttributeValue", { session: r.session, object, requests: [{ type: 0x11, room }] })).values;
  expect(await ask(null)).toEqual({ rv: 0, values: [{ type: 0x11, needed: 4 }] });
  expect(await ask(3)).toEqual({ rv: 0x150, values: [{ type: 0x11, needed: 4 }] });
  expect(await ask(4)).toEqual({ rv: 0, values: [{ type: 0x11, value: utf8("text") }] });
});

test.each<[string, Values, string]>([
  ["no class", { CKA_LABEL: "x" }, "CKR_TEMPLATE_INCOMPLETE"],
  ["no key type", { CKA_CLASS: 4, CKA_VALUE: "x" }, "CKR_TEMPLATE_INCOMPLETE"],
  ["no value", { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10 }, "CKR_TEMPLATE_INCOMPLETE"],
  ["an unknown class", { CKA_CLASS: 77 }, "CKR_ATTRIBUTE_VALUE_INVALID"],
  ["an unknown key type", { CKA_CLASS: 4, CKA_KEY_TYPE: 0x7777, CKA_VALUE: "x" }, "CKR_ATTRIBUTE_VALUE_INVALID"],
  ["an attribute of another class", { ...DATA, CKA_SIGN: true }, "CKR_ATTRIBUTE_TYPE_INVALID"],
  ["CKA_LOCAL", { ...SECRET, CKA_LOCAL: true }, "CKR_ATTRIBUTE_READ_ONLY"],
  ["CKA_ALWAYS_SENSITIVE", { ...SECRET, CKA_ALWAYS_SENSITIVE: true }, "CKR_ATTRIBUTE_READ_ONLY"],
  ["CKA_UNIQUE_ID", { ...DATA, CKA_UNIQUE_ID: "x" }, "CKR_ATTRIBUTE_READ_ONLY"],
  ["CKA_TRUSTED by the user", { ...CERTIFICATE, CKA_TRUSTED: true }, "CKR_ATTRIBUTE_READ_ONLY"],
  ["a public secret in the token", { ...SECRET, CKA_TOKEN: true, CKA_PRIVATE: false }, "CKR_TEMPLATE_INCONSISTENT"],
  ["a number for a boolean", { ...DATA, CKA_TOKEN: 1 }, "CKR_ATTRIBUTE_VALUE_INVALID"],
  ["a date of month 13", { ...SECRET, CKA_START_DATE: "20261301" }, "CKR_ATTRIBUTE_VALUE_INVALID"],
  ["a day that is not", { ...SECRET, CKA_START_DATE: "20260231" }, "CKR_ATTRIBUTE_VALUE_INVALID"],
  [
    "an end before its start",
    { ...SECRET, CKA_START_DATE: "20260201", CKA_END_DATE: "20260131" },
    "CKR_TEMPLATE_INCONSISTENT",
  ],
  ["a negative number", { CKA_CLASS: -1 }, "CKR_ATTRIBUTE_VALUE_INVALID"],
  [
    "an AES key of 15 bytes",
    { CKA_CLASS: 4, CKA_KEY_TYPE: 0x1f, CKA_VALUE: "0123456789abcde" },
    "CKR_ATTRIBUTE_VALUE_INVALID",
  ],
  ["a check value of another key", { ...SECRET, CKA_CHECK_VALUE: "abc" }, "CKR_ATTRIBUTE_VALUE_INVALID"],
])("%s in a template is refused", async (_what, values, rv) => {
  const r = await rig();
  expect(await rvOf(() => create(r, values))).toBe(rv);
});

test("one-way attributes go one way, by change and by copy", async () => {
  const r = await rig();
  const { app, session } = r;
  const set = (object: number | bigint, values: Values) =>
    rvOf(() => app.call("C_SetAttributeValue", { session, object, template: template(values) }));
  const key = await create(r, { ...SECRET, CKA_TOKEN: true, CKA_SENSITIVE: false, CKA_EXTRACTABLE: true });
  expect(await set(key, { CKA_SENSITIVE: true })).toBe("CKR_OK");
  expect(await set(key, { CKA_SENSITIVE: false })).toBe("CKR_ATTRIBUTE_READ_ONLY");
  expect(await set(key, { CKA_EXTRACTABLE: false })).toBe("CKR_OK");
  expect(await set(key, { CKA_EXTRACTABLE: true })).toBe("CKR_ATTRIBUTE_READ_ONLY");
  expect(await set(key, { CKA_WRAP_WITH_TRUSTED: true })).toBe("CKR_OK");
  expect(await set(key, { CKA_WRAP_WITH_TRUSTED: false })).toBe("CKR_ATTRIBUTE_READ_ONLY");
  expect(await set(key, { CKA_LABEL: "new" })).toBe("CKR_OK");
  expect(await set(key, { CKA_KEY_TYPE: 0x1f })).toBe("CKR_ATTRIBUTE_READ_ONLY");
  expect(await set(key, { CKA_TOKEN: false })).toBe("CKR_ATTRIBUTE_READ_ONLY");
  expect(await set(key, { CKA_MODULUS: "x" })).toBe("CKR_ATTRIBUTE_TYPE_INVALID");
  expect(await findAll(r, { CKA_LABEL: "new" })).toEqual([key]);
  const copy = (values: Values) => app.call("C_CopyObject", { session, object: key, template: template(values) });
  expect(await rvOf(() => copy({ CKA_EXTRACTABLE: true }))).toBe("CKR_ATTRIBUTE_READ_ONLY");
  expect(await rvOf(() => copy({ CKA_PRIVATE: false }))).toBe("CKR_TEMPLATE_INCONSISTENT");
  const made = await copy({ CKA_TOKEN: false, CKA_LABEL: "copy" });
  expect(await attribute(r, made.copy, "CKA_LABEL")).toEqual(utf8("copy"));
  expect(await attribute(r, made.copy, "CKA_UNIQUE_ID")).not.toEqual(await attribute(r, key, "CKA_UNIQUE_ID"));
});

test("an object that may not be changed, copied or destroyed is not", async () => {
  const r = await rig();
  const { app, session } = r;
  const flags = { CKA_MODIFIABLE: false, CKA_COPYABLE: false, CKA_DESTROYABLE: false };
  const object = await create(r, { ...DATA, CKA_TOKEN: true, ...flags });
  const label = template({ CKA_LABEL: "x" });
  expect(await rvOf(() => app.call("C_SetAttributeValue", { session, object, template: label }))).toBe(
    "CKR_ACTION_PROHIBITED",
  );
  expect(await rvOf(() => app.call("C_CopyObject", { session, object, template: [] }))).toBe("CKR_ACTION_PROHIBITED");
  expect(await rvOf(() => app.call("C_DestroyObject", { session, object }))).toBe("CKR_ACTION_PROHIBITED");
});

test("a destroyed object is gone, and a key in use with it", async () => {
  const r = await rig();
  const { app, session } = r;
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: P256 }, { CKA_TOKEN: true });
  await sign(r, pair.privateKey, mechanism("CKM_ECDSA"), new Uint8Array(32));
  await app.call("C_SignInit", { session, mechanism: mechanism("CKM_ECDSA"), key: pair.privateKey });
  await app.call("C_DestroyObject", { session, object: pair.privateKey });
  const data = new Uint8Array(32);
  expect(await rvOf(() => app.call("C_Sign", { session, data, room: 64 }))).toBe("CKR_KEY_HANDLE_INVALID");
  expect(await rvOf(() => app.call("C_DestroyObject", { session, object: pair.privateKey }))).toBe(
    "CKR_OBJECT_HANDLE_INVALID",
  );
});

test("without a login a public object can be made, but none that a stranger must not make", async () => {
  const r = await rig({ login: false });
  expect(await rvOf(() => create(r, { ...DATA, CKA_TOKEN: true }))).toBe("CKR_OK");
  expect(await rvOf(() => create(r, { ...DATA, CKA_TOKEN: true, CKA_MODIFIABLE: false }))).toBe(
    "CKR_USER_NOT_LOGGED_IN",
  );
});

test("the SO calls a certificate trusted, and the user cannot take it back", async () => {
  const r = await rig();
  const { app, session } = r;
  const object = await create(r, { ...CERTIFICATE, CKA_TOKEN: true });
  await app.call("C_Logout", { session });
  await app.call("C_Login", { session, userType: 0, pin: SO_PIN });
  await app.call("C_SetAttributeValue", { session, object, template: template({ CKA_TRUSTED: true }) });
  await app.call("C_Logout", { session });
  await app.call("C_Login", { session, userType: 1, pin: PIN });
  expect(await attribute(r, object, "CKA_TRUSTED")).toBe(true);
  const back = template({ CKA_TRUSTED: false });
  expect(await rvOf(() => app.call("C_SetAttributeValue", { session, object, template: back }))).toBe(
    "CKR_ATTRIBUTE_READ_ONLY",
  );
});

test.each<[string, Values]>([
  ["data", { ...DATA, CKA_OBJECT_ID: derOid("1.2.3.4") }],
  ["a certificate", { ...CERTIFICATE, CKA_CERTIFICATE_CATEGORY: 2, CKA_URL: "" }],
  ["EC domain parameters", { CKA_CLASS: 6, CKA_KEY_TYPE: 3, CKA_EC_PARAMS: P256 }],
  ["DH domain parameters", { CKA_CLASS: 6, CKA_KEY_TYPE: 2, CKA_PRIME: "p", CKA_BASE: "g" }],
  ["a profile", { CKA_CLASS: 9, CKA_PROFILE_ID: 1 }],
])("%s is stored, found and read", async (_what, values) => {
  const r = await rig();
  const object = await create(r, { ...values, CKA_TOKEN: true, CKA_LABEL: "it" });
  expect(await findAll(r, { ...values, CKA_LABEL: "it" })).toEqual([object]);
  expect(await attribute(r, object, "CKA_CLASS")).toBe(values.CKA_CLASS);
  expect((await r.app.call("C_GetObjectSize", { session: r.session, object })).size).toBeGreaterThan(0);
});

test("a copy of what the SO trusts is not trusted", async () => {
  const r = await rig();
  const { app, session } = r;
  const object = await create(r, { ...CERTIFICATE, CKA_TOKEN: true });
  await app.call("C_Logout", { session });
  await app.call("C_Login", { session, userType: 0, pin: SO_PIN });
  await app.call("C_SetAttributeValue", { session, object, template: template({ CKA_TRUSTED: true }) });
  await app.call("C_Logout", { session });
  await app.call("C_Login", { session, userType: 1, pin: PIN });
  const { copy } = await app.call("C_CopyObject", { session, object, template: [] });
  expect(await attribute(r, copy, "CKA_TRUSTED")).toBe(false);
});

test("what goes wrong inside has a return value too", async () => {
  const r = await rig();
  const odd = [{ type: 0x80000001, value: true }];
  expect(await rvOf(() => r.app.call("C_CreateObject", { session: r.session, template: odd }))).not.toBe("CKR_OK");
  await r.provider.close();
  expect(await rvOf(() => r.app.call("C_GetSlotList", { tokenPresent: true }))).toBe("CKR_CRYPTOKI_NOT_INITIALIZED");
});
