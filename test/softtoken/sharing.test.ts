import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { backupStore, deleteToken, restoreStore, StoreError } from "../../src/softtoken/index.ts";
import { decodeValues, encodeValues } from "../../src/softtoken/store/record.ts";
import { runWriters } from "./kill.ts";
import {
  application,
  attribute,
  findAll,
  folder,
  openSession,
  PIN,
  provider,
  type Rig,
  rig,
  rvOf,
  template,
} from "./rig.ts";

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

test("a public row that a stranger changed is refused once somebody is logged in", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  const object = await create(r, { ...CERTIFICATE, CKA_TOKEN: true, CKA_MODIFIABLE: false });
  const free = await create(r, { ...CERTIFICATE, CKA_TOKEN: true });
  expect(await attribute(r, object, "CKA_TRUSTED")).toBe(false);
  await r.app.call("C_Logout", { session: r.session });
  const db = new DatabaseSync(store);
  for (const row of db.prepare("SELECT id, attributes FROM object").all() as { id: number; attributes: Uint8Array }[]) {
    const attributes = Buffer.from(row.attributes);
    // CKA_TRUSTED, a boolean of one byte.
    const at = attributes.indexOf(Buffer.from("0000000000000086000000000100", "hex"));
    attributes[at + 13] = 1;
    db.prepare("UPDATE object SET attributes = ?, revision = revision + 1 WHERE id = ?").run(attributes, row.id);
    if (row.id === 2) db.prepare("UPDATE object SET mac = NULL WHERE id = ?").run(row.id);
  }
  db.close();
  await r.app.call("C_Login", { session: r.session, userType: 1, pin: PIN });
  expect(await rvOf(() => attribute(r, object, "CKA_TRUSTED"))).toBe("CKR_DEVICE_ERROR");
  expect(await rvOf(() => attribute(r, free, "CKA_TRUSTED"))).toBe("CKR_DEVICE_ERROR");
});

test("what one process changes another sees at its next call", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  const app = await application(provider({ store }));
  const session = await openSession(app, r.slot);
  await app.call("C_Login", { session, userType: 1, pin: PIN });
  const other: Rig = { ...r, app, session };
  const mine = await create(r, { ...SECRET, CKA_TOKEN: true, CKA_LABEL: "one" });
  const [theirs] = await findAll(other, { CKA_LABEL: "one" });
  expect(await attribute(other, theirs!, "CKA_LABEL")).toEqual(utf8("one"));
  await r.app.call("C_SetAttributeValue", {
    session: r.session,
    object: mine,
    template: template({ CKA_LABEL: "two" }),
  });
  expect(await attribute(other, theirs!, "CKA_LABEL")).toEqual(utf8("two"));
  await r.app.call("C_DestroyObject", { session: r.session, object: mine });
  expect(await rvOf(() => attribute(other, theirs!, "CKA_LABEL"))).toBe("CKR_OBJECT_HANDLE_INVALID");
});

test("a busy store is waited for without blocking, in the order of the calls", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  const blocker = new DatabaseSync(store);
  blocker.exec("BEGIN IMMEDIATE");
  const made = ["a", "b", "c"].map((label) =>
    r.app.call("C_CreateObject", {
      session: r.session,
      template: template({ ...DATA, CKA_TOKEN: true, CKA_LABEL: label }),
    }),
  );
  for (const answer of made) expect(answer).toBeInstanceOf(Promise);
  await new Promise((resolve) => setTimeout(resolve, 30));
  blocker.exec("COMMIT");
  blocker.close();
  const handles = (await Promise.all(made)).map(({ object }) => object as number);
  expect([...handles].sort((a, b) => a - b)).toEqual(handles);
});

