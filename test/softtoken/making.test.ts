/** How a store comes to be: whole or not at all, and never in the place of one that was lost. */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { backupStore, restoreStore, type StoreError, softToken } from "../../src/softtoken/index.ts";
import { application, folder, initialize, provider } from "./rig.ts";

const program = (text: string) => {
  const library = join(import.meta.dirname, "../../dist/doors/softtoken.js");
  return ["--input-type=module", "-e", `import { softToken } from ${JSON.stringify(library)};\n${text}`];
};

/** Runs a program that has `softToken`; ended by a signal after some time where that is given. */
function run(text: string, killAfter?: number): Promise<{ code: number | null; out: string }> {
  const child = spawn(process.execPath, program(text), { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => {
    if (out === "" && killAfter !== undefined) void delay(killAfter).then(() => child.kill("SIGKILL"));
    out += chunk.toString();
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out })));
}

async function refusal(store: string): Promise<StoreError | undefined> {
  const token = softToken({ store });
  try {
    await token.open();
    return undefined;
  } catch (error) {
    return error as StoreError;
  } finally {
    await token.close();
  }
}

test("an empty file is a store that was truncated, not a new one", async () => {
  const store = join(folder(), "store.db");
  const made = softToken({ store, scryptCost: 10 });
  await initialize(await application(made), "t");
  await backupStore(store, `${store}.bak`);
  await made.close();
  truncateSync(store, 0);
  const error = await refusal(store);
  expect(error?.message).toBe(`${store}: the store file is empty: it was truncated`);
  expect(error?.hints.join()).toContain("keywright token restore");
  expect(readFileSync(store)).toHaveLength(0);
  for (const ending of ["", "-wal", "-shm"]) rmSync(store + ending, { force: true });
  await restoreStore(`${store}.bak`, store);
  expect((await (await application(provider({ store }))).call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([
    0, 1,
  ]);
});

test("what was last written to a store that is gone is never taken for a part of a new one", async () => {
  const store = join(folder(), "store.db");
  const made = softToken({ store, scryptCost: 10 });
  await initialize(await application(made), "t");
  const log = readFileSync(`${store}-wal`);
  await backupStore(store, `${store}.bak`);
  await made.close();
  rmSync(store);
  writeFileSync(`${store}-wal`, log);
  expect((await refusal(store))?.message).toBe(
    `${store}-wal: a log without its store: it has the last changes of the one that was here`,
  );
  await expect(restoreStore(`${store}.bak`, store)).rejects.toThrow("a log without its store");
  expect(existsSync(store)).toBe(false);
});

test("processes that make one store at once have one store", async () => {
  for (let round = 0; round < 3; round += 1) {
    const dir = folder();
    const making = `
      const app = await softToken({ store: ${JSON.stringify(join(dir, "store.db"))}, scryptCost: 10 }).open();
      await app.call("C_Initialize", {});
      process.stdout.write((await app.call("C_GetSlotList", { tokenPresent: true })).slots.join());
      process.exit();`;
    const answers = await Promise.all(Array.from({ length: 6 }, () => run(making)));
    expect(answers).toEqual(answers.map(() => ({ code: 0, out: "0" })));
    expect(readdirSync(dir).filter((name) => name.endsWith(".partial"))).toEqual([]);
  }
});

test("what a process that was killed left of a store goes when the store is made, if it is an hour old", async () => {
  const dir = folder();
  const store = join(dir, "store.db");
  const library = new URL("../../dist/softtoken/store/file.js", import.meta.url).href;
  const dying = `import { place } from ${JSON.stringify(library)};
    import { writeFileSync } from "node:fs";
    place(${JSON.stringify(store)}, (partial) => { writeFileSync(partial + "-wal", "x"); process.exit(9); });`;
  for (let i = 0; i < 2; i += 1) {
    expect(spawnSync(process.execPath, ["--input-type=module", "-e", dying]).status).toBe(9);
  }
  const left = readdirSync(dir);
  expect(left).toHaveLength(4);
  // Of one process: SQLite's log beside it as well.
  const old = left.filter((name) => name.startsWith(left[0]!));
  const then = Date.now() / 1000 - 7200;
  for (const name of old) utimesSync(join(dir, name), then, then);
  expect(await refusal(store)).toBe(undefined);
  const now = readdirSync(dir);
  expect(now).toEqual(expect.arrayContaining(left.filter((name) => !old.includes(name))));
  expect(now.filter((name) => old.includes(name))).toEqual([]);
});

test("a process that is killed while it makes stores leaves whole ones, and nothing in the way of one", async () => {
  const dir = folder();
  for (const killAfter of [5, 20, 60, 150]) {
    const making = `
      process.stdout.write("begun");
      for (let i = 0; ; i += 1) await softToken({ store: ${JSON.stringify(dir)} + "/${killAfter}-" + i + ".db" }).open();`;
    expect(await run(making, killAfter)).toEqual({ code: null, out: "begun" });
  }
  const made = readdirSync(dir).filter((name) => /-\d+\.db(?:\..*)?$/.test(name));
  expect(made.length).toBeGreaterThan(4);
  for (const name of made) expect(await refusal(join(dir, name.replace(/\.db\..*/, ".db")))).toBe(undefined);
});

test("a store whose name is a symbolic link is made where the link leads", async () => {
  const dir = folder();
  mkdirSync(join(dir, "sub"));
  symlinkSync("sub/second", join(dir, "first"));
  symlinkSync("real/store.db", join(dir, "sub/second"));
  expect(await refusal(join(dir, "first"))).toBe(undefined);
  expect(readlinkSync(join(dir, "first"))).toBe("sub/second");
  expect(existsSync(join(dir, "sub/real/store.db"))).toBe(true);
  expect(await refusal(join(dir, "first"))).toBe(undefined);
  symlinkSync("loop", join(dir, "loop"));
  expect((await refusal(join(dir, "loop")))?.message).toBe(`${dir}/loop: a symbolic link that leads to itself`);
});

test("a store that a process had open and is gone is made anew once what belonged to it is gone too", async () => {
  const store = join(folder(), "store.db");
  const made = softToken({ store, scryptCost: 10 });
  await initialize(await application(made), "t");
  rmSync(store);
  rmSync(`${store}-wal`);
  expect((await refusal(store))?.message).toBe(`${store}: this process has the store that was here open`);
  await made.close();
  const error = await refusal(store);
  expect(error?.message).toBe(`${store}-shm: it belongs to a store that was here, which this process has had open`);
  expect(error?.hints).toEqual([expect.stringMatching(/^remove it /)]);
  for (const ending of ["-wal", "-shm"]) rmSync(store + ending, { force: true });
  expect(await refusal(store)).toBe(undefined);
});

test.skipIf(!existsSync("/proc/locks"))(
  "a second opening leaves the first one its lock, which keeps its log",
  async () => {
    const store = join(folder(), "store.db");
    const first = await application(provider({ store }));
    await initialize(first, "t");
    const locks = () =>
      readFileSync("/proc/locks", "utf8").match(new RegExp(` ${process.pid} \\S+:${statSync(store).ino} `));
    expect(locks()).not.toBe(null);
    await application(provider({ store }));
    expect(locks()).not.toBe(null);
  },
);

describe("where a store cannot be written", () => {
  /** Makes tokens in a store, one after the other, and tells what went wrong. */
  const filling = (store: string) => `
    const made = softToken({ store: ${JSON.stringify(store)}, scryptCost: 10 });
    try {
      const app = await made.open();
      await app.call("C_Initialize", {});
      for (let slot = 0; slot < 30; slot += 1) {
        await app.call("C_InitToken", { slot, pin: Buffer.from("12345678"), label: Buffer.alloc(32, " ") });
      }
      console.log("filled");
    } catch (error) {
      console.log(error.name, error.message);
    }`;
  /** With files of so many KiB at most. */
  const limited = (kib: number, store: string) =>
    spawnSync("bash", ["-c", `ulimit -f ${kib}; exec "$@"`, "bash", process.execPath, ...program(filling(store))]);

  test("no part of one is left where a file may not become large enough", () => {
    for (const kib of [1, 8, 20, 32]) {
      const dir = folder();
      expect(limited(kib, join(dir, "store.db")).stdout.toString()).toMatch(
        /^StoreError .*store\.db: the store could not be read or written: the file would become larger than it may/,
      );
      expect(readdirSync(dir)).toEqual([]);
    }
  });

  test("a write that the system refuses is a device error that says why", async () => {
    const store = join(folder(), "store.db");
    const { stdout, stderr } = limited(64, store);
    expect(stdout.toString()).toMatch(
      /^CryptokiError C_InitToken: CKR_DEVICE_ERROR, .*store\.db: the store could not be read or written: the file would/,
    );
    expect(stderr.toString()).toBe("");
    expect(await refusal(store)).toBe(undefined);
  });

  test("a folder that may not be written is told, with the store", async () => {
    const dir = folder();
    const store = join(dir, "store.db");
    expect(await refusal(store)).toBe(undefined);
    for (const ending of ["-wal", "-shm"]) rmSync(store + ending, { force: true });
    // Root may write everywhere.
    const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;
    if (user !== undefined) chownSync(store, user.uid, user.gid);
    chmodSync(dir, 0o555);
    onTestFinished(() => chmodSync(dir, 0o700));
    const { stdout } = spawnSync(process.execPath, program(filling(store)), { ...user, cwd: "/" });
    expect(stdout.toString()).toBe(`StoreError ${store}: the store cannot be written, or its folder\n`);
  });

  test.skipIf(process.getuid?.() !== 0)("on a disk that is full there is no store, or a whole one", async () => {
    const whole = join(folder(), "whole.db");
    expect(await refusal(whole)).toBe(undefined);
    for (const kib of [4, 20, 40, 44, 60, 64, 80]) {
      const dir = folder();
      const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${kib}k`, "tmpfs", dir]);
      if (mounted.status !== 0) return expect(mounted.stderr.toString()).toContain("permission denied");
      onTestFinished(() => void spawnSync("umount", [dir]));
      const store = join(dir, "store.db");
      if (kib < 40) {
        await expect(backupStore(whole, store)).rejects.toThrow(`${store}: the disk is full`);
        expect(readdirSync(dir)).toEqual([]);
      }
      const { stdout } = spawnSync(process.execPath, program(filling(store)));
      expect(stdout.toString()).toMatch(
        /^(StoreError|CryptokiError C_InitToken: CKR_DEVICE_MEMORY, ).*: the disk is full$/m,
      );
      expect(readdirSync(dir).filter((name) => name.includes("partial"))).toEqual([]);
      spawnSync("mount", ["-o", "remount,size=8m", dir]);
      expect(await run(filling(store))).toEqual({ code: 0, out: "filled\n" });
    }
  });
});
