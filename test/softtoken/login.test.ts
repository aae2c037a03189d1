import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { openEnvelope, subkey } from "../../src/seal/envelope.ts";
import { wrapCost } from "../../src/seal/scrypt.ts";
import { StoreError, softToken } from "../../src/softtoken/index.ts";
import { flagNames, TOKEN_FLAGS } from "../../src/spec/flags.ts";
import {
  application,
  attribute,
  findAll,
  folder,
  initialize,
  openSession,
  PIN,
  provider,
  type Rig,
  RO,
  rig,
  rvOf,
  SO_PIN,
  template,
} from "./rig.ts";

const WRONG = utf8("not the PIN");

async function pinFlags(r: Rig): Promise<string[]> {
  const { info } = await r.app.call("C_GetTokenInfo", { slot: r.slot });
  return flagNames(info.flags as number, TOKEN_FLAGS).filter((name) => name.includes("PIN"));
}

function login(r: Rig, pin: Uint8Array, userType = 1, session = r.session) {
  return rvOf(() => r.app.call("C_Login", { session, userType, pin }));
}

test("a new store has one slot, whose token is not initialised, and then one slot more per token", async () => {
  const app = await application(provider());
  expect((await app.call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([0]);
  const { info } = await app.call("C_GetTokenInfo", { slot: 0 });
  expect((info.flags as number) & TOKEN_FLAGS.CKF_TOKEN_INITIALIZED[0]).toBe(0);
  await initialize(app, "one");
  await initialize(app, "two");
  expect((await app.call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([0, 1, 2]);
  const one = (await app.call("C_GetTokenInfo", { slot: 0 })).info;
  expect(one).toMatchObject({
    label: "one",
    manufacturerID: "Keywright",
    model: "softtoken",
    minPinLen: 4,
    maxPinLen: 255,
  });
  expect(one.serialNumber).toMatch(/^[0-9a-f]{16}$/);
});

test("the store is 0600 in a 0700 folder", async () => {
  const store = join(folder(), "state", "store.db");
  await application(provider({ store }));
  expect(statSync(store).mode & 0o777).toBe(0o600);
  expect(statSync(dirname(store)).mode & 0o777).toBe(0o700);
});

test("a wrong PIN costs a try, the last one locks, the flags say so, and the SO gives a new PIN", async () => {
  const r = await rig({ login: false, pinTries: 3 });
  expect(await pinFlags(r)).toEqual(["CKF_USER_PIN_INITIALIZED"]);
  expect(await login(r, WRONG)).toBe("CKR_PIN_INCORRECT");
  expect(await pinFlags(r)).toContain("CKF_USER_PIN_COUNT_LOW");
  expect(await login(r, PIN)).toBe("CKR_OK");
  expect(await pinFlags(r)).toEqual(["CKF_USER_PIN_INITIALIZED"]);
  await r.app.call("C_Logout", { session: r.session });
  for (const left of ["COUNT_LOW", "FINAL_TRY", "LOCKED"]) {
    expect(await login(r, WRONG)).toBe("CKR_PIN_INCORRECT");
    expect(await pinFlags(r)).toContain(`CKF_USER_PIN_${left}`);
  }
  expect(await login(r, PIN)).toBe("CKR_PIN_LOCKED");
  expect(await login(r, SO_PIN, 0)).toBe("CKR_OK");
  await r.app.call("C_InitPIN", { session: r.session, pin: utf8("another") });
  await r.app.call("C_Logout", { session: r.session });
  expect(await login(r, utf8("another"))).toBe("CKR_OK");
});

test("a locked SO PIN stays locked, for C_InitToken too", async () => {
  const r = await rig({ login: false, pinTries: 2 });
  expect(await login(r, WRONG, 0)).toBe("CKR_PIN_INCORRECT");
  await r.app.call("C_CloseSession", { session: r.session });
  const init = (pin: Uint8Array) => rvOf(() => r.app.call("C_InitToken", { slot: r.slot, pin, label: utf8("x") }));
  expect(await init(WRONG)).toBe("CKR_PIN_INCORRECT");
  expect(await init(SO_PIN)).toBe("CKR_PIN_LOCKED");
  expect(await pinFlags(r)).toContain("CKF_SO_PIN_LOCKED");
});

test("what one login sealed another opens, in another process's connection too; another key does not", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  const made = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "a secret of mine", CKA_TOKEN: true, CKA_LABEL: "s" };
  const open = { ...made, CKA_SENSITIVE: false, CKA_EXTRACTABLE: true };
  await r.app.call("C_CreateObject", { session: r.session, template: template(open) });
  const other = await application(provider({ store }));
  const session = await openSession(other, r.slot);
  const second = { ...r, app: other, session };
  expect(await findAll(second, { CKA_LABEL: "s" })).toEqual([]);
  await other.call("C_Login", { session, userType: 1, pin: PIN });
  const [found] = await findAll(second, { CKA_LABEL: "s" });
  expect(Buffer.from((await attribute(second, found!, "CKA_VALUE")) as Uint8Array).toString()).toBe("a secret of mine");

  const db = new DatabaseSync(store, { readOnly: true });
  const row = db.prepare("SELECT * FROM object").get() as { attributes: Uint8Array; uid: Uint8Array };
  const serial = (db.prepare("SELECT serial FROM token").get() as { serial: string }).serial;
  db.close();
  const context = Buffer.concat([Buffer.from(`${serial}/1/ffffffff/`), row.uid]);
  // A data key of zeroes: what wiping too early would leave.
  const zero = subkey(new Uint8Array(32), "keywright softtoken seal");
  expect(openEnvelope(zero, row.attributes, context)).toBeUndefined();
  for (const path of [store, `${store}-wal`]) expect(readFileSync(path).includes("a secret of mine")).toBe(false);
});

test("while a PIN holds, another application logs in with it at once; a wrong one still costs a try", async () => {
  const r = await rig();
  const app = await application(r.provider);
  const session = await openSession(app, r.slot);
  expect(await rvOf(() => app.call("C_Login", { session, userType: 1, pin: WRONG }))).toBe("CKR_PIN_INCORRECT");
  expect(await pinFlags(r)).toContain("CKF_USER_PIN_COUNT_LOW");
  expect(app.call("C_Login", { session, userType: 1, pin: PIN })).toEqual({});
  expect(await pinFlags(r)).not.toContain("CKF_USER_PIN_COUNT_LOW");
});

test("a changed PIN is the only one that holds", async () => {
  const r = await rig();
  const next = utf8("the next one");
  const set = (oldPin: Uint8Array, newPin: Uint8Array) =>
    rvOf(() => r.app.call("C_SetPIN", { session: r.session, oldPin, newPin }));
  expect(await set(WRONG, next)).toBe("CKR_PIN_INCORRECT");
  expect(await set(PIN, utf8("abc"))).toBe("CKR_PIN_LEN_RANGE");
  expect(await set(PIN, new Uint8Array(256))).toBe("CKR_PIN_LEN_RANGE");
  expect(await set(PIN, next)).toBe("CKR_OK");
  const app = await application(r.provider);
  const session = await openSession(app, r.slot);
  expect(await rvOf(() => app.call("C_Login", { session, userType: 1, pin: PIN }))).toBe("CKR_PIN_INCORRECT");
  expect(await rvOf(() => app.call("C_Login", { session, userType: 1, pin: next }))).toBe("CKR_OK");
});

test("without SO recovery the SO gives the first user PIN and no other", async () => {
  const r = await rig({ soRecovery: false });
  const secret = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "secret", CKA_TOKEN: true };
  await r.app.call("C_CreateObject", { session: r.session, template: template(secret) });
  await r.app.call("C_Logout", { session: r.session });
  expect(await login(r, SO_PIN, 0)).toBe("CKR_OK");
  const again = { session: r.session, pin: utf8("another") };
  expect(await rvOf(() => r.app.call("C_InitPIN", again))).toBe("CKR_FUNCTION_REJECTED");
  await r.app.call("C_Logout", { session: r.session });
  expect(await login(r, PIN)).toBe("CKR_OK");
});

test("the rules of sessions and logins", async () => {
  const r = await rig({ login: false });
  const { app, session, slot } = r;
  expect(await rvOf(() => app.call("C_OpenSession", { slot, flags: 2 }))).toBe("CKR_SESSION_PARALLEL_NOT_SUPPORTED");
  expect(await rvOf(() => app.call("C_OpenSession", { slot: 9, flags: 6 }))).toBe("CKR_SLOT_ID_INVALID");
  expect(await login(r, PIN, 2)).toBe("CKR_OPERATION_NOT_INITIALIZED");
  expect(await login(r, PIN, 9)).toBe("CKR_USER_TYPE_INVALID");
  const readOnly = await openSession(app, slot, RO);
  expect(await login(r, SO_PIN, 0)).toBe("CKR_SESSION_READ_ONLY_EXISTS");
  await app.call("C_CloseSession", { session: readOnly });
  expect(await login(r, SO_PIN, 0)).toBe("CKR_OK");
  expect(await rvOf(() => openSession(app, slot, RO))).toBe("CKR_SESSION_READ_WRITE_SO_EXISTS");
  expect(await login(r, PIN)).toBe("CKR_USER_ANOTHER_ALREADY_LOGGED_IN");
  expect((await app.call("C_GetSessionInfo", { session })).info.state).toBe(4);
  await app.call("C_Logout", { session });
  expect(await login(r, PIN)).toBe("CKR_OK");
  expect(await login(r, PIN)).toBe("CKR_USER_ALREADY_LOGGED_IN");
  await app.call("C_CloseAllSessions", { slot });
  expect(await rvOf(() => app.call("C_GetSessionInfo", { session }))).toBe("CKR_SESSION_HANDLE_INVALID");
  const next = await openSession(app, slot);
  expect((await app.call("C_GetSessionInfo", { session: next })).info.state).toBe(2);
});

test("C_InitToken elsewhere destroys the objects, and whoever is logged in sees the device removed", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  await r.app.call("C_CreateObject", {
    session: r.session,
    template: template({ CKA_CLASS: 0, CKA_LABEL: "note", CKA_TOKEN: true }),
  });
  expect(await rvOf(() => r.app.call("C_InitToken", { slot: r.slot, pin: SO_PIN, label: utf8("x") }))).toBe(
    "CKR_SESSION_EXISTS",
  );
  const other = await application(provider({ store }));
  await other.call("C_InitToken", { slot: r.slot, pin: SO_PIN, label: utf8("anew") });
  expect(await rvOf(() => findAll(r, {}))).toBe("CKR_DEVICE_REMOVED");
  expect(await rvOf(() => r.app.call("C_GetSessionInfo", { session: r.session }))).toBe("CKR_DEVICE_REMOVED");
  await r.app.call("C_CloseSession", { session: r.session });
  const session = await openSession(r.app, r.slot);
  expect(await findAll({ ...r, session }, {})).toEqual([]);
  expect(await login(r, PIN, 1, session)).toBe("CKR_USER_PIN_NOT_INITIALIZED");
});

