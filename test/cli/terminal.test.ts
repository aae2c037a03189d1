/** What a person at a terminal types and sees; expect(1) plays the person. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { peer } from "../support/peers.ts";

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");

describe.skipIf(!peer("expect"))("at a terminal", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "keywright-terminal-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    writeFileSync(
      join(folder, "keys.yaml"),
      "tokens: { demo: { module: softtoken, store: demo.db, label: demo, pin: { prompt: true }, soPin: { prompt: true } } }\nkeys: { k: { token: demo, id: 1, type: Ed25519 } }\n",
    );
  });

  /** Runs the command; each pair is what is waited for, and what is typed then. */
  function play(words: string, ...dialogue: (readonly [string, string])[]): { seen: string; code: number } {
    const quote = (text: string) => `"${text.replaceAll(/["$[\]\\]/g, "\\$&")}"`;
    const script = [
      "set timeout 20",
      `spawn -noecho ${process.execPath} ${COMMAND} ${words} --state ${join(folder, "state")}`,
      ...dialogue.flatMap(([prompt, answer]) => [`expect -ex ${quote(prompt)}`, `send -- "${answer}"`]),
      "expect eof",
      "exit [lindex [wait] 3]",
    ].join("\n");
    const { stdout, status } = spawnSync("expect", ["-"], { cwd: folder, input: script, encoding: "utf8" });
    return { seen: stdout, code: status ?? -1 };
  }

  const init = () =>
    play(
      "apply",
      ['Only "yes" goes on: ', "yes\\r"],
      ["SO PIN of demo: ", "so-12345678\\r"],
      ["again: ", "so-12345678\\r"],
      ["user PIN of demo: ", "1234-usxx\\177\\177er\\r"],
      ["again: ", "1234-user\\r"],
    );

  test("apply asks for yes and for each PIN once, a new one twice, and shows none; backspace works", () => {
    const { seen, code } = init();
    expect(code).toBe(0);
    expect(seen).toContain("Applied: 1 done.");
    expect(seen).not.toContain("so-12345678");
    expect(seen).not.toContain("1234");
    expect(seen.match(/user PIN of demo: /g)).toHaveLength(1);
  });

  test("Ctrl-C at a question ends the command as the signal does, and nothing is changed", () => {
    const { seen, code } = play("apply", ['Only "yes" goes on: ', "\\003"]);
    expect(code).toBe(130);
    expect(seen).not.toContain("fault of Keywright");
    expect(play("token list --module softtoken --store demo.db").seen).not.toContain("token=demo");
  });

  test("one PIN for both roles is not taken, and nothing is done with it", () => {
    const { seen, code } = play(
      "token init demo",
      ["SO PIN of demo: ", "12345678\\r"],
      ["again: ", "12345678\\r"],
      ["user PIN of demo: ", "12345678\\r"],
      ["again: ", "12345678\\r"],
    );
    expect(code).toBe(4);
    expect(seen).toContain("the user PIN of demo is the same as its SO PIN");
    expect(play("token list --module softtoken --store demo.db").seen).toContain("not initialised");
  });

  test("the last try is a person's who types that PIN, not a file's at a terminal", { timeout: 60_000 }, () => {
    expect(init().code).toBe(0);
    const withFile = (pin: string) => {
      writeFileSync(join(folder, "some.pin"), pin, { mode: 0o600 });
      // One PIN in 4096 looks like another one; the token itself tells how many tries are left.
      rmSync(join(folder, "state/pins.json"), { force: true });
      return play("key list demo --pin file:some.pin").seen;
    };
    let last = "";
    for (let i = 0; i < 12; i += 1) last = withFile(`wrong-${i}`);
    expect(last).toContain("it would be the last try of the user PIN of demo");
    expect(withFile("1234-user")).toContain("it would be the last try");
    expect(play("key list demo", ["user PIN of demo: ", "1234-user\\r"]).code).toBe(0);
    expect(withFile("1234-user")).toContain("k");
  });

  test("anything but yes changes nothing", () => {
    const { seen, code } = play("apply", ['Only "yes" goes on: ', "y\\r"]);
    expect(code).toBe(5);
    expect(seen).toContain("nothing was changed");
  });

  test("a long label does not make every line of a table as long; JSON and pipes have the whole", () => {
    const label = "l".repeat(300);
    writeFileSync(join(folder, "user.pin"), "1234-user\n", { mode: 0o600 });
    writeFileSync(join(folder, "so.pin"), "so-12345678\n", { mode: 0o600 });
    expect(play("token init --store l.db --label demo --so-pin file:so.pin --pin file:user.pin").code).toBe(0);
    const made = play(`key generate --store l.db --pin file:user.pin --type Ed25519 --id 1 --label ${label}`);
    expect(made.seen).toContain(`${"l".repeat(39)}…  0x01`);
    expect(made.seen).not.toMatch(/^private key.*l{40}/m);
    const words = [COMMAND, ..."key list --store l.db --public --state state".split(" ")];
    const piped = spawnSync(process.execPath, words, { cwd: folder, encoding: "utf8" });
    expect(piped.stdout).toContain(`public key  ${label}  0x01`);
  });

  test("Ctrl-D at a question is no, and no fault of ours", () => {
    const asked = play("apply", ['Only "yes" goes on: ', "\\004"]);
    expect(asked.code).toBe(5);
    expect(asked.seen).toContain("keywright: nothing was changed");
    expect(asked.seen).not.toContain("fault");
    expect(init().code).toBe(0);
    const { seen, code } = play("token delete demo", ['Only "yes" goes on: ', "\\004"]);
    expect(code).toBe(5);
    expect(seen).toContain("keywright: error: not confirmed: this token and every key in it will be destroyed");
    expect(seen).toContain("keywright: hint: nothing was changed");
    expect(play("token list --module softtoken --store demo.db").seen).toContain("token=demo");
  });

  test("two answers that differ change nothing", () => {
    expect(init().code).toBe(0);
    const { seen, code } = play(
      "pin change demo",
      ["user PIN of demo: ", "1234-user\\r"],
      ["new: ", "abcdef\\r"],
      ["again: ", "abcdeg\\r"],
    );
    expect(code).toBe(4);
    expect(seen).toContain("differ");
    expect(play("key list demo", ["user PIN of demo: ", "1234-user\\r"]).code).toBe(0);
  });

  test("Ctrl-C at a prompt ends the command, and leaves the terminal as it was", () => {
    expect(init().code).toBe(0);
    const command = `${process.execPath} ${COMMAND} key list demo --state state`;
    writeFileSync(join(folder, "around"), `stty -a > before\n${command}\necho $? > code\nstty -a > after\n`);
    const script = 'set timeout 20\nspawn sh around\nexpect -ex "user PIN of demo: "\nsend -- "\\003"\nexpect eof\n';
    spawnSync("expect", ["-"], { cwd: folder, input: script });
    const read = (name: string) => readFileSync(join(folder, name), "utf8");
    expect(read("code")).toBe("130\n");
    expect(read("after")).toBe(read("before"));
  });

  test("a destructive command asks, and yes goes on", () => {
    expect(init().code).toBe(0);
    const { seen, code } = play("token delete demo", ['Only "yes" goes on: ', "yes\\r"]);
    expect(code).toBe(0);
    expect(seen).toContain("deleted pkcs11:");
  });
});
