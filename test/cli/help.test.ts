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
      [["toke"], "token"],
      [["bogus", "--help"], undefined],
      [["key", "bogus", "-h"], undefined],
      [["planet"], "plan"],
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

  test("an option within a command is told where it stands, and not repeated, for it may be a PIN", () => {
    for (const words of [
      ["key", "--pin=1234-user", "list", "demo"],
      ["--json", "key", "list"],
    ]) {
      const { status, stderr } = spawnSync(process.execPath, [COMMAND, ...words], { encoding: "utf8" });
      expect(status).toBe(64);
      expect(stderr).toBe(
        "keywright: error: options stand after the command\nkeywright: hint: so: keywright key list [OPTION…]\n",
      );
    }
  });

  test.each([
    ["--id", "-5"],
    ["--label", "-x"],
  ])("a value of %s that begins with a dash is told how it is given", (option, value) => {
    const words = ["key", "generate", option, value];
    const { status, stderr } = spawnSync(process.execPath, [COMMAND, ...words], { encoding: "utf8" });
    expect(status).toBe(64);
    expect(stderr).toBe(
      `keywright: error: option '${option}' argument is ambiguous\n` +
        `keywright: hint: a value that begins with a dash is given so: ${option}=-VALUE\n` +
        "keywright: hint: see: keywright key generate --help\n",
    );
  });

  test("the version is that of the package", () => {
    expect(keywright("--version").trim()).toBe("0.1.0");
  });

  test.each(["bash", "zsh", "fish"])("completion for %s names every command", (shell) => {
    const script = keywright("completion", shell);
    for (const { name } of COMMANDS) for (const word of name.split(" ")) expect(script).toContain(word);
    if (shell === "bash") execFileSync("bash", ["-n"], { input: script });
  });

  test.each([
    ["completion ", "bash zsh fish"],
    ["key export demo --format j", "jwk"],
    ["key generate --usage de", "derive decrypt"],
    ["key generate --type Ed", "Ed25519 Ed448"],
    ["token b", "backup"],
    ["key export --form", "--format"],
  ])("bash completes %j to %j", (typed, offered) => {
    const script = keywright("completion", "bash");
    const words = `keywright ${typed}`.split(" ");
    const set = `COMP_WORDS=(${words.map((word) => JSON.stringify(word)).join(" ")}); COMP_CWORD=${words.length - 1}`;
    const out = execFileSync("bash", ["-c", `${script}\n${set}\n_keywright; echo "\${COMPREPLY[*]}"`], {
      encoding: "utf8",
    });
    expect(out.trim()).toBe(offered);
  });

  test("fish completes files where a command takes them, and the values of options", () => {
    const lines = keywright("completion", "fish").split("\n");
    const of = (group: string, verb: string) =>
      lines.filter((line) => line.includes(`seen_subcommand_from ${group}; and __fish_seen_subcommand_from ${verb}'`));
    for (const [group, verb] of [
      ["cert", "show"],
      ["token", "backup"],
      ["token", "restore"],
    ] as const) {
      expect(of(group, verb).some((line) => line.endsWith("' -F"))).toBe(true);
    }
    expect(of("token", "backup").find((line) => line.includes(" -l store "))).toContain(" -r -F ");
    expect(of("key", "export").find((line) => line.includes(" -l format "))).toContain("-a 'pem der jwk ssh uri-pem'");
    expect(lines).toContain("complete -c keywright -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'");
  });
});