test("a store that cannot be made or read is an error that says why, and not ours", async () => {
  const dir = folder();
  const folderThere = join(dir, "folder.db");
  mkdirSync(folderThere);
  for (const [store, why] of [
    // Node's own recursive mkdir would never come back from there.
    ["/proc/nope/x.db", /cannot make the folder \/proc\/nope/],
    [join(dir, "sub", "\0"), /null bytes/],
    [folderThere, /it is a folder/],
  ] as const) {
    const error = await application(softToken({ store, scryptCost: 10 })).catch((caught: unknown) => caught);
    expect(String(error)).toMatch(why);
  }
});

test("a foreign, a truncated and a newer store are refused and left as they were", async () => {
  const dir = folder();
  const good = join(dir, "good.db");
  const made = softToken({ store: good, scryptCost: 10 });
  await initialize(await application(made), "t");
  await made.close();

  const foreign = join(dir, "notes.txt");
  writeFileSync(foreign, "not a database, but long enough to be read as one by somebody in a hurry ".repeat(4));
  const otherDb = join(dir, "other.db");
  const other = new DatabaseSync(otherDb);
  other.exec("CREATE TABLE t (a)");
  other.close();
  const newer = join(dir, "newer.db");
  writeFileSync(newer, readFileSync(good));
  const raised = new DatabaseSync(newer);
  raised.exec("PRAGMA user_version = 3");
  raised.close();
  const short = join(dir, "short.db");
  writeFileSync(short, readFileSync(good));
  truncateSync(short, 8192);

  for (const [path, message] of [
    [foreign, /notes\.txt: found a file of \d+ bytes that is no SQLite database, expected a Keywright token store/],
    [otherDb, /other\.db: found an SQLite database with application id 0x0, expected/],
    [newer, /newer\.db: found schema version 3, expected at most 2/],
    [short, /short\.db: found 8192 bytes, expected \d+: the store was cut short/],
  ] as const) {
    const before = readFileSync(path);
    const opening = () => softToken({ store: path }).open();
    expect(opening).toThrow(StoreError);
    expect(opening).toThrow(message);
    expect(readFileSync(path)).toEqual(before);
  }
});

