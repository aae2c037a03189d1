/** How the command starts: with the bytecode that the build left, or without. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");

/** A copy of the built command, and what its bytecode is called there. */
function copied(): { readonly command: string; readonly bytecode: string[] } {
  const folder = mkdtempSync(join(tmpdir(), "keywright-start-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(root, "dist/bin"), join(folder, "dist/bin"), { recursive: true, preserveTimestamps: true });
  cpSync(join(root, "package.json"), join(folder, "package.json"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const bin = join(folder, "dist/bin");
  return {
    command: join(bin, "keywright.js"),
    bytecode: readdirSync(bin)
      .filter((name) => name.endsWith(".cache"))
      .map((name) => join(bin, name)),
  };
}

/** Prints whether V8 took the bytecode, beside what the command prints. */
const WATCH = `const vm = require("node:vm"); const { Script } = vm;
vm.Script = class extends Script { constructor(...args) { super(...args); console.log("refused", this.cachedDataRejected); } };`;

function version(command: string, options: readonly string[] = [], user: { uid?: number; gid?: number } = {}) {
  const watch = join(command, "../watch.js");
  writeFileSync(watch, WATCH);
  const args = [...options, "--require", watch, command, "--version"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", cwd: "/", ...user });
  return { status, stderr, said: stdout.trim().split("\n") };
}

const VERSION = expect.stringMatching(/^\d+\.\d+\.\d+$/);

test("bytecode is of this build and of the Node that built, and that Node takes it", () => {
  const { command, bytecode } = copied();
  expect(bytecode).toHaveLength(1);
  // The suite runs on other versions of Node too.
  const isOurs = bytecode[0]!.includes(`-${process.version}-${process.arch}.`);
  expect(version(command)).toMatchObject({ status: 0, said: isOurs ? ["refused false", VERSION] : [VERSION] });
});

test("without it, or with one that is not whole, the command runs as well", () => {
  const { command, bytecode } = copied();
  truncateSync(bytecode[0]!, 5000);
  expect(version(command)).toMatchObject({ status: 0, stderr: "" });
  expect(version(command).said.at(-1)).toEqual(VERSION);
  rmSync(bytecode[0]!);
  expect(version(command)).toMatchObject({ status: 0, said: [VERSION] });
});

test("one that cannot be read, or is a folder, is as if it were not there", () => {
  const { command, bytecode } = copied();
  chmodSync(bytecode[0]!, 0);
  // Root would read it all the same.
  chmodSync(join(command, "../../.."), 0o755);
  const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  expect(version(command, [], nobody)).toMatchObject({ status: 0, stderr: "", said: [VERSION] });
  rmSync(bytecode[0]!);
  mkdirSync(bytecode[0]!);
  expect(version(command)).toMatchObject({ status: 0, stderr: "", said: [VERSION] });
});

test("it is not used for a text that was edited after the build, be it as long as before", () => {
  const { command, bytecode } = copied();
  const path = join(command, "../command.js");
  const { version: now } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const text = readFileSync(path, "latin1");
  const other = now.replace(/^\d/, "9");
  expect(text).toContain(now);
  writeFileSync(path, text.replaceAll(now, other), "latin1");
  expect(version(command).said.at(-1)).toBe(other);
  // Times that are all alike, as a package's are, are no edit.
  writeFileSync(path, text, "latin1");
  for (const file of [path, bytecode[0]!]) utimesSync(file, 1, 1);
  const isOurs = bytecode[0]!.includes(`-${process.version}-${process.arch}.`);
  expect(version(command).said).toEqual(isOurs ? ["refused false", now] : [now]);
});

test("under options of Node that change its bytecode, the command runs as well", () => {
  const { command } = copied();
  for (const option of ["--no-opt", "--max-lazy", "--jitless"]) {
    const ran = version(command, [option]);
    expect([option, ran.status, ran.said.at(-1)]).toEqual([option, 0, VERSION]);
  }
});
