/** What every command says of itself. */
import { execFileSync, spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { COMMANDS } from "../../src/cli/registry.ts";

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");
const keywright = (...words: string[]) => execFileSync(process.execPath, [COMMAND, ...words], { encoding: "utf8" });

describe("help", () => {
  test("lists every command, and every exit code", () => {
    const help = keywright("--help");
    for (const { name, summary } of COMMANDS) expect(help.replaceAll(/\s+/g, " ")).toContain(`${name} ${summary}`);
    expect(help).toMatch(/exit codes:\n +0 +done\n +1 +failed\n +2 .*\n +3 .*\n +4 .*\n +5 .*\n +64 /);
    expect(keywright("-h")).toBe(help);
    expect(keywright("key", "--help")).toContain("key generate");
    expect(keywright("key", "--help")).not.toContain("token init");
  });

  test.each(COMMANDS.map(({ name }) => name))("of %s: usage, its summary, its options, an example", async (name) => {
    const help = keywright(...name.split(" "), "--help");
    const entry = COMMANDS.find((command) => command.name === name)!;
    const { spec } = await entry.load();
    expect(spec.summary).toBe(entry.summary);
    expect(spec.name).toBe(name);
    expect(help.startsWith(`usage: keywright ${name}`)).toBe(true);
    expect(help).toContain(entry.summary);
    expect(help).toContain("examples:\n");
    for (const line of help.split("\n")) expect(line).toBe(line.trimEnd());
  });

  test("an unknown command or option is a usage error with a hint", () => {
    for (const [words, near] of [
      [["frobnicate"], undefined],
      [["plan", "--ouut", "x"], "--out"],
      [["uri", "--json=1"], undefined],
      [["token", "lits"], "token list"],
      [["stauts"], "status"],
    ] as const) {
      const { status, stderr } = spawnSync(process.execPath, [COMMAND, ...words], { encoding: "utf8" });
      expect(status).toBe(64);
      const hint = near === undefined ? "" : `keywright: hint: did you mean ${near}\\?\\n`;
      expect(stderr).toMatch(new RegExp(`^keywright: error: [a-z].*[^.]\\n${hint}keywright: hint: see: keywright `));
    }
  });

  test("the first word of several commands alone shows those", () => {
    const { status, stdout } = spawnSync(process.execPath, [COMMAND, "pin"], { encoding: "utf8" });
    expect(status).toBe(64);
    expect(stdout).toContain("pin unblock");
    expect(stdout).not.toContain("key list");
  });

  test("the version is that of the package", () => {
    expect(keywright("--version").trim()).toBe("0.1.0");
  });

  test.each(["bash", "zsh", "fish"])("completion for %s names every command", (shell) => {
    const script = keywright("completion", shell);
    for (const { name } of COMMANDS) for (const word of name.split(" ")) expect(script).toContain(word);
    if (shell === "bash") execFileSync("bash", ["-n"], { input: script });
  });
});