test("a store of the first version is brought up to this one, by whoever opens it first", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store, login: false });
  await r.provider.close();
  const db = new DatabaseSync(store);
  for (const owner of ["so", "user"]) db.exec(`ALTER TABLE token DROP COLUMN ${owner}_refused`);
  db.exec("PRAGMA user_version = 1");
  db.close();
  const both = [provider({ store }), provider({ store })];
  for (const one of both) {
    const app = await application(one);
    const session = await openSession(app, r.slot);
    const login = async (pin: Uint8Array) => app.call("C_Login", { session, userType: 1, pin });
    await expect(login(Buffer.from("wrong"))).rejects.toThrow("CKR_PIN_INCORRECT");
    await login(PIN);
  }
});

test("SQLite is one without the WAL-reset bug", () => {
  const db = new DatabaseSync(":memory:");
  const { v } = db.prepare("SELECT sqlite_version() v").get() as { v: string };
  db.close();
  const [major, minor, patch] = v.split(".").map(Number) as [number, number, number];
  expect(major * 1_000_000 + minor * 1_000 + patch).toBeGreaterThanOrEqual(3_051_003);
});

test("a PIN that cost less is made to cost what the options say, when it is used", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store, login: false });
  const dearer = await application(provider({ store, scryptCost: 12 }));
  const session = await openSession(dearer, r.slot);
  await dearer.call("C_Login", { session, userType: 1, pin: PIN });
  const db = new DatabaseSync(store, { readOnly: true });
  const row = db.prepare("SELECT user_wrap, so_wrap FROM token").get() as {
    user_wrap: Uint8Array;
    so_wrap: Uint8Array;
  };
  db.close();
  expect([wrapCost(row.user_wrap), wrapCost(row.so_wrap)]).toEqual([12, 10]);
  expect(await login(r, PIN)).toBe("CKR_OK");
});

