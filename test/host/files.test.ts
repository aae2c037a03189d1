/** Files that are written whole, and what is left of those that were not. Needs dist. */
import { spawnSync } from "node:child_process";
import {
  chownSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { writeAtomic } from "../../src/host/files.ts";

const dist = new URL("../../dist/", import.meta.url);

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "keywright-files-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Ends a process in the middle of its work, and answers what that left in a folder. */
function left(inside: string, library: string, text: string): string[] {
  const before = readdirSync(inside);
  const program = `import * as it from ${JSON.stringify(new URL(library, dist).href)}; ${text}`;
  expect(spawnSync(process.execPath, ["--input-type=module", "-e", program]).status).toBe(9);
  return readdirSync(inside).filter((name) => !before.includes(name));
}

const HOURS = 3600;

function age(path: string, seconds: number): void {
  const then = Date.now() / 1000 - seconds;
  utimesSync(path, then, then);
}

test("what killed runs left of a file goes when it is written again; what may be written just now stays", async () => {
  const inside = folder();
  const path = join(inside, "www.crt");
  const write = `void it.writeAtomic(${JSON.stringify(path)}, "new"); process.exit(9);`;
  const [old, young] = [left(inside, "host/files.js", write), left(inside, "host/files.js", write)];
  expect([old, young]).toEqual([
    [expect.stringMatching(/^\.www\.crt\.[0-9a-f]{12}\.tmp$/)],
    [expect.stringMatching(/^\.www\.crt\.[0-9a-f]{12}\.tmp$/)],
  ]);
  age(join(inside, old[0]!), 2 * HOURS);
  age(join(inside, young[0]!), 0.5 * HOURS);
  await writeAtomic(path, "newer");
  expect(readdirSync(inside).sort()).toEqual([young[0], "www.crt"]);
  expect(readFileSync(path, "utf8")).toBe("newer");
});

test("files of other names or of other users, folders and links are no leftovers, however old", async () => {
  const inside = folder();
  const names = [
    ".www.crt.0123456789ab.tmp.bak",
    ".www.crt.0123456789abcd.tmp",
    ".www.crt.mine.tmp",
    ".other.crt.0123456789ab.tmp",
    "www.crt.0123456789ab.tmp",
  ];
  for (const name of names) writeFileSync(join(inside, name), "");
  mkdirSync(join(inside, ".www.crt.000000000000.tmp"));
  symlinkSync("nowhere", join(inside, ".www.crt.111111111111.tmp"));
  for (const name of names) age(join(inside, name), 2 * HOURS);
  age(join(inside, ".www.crt.000000000000.tmp"), 2 * HOURS);
  lutimesSync(join(inside, ".www.crt.111111111111.tmp"), 0, 0);
  if (process.getuid?.() === 0) {
    const path = join(inside, ".www.crt.222222222222.tmp");
    writeFileSync(path, "");
    chownSync(path, 65534, 65534);
    age(path, 2 * HOURS);
  }
  const before = readdirSync(inside);
  await writeAtomic(join(inside, "www.crt"), "new");
  expect(readdirSync(inside)).toEqual([...before, "www.crt"].sort());
});
