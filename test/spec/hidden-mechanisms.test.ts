/** The table of what p11-kit's client hides, in docs/programs.md, is what the wire's lists say. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { softToken } from "../../src/softtoken/index.ts";
import { mechanismCode, mechanismName } from "../../src/spec/mechanisms.ts";
import { LAID_OUT, RELEASES, WITHOUT_PARAMETER } from "../../src/spec/wire-mechanisms.ts";

const text = readFileSync(resolve(import.meta.dirname, "../../docs/programs.md"), "utf8");
const table = /\| mechanisms \(CKM_\) .*\n.*\n((?:\|.*\n)+)/.exec(text)![1]!;
/** A row: the mechanisms, and what becomes of them in each release. */
const rows = table
  .trim()
  .split("\n")
  .map((line) => line.split("|").slice(1, -1))
  .map(([names, ...cells]) => ({
    names: names!.split(",").flatMap((name) => /^[A-Z]\w+$/.exec(name.trim())?.[0] ?? []),
    cells: cells.map((cell) => cell.trim()),
  }));

test("every mechanism of the table is hidden by the releases that it says, and by no other", () => {
  for (const { names, cells } of rows) {
    for (const name of names) {
      const code = mechanismCode(`CKM_${name}`);
      expect(code, name).toBeDefined();
      const found = RELEASES.map((release) => LAID_OUT[release].has(code!) || WITHOUT_PARAMETER[release].has(code!));
      expect([name, ...cells]).toEqual([name, ...found.map((isThere) => (isThere ? "there" : "hidden"))]);
    }
  }
});

test("every mechanism of the built-in token is in the table", async () => {
  const folder = mkdtempSync(join(tmpdir(), "keywright-hidden-"));
  const provider = softToken({ store: join(folder, "store.db") });
  onTestFinished(async () => {
    await provider.close();
    rmSync(folder, { recursive: true });
  });
  const token = await provider.open();
  await token.call("C_Initialize", { args: {} });
  const { slots } = await token.call("C_GetSlotList", { tokenPresent: false });
  const { mechanisms } = await token.call("C_GetMechanismList", { slot: slots[0]! });
  const told = new Set(rows.flatMap(({ names }) => names.map((name) => `CKM_${name}`)));
  const untold = mechanisms
    .map((code) => mechanismName(Number(code)))
    // What is built on SHA-3 has one row, and each parameter set of the post-quantum ones its family's.
    .filter((name) => !/SHA3_|^CKM_HASH_(ML|SLH)_DSA/.test(name) && !told.has(name));
  expect(untold).toEqual([]);
});