test("a try is taken off before the PIN is looked at, for every process to see", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store, login: false });
  const trying = r.app.call("C_Login", { session: r.session, userType: 1, pin: PIN });
  const left = () => {
    const db = new DatabaseSync(store, { readOnly: true });
    const row = db.prepare("SELECT user_left FROM token").get() as { user_left: number };
    db.close();
    return row.user_left;
  };
  // A process that is killed from here on has spent a try.
  expect(left()).toBe(9);
  await trying;
  expect(left()).toBe(10);
});

test("two PINs tried at once cost two tries, and one that is right gives all back", async () => {
  const r = await rig({ login: false, pinTries: 5 });
  const second = await application(r.provider);
  const session = await openSession(second, r.slot);
  const both = [WRONG, WRONG].map((pin, i) =>
    i === 0 ? login(r, pin) : rvOf(() => second.call("C_Login", { session, userType: 1, pin })),
  );
  expect(await Promise.all(both)).toEqual(["CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT"]);
  const { info } = await r.app.call("C_GetTokenInfo", { slot: r.slot });
  expect((info.flags as number) & TOKEN_FLAGS.CKF_USER_PIN_COUNT_LOW[0]).not.toBe(0);
  expect(await Promise.all([login(r, PIN), login(r, PIN)])).toEqual(
    expect.arrayContaining(["CKR_OK", "CKR_USER_ALREADY_LOGGED_IN"]),
  );
  expect(await pinFlags(r)).toEqual(["CKF_USER_PIN_INITIALIZED"]);
});