test("a token is deleted by its label and serial number together, and its users see it removed", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  await create(r, { ...SECRET, CKA_TOKEN: true });
  const { serialNumber } = (await r.app.call("C_GetTokenInfo", { slot: r.slot })).info;
  await expect(deleteToken(store, "other", serialNumber)).rejects.toThrow(StoreError);
  await expect(deleteToken(store, "test", "0".repeat(16))).rejects.toThrow(/no token with label "test"/);
  await deleteToken(store, "test", serialNumber);
  expect(await rvOf(() => findAll(r, {}))).toBe("CKR_DEVICE_REMOVED");
  // The number of the slot is not used again.
  expect((await r.app.call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([1]);
  await expect(deleteToken(join(folder(), "none.db"), "x", "y")).rejects.toThrow(/there is no such store/);
});

test("a backup of a store in use is a store, and is restored where there is none", async () => {
  const dir = folder();
  const store = join(dir, "store.db");
  const r = await rig({ store });
  await create(r, { ...SECRET, CKA_TOKEN: true, CKA_LABEL: "kept" });
  const copy = join(dir, "backups", "copy.db");
  await expect(backupStore(store, copy)).rejects.toThrow(`there is no folder ${dirname(copy)}`);
  mkdirSync(dirname(copy));
  await backupStore(store, copy);
  expect(statSync(copy).mode & 0o777).toBe(0o600);
  await expect(backupStore(store, copy)).rejects.toThrow(/there is a file already/);
  await expect(restoreStore(copy, store)).rejects.toThrow(/there is a file already/);
  const again = join(dir, "again.db");
  await restoreStore(copy, again);
  const app = await application(provider({ store: again }));
  const session = await openSession(app, r.slot);
  await app.call("C_Login", { session, userType: 1, pin: PIN });
  expect(await findAll({ ...r, app, session }, { CKA_LABEL: "kept" })).toHaveLength(1);
  const broken = join(dir, "broken.db");
  writeFileSync(broken, readFileSync(copy));
  truncateSync(broken, statSync(copy).size - 4096);
  await expect(restoreStore(broken, join(dir, "new.db"))).rejects.toThrow(/was cut short/);
  expect(existsSync(join(dir, "new.db"))).toBe(false);
});

test("ten kills under load lose no acknowledged object and corrupt nothing", async () => {
  const result = await runWriters({ folder: folder(), kills: 10, writers: 2 });
  expect(result.lost).toEqual([]);
  expect(result.integrity).toBe("ok");
  expect(result.acknowledged).toBeGreaterThan(20);
});

test("several processes write to one store at once, and each finds what all have written", async () => {
  const result = await runWriters({ folder: folder(), kills: 0, writers: 3, objects: 40 });
  expect(result.lost).toEqual([]);
  expect(result.acknowledged).toBe(120);
  expect(result.present).toBe(120);
});

test("a search by label opens the objects of that label only", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  const one = await create(r, { ...SECRET, CKA_TOKEN: true, CKA_LABEL: "one" });
  const two = await create(r, { ...DATA, CKA_TOKEN: true, CKA_LABEL: "two" });
  const db = new DatabaseSync(store);
  db.prepare("UPDATE object SET attributes = x'00', revision = 2 WHERE id = 2").run();
  expect(await findAll(r, { CKA_LABEL: "one", CKA_CLASS: 4, CKA_TOKEN: true })).toEqual([one]);
  expect(await findAll(r, { CKA_TOKEN: true })).toEqual([one, two]);
  // Damage is told where the object is used, and never taken for absence.
  expect(await rvOf(() => findAll(r, { CKA_LABEL: "two" }))).toBe("CKR_DEVICE_ERROR");
  expect(await rvOf(() => attribute(r, two, "CKA_LABEL"))).toBe("CKR_DEVICE_ERROR");
  expect(await rvOf(() => findAll(r, { CKA_APPLICATION: "test" }))).toBe("CKR_DEVICE_ERROR");
  const sql = "EXPLAIN QUERY PLAN SELECT id FROM object WHERE label IN (?, ?) AND +class IN (?, ?) AND +slot = ?";
  const plan = db.prepare(sql).all("", "", "", "", 0) as { detail: string }[];
  db.close();
  expect(plan.map(({ detail }) => detail).join()).toContain("object_label");
});

test("a sealed value that was moved to another object, or to another attribute, does not open", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  const open = { CKA_TOKEN: true, CKA_SENSITIVE: false, CKA_EXTRACTABLE: true };
  const one = await create(r, { ...SECRET, ...open });
  const two = await create(r, { ...SECRET, ...open, CKA_VALUE: "another secret" });
  const db = new DatabaseSync(store);
  db.exec("UPDATE object SET secrets = (SELECT secrets FROM object WHERE id = 2), revision = 2 WHERE id = 1");
  expect(await rvOf(() => attribute(r, one, "CKA_VALUE"))).toBe("CKR_DEVICE_ERROR");
  expect(await attribute(r, two, "CKA_VALUE")).toEqual(utf8("another secret"));
  db.exec("UPDATE object SET attributes = (SELECT attributes FROM object WHERE id = 1), revision = 2 WHERE id = 2");
  db.close();
  expect(await rvOf(() => attribute(r, two, "CKA_LABEL"))).toBe("CKR_DEVICE_ERROR");
});

