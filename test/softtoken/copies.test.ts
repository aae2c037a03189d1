import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, readdirSync, readFileSync, renameSync, statSync, truncateSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { expect, onTestFinished, test } from "vitest";
import { backupStore, deleteToken, restoreStore, StoreError } from "../../src/softtoken/index.ts";
import { application, findAll, folder, openSession, PIN, provider, type Rig, rig, template } from "./rig.ts";

async function create(r: Rig, label: string, value = "0123456789abcdef"): Promise<void> {
  const values = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_TOKEN: true, CKA_LABEL: label, CKA_VALUE: value };
  await r.app.call("C_CreateObject", { session: r.session, template: template(values) });
}

/** The labels of a store that are found in another one, after a login. */
async function labelsIn(store: string, slot: number, labels: string[]): Promise<string[]> {
  const app = await application(provider({ store }));
  const session = await openSession(app, slot);
  await app.call("C_Login", { session, userType: 1, pin: PIN });
  const found: string[] = [];
  for (const label of labels) {
    const objects = await findAll({ app, session, slot } as Rig, { CKA_LABEL: label });
    if (objects.length > 0) found.push(label);
  }
  return found;
}

/** Another process that has a store open, and nothing in its log. */
async function opener(store: string): Promise<ChildProcess> {
  const door = resolve(import.meta.dirname, "../../dist/softtoken/store/database.js");
  const script = `
    import { Database } from ${JSON.stringify(door)};
    const db = Database.open(${JSON.stringify(store)}, "write");
    if (db.checkpoint()) console.log("open");
    setInterval(() => db.epoch(), 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child.stdout!, "data");
  return child;
}

const sizes = (store: string) =>
  Object.fromEntries(
    readdirSync(dirname(store))
      .filter((name) => name.startsWith("store.db-wal"))
      .map((name) => [name, statSync(join(dirname(store), name)).size]),
  );

test("nothing is left in the log when a store is closed, so a plain copy of the file has everything", async () => {
  const store = join(folder(), "store.db");
  const r = await rig({ store });
  await create(r, "one");
  expect(sizes(store)["store.db-wal"]).toBeGreaterThan(0);
  await r.provider.close();
  expect(sizes(store)).toEqual({ "store.db-wal": 0 });
  const copy = join(folder(), "copy.db");
  copyFileSync(store, copy);
  expect(await labelsIn(copy, r.slot, ["one"])).toEqual(["one"]);
});

test("a store is neither restored nor made over the log of one that was moved away", async () => {
  const dir = folder();
  const store = join(dir, "store.db");
  const r = await rig({ store });
  const copy = join(dir, "copy.db");
  await backupStore(store, copy);
  await create(r, "later");
  const moved = join(dir, "moved.db");
  renameSync(store, moved);
  const refused = /store\.db-wal: a log without its store/;
  await expect(restoreStore(copy, store)).rejects.toThrow(refused);
  await expect(restoreStore(copy, store)).rejects.toMatchObject({
    hints: expect.arrayContaining([expect.stringContaining("mv store.db-wal THE-STORE-wal")]),
  });
  await expect(application(provider({ store }))).rejects.toThrow(refused);
  expect(existsSync(store)).toBe(false);
  // As the hint says: nothing was lost.
  renameSync(`${store}-wal`, `${moved}-wal`);
  renameSync(`${store}-shm`, `${moved}-shm`);
  await restoreStore(copy, store);
  expect(await labelsIn(store, r.slot, ["later"])).toEqual([]);
  expect(await labelsIn(moved, r.slot, ["later"])).toEqual(["later"]);
});

test("a store is not restored while another process has the one open that was moved away", async () => {
  const dir = folder();
  // Made by the other process, for SQLite's locks do not tell one of our own.
  const store = join(dir, "store.db");
  const made = join(dir, "made.db");
  const r = await rig({ store: made });
  await create(r, "kept");
  await backupStore(made, join(dir, "copy.db"));
  copyFileSync(join(dir, "copy.db"), store);
  const child = await opener(store);
  renameSync(store, join(dir, "moved.db"));
  expect(sizes(store)).toEqual({ "store.db-wal": 0 });
  await expect(restoreStore(join(dir, "copy.db"), store)).rejects.toThrow(
    `process ${child.pid} has the store that was here open`,
  );
  child.kill("SIGKILL");
  await once(child, "exit");
  await restoreStore(join(dir, "copy.db"), store);
  expect(await labelsIn(store, r.slot, ["kept"])).toEqual(["kept"]);
});

test("a store that was cut short says what to move away, and is replaced by its backup then", async () => {
  const dir = folder();
  const store = join(dir, "store.db");
  const r = await rig({ store });
  await create(r, "kept");
  const copy = join(dir, "copy.db");
  await backupStore(store, copy);
  await r.provider.close();
  truncateSync(store, statSync(store).size - 4096);
  const refusal = await application(provider({ store })).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(StoreError);
  expect((refusal as StoreError).hints[0]).toMatch(/^move it away, .*: store\.db, store\.db-wal, store\.db-shm$/);
  expect((refusal as StoreError).hints[1]).toContain("keywright token restore");
  for (const ending of ["", "-wal", "-shm"]) renameSync(store + ending, join(dir, `broken.db${ending}`));
  await restoreStore(copy, store);
  expect(await labelsIn(store, r.slot, ["kept"])).toEqual(["kept"]);
});

test("what a deleted token held is neither in the file nor in its log, while others have the store open", async () => {
  const dir = folder();
  const store = join(dir, "store.db");
  const r = await rig({ store });
  for (let i = 0; i < 120; i += 1) await create(r, `key ${i}`, "v".repeat(16 * (1 + (i % 40))));
  const { serialNumber } = (await r.app.call("C_GetTokenInfo", { slot: r.slot })).info;
  const db = new DatabaseSync(store);
  const blobs = [
    ...(db.prepare("SELECT so_wrap, user_wrap FROM token").all() as Record<string, Uint8Array>[]),
    ...(db.prepare("SELECT secrets, attributes FROM object").all() as Record<string, Uint8Array | null>[]),
  ]
    .flatMap((row) => Object.values(row))
    .filter((blob) => blob !== null && blob.length > 64)
    // A blob may be spread over several pages of the file.
    .flatMap((blob) =>
      [0, 1, 2, 3].map((part) =>
        Buffer.from(blob!)
          .subarray(part * (blob!.length >> 2))
          .subarray(0, 12),
      ),
    );
  db.close();
  const found = () => {
    const files = ["", "-wal"].map((ending) => readFileSync(store + ending));
    return blobs.filter((part) => files.some((file) => file.includes(part))).length;
  };
  expect(found()).toBeGreaterThan(400);
  const child = await opener(store);
  await deleteToken(store, "test", serialNumber);
  expect(found()).toBe(0);
  child.kill("SIGKILL");
});