test("a PIN is read before the call returns: its memory may be wiped at once", async () => {
  const app = await application(provider());
  const wiped = async <T>(pin: Uint8Array, call: (pin: Uint8Array) => T): Promise<Awaited<T>> => {
    const mine = Uint8Array.from(pin);
    const reply = call(mine);
    mine.fill(0);
    return await reply;
  };
  const init = (label: string) => wiped(SO_PIN, (pin) => app.call("C_InitToken", { slot: 0, pin, label: utf8(label) }));
  await init("new");
  await init("anew");
  const session = await openSession(app, 0);
  await wiped(SO_PIN, (pin) => app.call("C_Login", { session, userType: 0, pin }));
  await wiped(PIN, (pin) => app.call("C_InitPIN", { session, pin }));
  await app.call("C_Logout", { session });
  await wiped(PIN, (pin) => app.call("C_Login", { session, userType: 1, pin }));
  const next = utf8("the next one");
  await wiped(PIN, (oldPin) => wiped(next, (newPin) => app.call("C_SetPIN", { session, oldPin, newPin })));
  await app.call("C_Logout", { session });
  await wiped(next, (pin) => app.call("C_Login", { session, userType: 1, pin }));
});

test("a PIN whose login waits for a busy store may be wiped at once too", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  const app = await application(r.provider);
  const session = await openSession(app, r.slot);
  expect(await rvOf(() => app.call("C_Login", { session, userType: 1, pin: WRONG }))).toBe("CKR_PIN_INCORRECT");
  const holder = new DatabaseSync(store);
  holder.exec("BEGIN IMMEDIATE");
  const mine = Uint8Array.from(PIN);
  const waiting = app.call("C_Login", { session, userType: 1, pin: mine });
  mine.fill(0);
  holder.exec("COMMIT");
  holder.close();
  expect(await waiting).toEqual({});
});

test("a token that is made anew elsewhere ends what is under way: every call of a session answers so", async () => {
  const store = join(folder(), "store.db");
  const calls: ((r: Rig) => unknown)[] = [
    ({ app, session }) => app.call("C_Encrypt", { session, data: new Uint8Array(16), room: 16 }),
    ({ app, session }) => app.call("C_DigestUpdate", { session, data: new Uint8Array(16) }),
    ({ app, session }) => app.call("C_GetSessionInfo", { session }),
    ({ app, session }) => app.call("C_GenerateRandom", { session, length: 3 }),
    ({ app, session }) => app.call("C_FindObjects", { session, max: 1 }),
    ({ app, session }) => app.call("C_SessionCancel", { session, flags: 0 }),
    ({ app, session }) => app.call("C_Logout", { session }),
  ];
  const r = await rig({ store });
  for (const call of calls) {
    const session = await openSession(r.app, r.slot);
    await rvOf(() => r.app.call("C_Login", { session, userType: 1, pin: PIN }));
    const key = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x1f, CKA_VALUE: new Uint8Array(16), CKA_ENCRYPT: true };
    const { object } = await r.app.call("C_CreateObject", { session, template: template(key) });
    await r.app.call("C_EncryptInit", { session, mechanism: { type: 0x1081 }, key: object });
    await r.app.call("C_DigestInit", { session, mechanism: { type: 0x250 } });
    await r.app.call("C_FindObjectsInit", { session, template: [] });
    const other = await application(provider({ store }));
    await other.call("C_InitToken", { slot: r.slot, pin: SO_PIN, label: utf8("anew") });
    expect(await rvOf(() => call({ ...r, session }))).toBe("CKR_DEVICE_REMOVED");
    await r.app.call("C_CloseAllSessions", { slot: r.slot });
    const so = await openSession(other, r.slot);
    await other.call("C_Login", { session: so, userType: 0, pin: SO_PIN });
    await other.call("C_InitPIN", { session: so, pin: PIN });
  }
});