const FORGED = (["label", "keyid", "class"] as const).flatMap((column) => [
  [column, "beta", false] as const,
  // As in a store of before, whose private rows have no MAC: only the contents can tell.
  [column, "beta", true] as const,
  [column, "gamma", false] as const,
]);

test.each(FORGED)(
  "an object is not found under another's %s (%s, MAC taken away: %s)",
  async (column, which, isBare) => {
    const store = join(folder(), "store.db");
    const r = await rig({ store });
    await create(r, { ...SECRET, CKA_TOKEN: true, CKA_LABEL: "alpha", CKA_ID: "1" });
    await create(r, { ...DATA, CKA_TOKEN: true, CKA_PRIVATE: true, CKA_LABEL: "beta" });
    await create(r, { ...DATA, CKA_TOKEN: true, CKA_LABEL: "gamma" });
    const db = new DatabaseSync(store);
    // What the first is found by becomes what another is found by.
    const sql = `UPDATE object SET ${column} = (SELECT ${column} FROM object WHERE id = 1) WHERE id = ?`;
    db.prepare(sql).run(which === "beta" ? 2 : 3);
    if (isBare) db.exec("UPDATE object SET mac = NULL");
    db.close();
    const app = await application(provider({ store }));
    const session = await openSession(app, r.slot);
    await app.call("C_Login", { session, userType: 1, pin: PIN });
    const other: Rig = { ...r, app, session };
    const wanted = { label: { CKA_LABEL: "alpha" }, keyid: { CKA_ID: "1" }, class: { CKA_CLASS: 4 } }[column];
    const read = async () => {
      for (const object of await findAll(other, wanted)) await attribute(other, object, "CKA_LABEL");
    };
    expect(await rvOf(read)).toBe("CKR_DEVICE_ERROR");
    // Under its own label it is not there any more, or it is seen to be changed.
    const byName = await rvOf(() => findAll(other, { CKA_LABEL: which }));
    expect(byName).toBe(column === "label" ? "CKR_OK" : "CKR_DEVICE_ERROR");
    expect(await findAll(other, { CKA_LABEL: "alpha", CKA_ID: "1", CKA_CLASS: 4 })).toHaveLength(1);
  },
);

test("a public object that was made under a login cannot lose its guard, nor be changed without a login", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  const flags = { CKA_MODIFIABLE: false, CKA_DESTROYABLE: false };
  const locked = await create(r, { ...DATA, ...flags, CKA_TOKEN: true });
  const plain = await create(r, { ...DATA, CKA_TOKEN: true });
  await r.app.call("C_Logout", { session: r.session });
  const free = await create(r, { ...DATA, CKA_TOKEN: true });
  const set = (object: number | bigint) =>
    rvOf(() => r.app.call("C_SetAttributeValue", { ...r, object, template: template({ CKA_LABEL: "x" }) }));
  expect(await set(plain)).toBe("CKR_USER_NOT_LOGGED_IN");
  expect(await set(free)).toBe("CKR_OK");
  const db = new DatabaseSync(store);
  for (const row of db.prepare("SELECT id, attributes FROM object").all() as { id: number; attributes: Uint8Array }[]) {
    const values = decodeValues(row.attributes);
    for (const type of [0x170, 0x172]) values.set(type, true);
    values.set(0x11, utf8("another"));
    const sql = "UPDATE object SET attributes = ?, mac = NULL, revision = revision + 1 WHERE id = ?";
    db.prepare(sql).run(encodeValues(values), row.id);
  }
  db.close();
  await r.app.call("C_Login", { session: r.session, userType: 1, pin: PIN });
  for (const object of [locked, plain]) {
    expect(await rvOf(() => attribute(r, object, "CKA_VALUE"))).toBe("CKR_DEVICE_ERROR");
    expect(await rvOf(() => r.app.call("C_DestroyObject", { ...r, object }))).toBe("CKR_DEVICE_ERROR");
  }
  // Nobody vouched for what was made without a login.
  expect(await attribute(r, free, "CKA_VALUE")).toEqual(utf8("another"));
});
