/** How a store comes to be: whole or not at all, and never in the place of one that was lost. */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { backupStore, restoreStore, type StoreError, softToken } from "../../src/softtoken/index.ts";
import { application, folder, initialize, provider } from "./rig.ts";

/** Runs a program that has `softToken`; ended by a signal after some time where that is given. */
function run(program: string, killAfter?: number): Promise<{ code: number | null; out: string }> {
  const library = join(import.meta.dirname, "../../dist/doors/softtoken.js");
  const source = `import { softToken } from ${JSON.stringify(library)};\n${program}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
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
    const program = `
      const app = await softToken({ store: ${JSON.stringify(join(dir, "store.db"))}, scryptCost: 10 }).open();
      await app.call("C_Initialize", {});
      process.stdout.write((await app.call("C_GetSlotList", { tokenPresent: true })).slots.join());
      process.exit();`;
    const answers = await Promise.all(Array.from({ length: 6 }, () => run(program)));
    expect(answers).toEqual(answers.map(() => ({ code: 0, out: "0" })));
    expect(readdirSync(dir).filter((name) => name.endsWith(".partial"))).toEqual([]);
  }
});

test("a process that is killed while it makes stores leaves whole ones, and nothing in the way of one", async () => {
  const dir = folder();
  for (const killAfter of [5, 20, 60, 150]) {
    const program = `
      process.stdout.write("begun");
      for (let i = 0; ; i += 1) await softToken({ store: ${JSON.stringify(dir)} + "/${killAfter}-" + i + ".db" }).open();`;
    expect(await run(program, killAfter)).toEqual({ code: null, out: "begun" });
  }
  const made = readdirSync(dir).filter((name) => /-\d+\.db(?:\..*)?$/.test(name));
  expect(made.length).toBeGreaterThan(4);
  for (const name of made) expect(await refusal(join(dir, name.replace(/\.db\..*/, ".db")))).toBe(undefined);
});
