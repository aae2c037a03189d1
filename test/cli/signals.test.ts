/** What a signal does to the command, at whatever it is. Needs dist. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync } from "node:fs";
import { constants as system } from "node:os";
import { resolve } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { softHsm } from "../support/softhsm.ts";
import { World } from "../support/world.ts";

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");
const SOFTTOKEN = "{ module: softtoken, store: token.db, label: demo }";
const KEY = "  k: { token: demo, id: 1, type: EC:secp256r1 }\n";

function world(options: { token: string; keys: string }): World {
  const made = new World(options);
  onTestFinished(() => made.remove());
  return made;
}

interface Run {
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly said: () => string;
  /** Writes to its file descriptor 7, and closes that. */
  readonly write: (text: string) => void;
  readonly ended: Promise<{ code: number; out: string; err: string }>;
}

/** @param seventh what the command has as its file descriptor 7 */
function start(w: World, words: readonly string[], seventh: number | "pipe" | "ignore" = "ignore"): Run {
  const child = spawn(process.execPath, [COMMAND, ...words, "--state", w.path("state")], {
    cwd: w.folder,
    stdio: ["ignore", "pipe", "pipe", "ignore", "ignore", "ignore", "ignore", seventh],
  });
  const text = { out: "", err: "" };
  child.stdout!.on("data", (chunk: Buffer) => {
    text.out += chunk.toString();
  });
  child.stderr!.on("data", (chunk: Buffer) => {
    text.err += chunk.toString();
  });
  return {
    kill: (signal) => void child.kill(signal),
    write: (text) => void (child.stdio as unknown as Writable[])[7]!.end(text),
    said: () => text.out + text.err,
    ended: once(child, "close").then(([code, signal]) => ({
      code: (code as number | null) ?? 128 + system.signals[signal as NodeJS.Signals],
      ...text,
    })),
  };
}

describe("while a pipe has nothing to read", () => {
  /** A world whose token is there, and a pipe that nobody writes to, or somebody who writes nothing. */
  async function waiting(pin: string, isOpen: boolean): Promise<{ w: World; pipe: number | "ignore" }> {
    const w = world({ token: SOFTTOKEN, keys: KEY });
    await w.applied();
    w.write(
      "keys.yaml",
      `tokens: { demo: { module: softtoken, store: token.db, label: demo, pin: ${pin} } }\nkeys:\n${KEY}`,
    );
    expect(spawnSync("mkfifo", ["-m", "600", w.path("pipe")]).status).toBe(0);
    if (!isOpen) return { w, pipe: "ignore" };
    // Linux opens a pipe for both without waiting.
    const pipe = openSync(w.path("pipe"), constants.O_RDWR);
    onTestFinished(() => closeSync(pipe));
    return { w, pipe };
  }

  test.each([
    ["SIGINT", "a PIN file that nobody writes to", "{ file: pipe }", false, ["plan"], 130],
    ["SIGTERM", "a PIN file that nobody writes to", "{ file: pipe }", false, ["plan"], 143],
    ["SIGHUP", "a PIN file whose writer is silent", "{ file: pipe }", true, ["plan"], 129],
    ["SIGINT", "a PIN's file descriptor", "{ fd: 7 }", true, ["plan"], 130],
    ["SIGINT", "the declaration", "{ file: user.pin }", false, ["plan", "-f", "pipe"], 130],
    ["SIGTERM", "the plan", "{ file: user.pin }", true, ["apply", "--plan", "pipe"], 143],
    ["SIGINT", "what is signed", "{ file: user.pin }", true, ["sign", "k", "--in", "pipe"], 130],
  ] as const)("%s ends a command that reads %s", async (signal, _what, pin, isOpen, words, expected) => {
    const { w, pipe } = await waiting(pin, isOpen);
    const run = start(w, words, pipe);
    await sleep(1000);
    run.kill(signal);
    expect(await run.ended).toEqual({ code: expected, out: "", err: "" });
  });

  test.each([
    ["a named pipe", "{ file: pipe }", "(sleep 0.7; cat user.pin > pipe) & keywright plan"],
    ["a process substitution", "{ file: /dev/fd/7 }", "keywright plan 7< <(sleep 0.7; cat user.pin)"],
    ["a file descriptor", "{ fd: 7 }", "keywright plan 7< <(sleep 0.7; cat user.pin)"],
    ["standard input", "{ fd: 0 }", "(sleep 0.7; cat user.pin) | keywright plan"],
  ])("a PIN that comes later is read: %s", async (_what, pin, script) => {
    const { w } = await waiting(pin, false);
    const shell = `keywright() { ${process.execPath} ${COMMAND} "$@" --state ${w.path("state")}; }; ${script}`;
    const { status, stdout, stderr } = spawnSync("bash", ["-c", shell], { cwd: w.folder, encoding: "utf8" });
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: "Nothing to do: 1 key as declared.\n",
      stderr: "",
    });
  });

  test("a PIN that comes later is read: a socket, which is what Node gives a child for a pipe", async () => {
    const { w } = await waiting("{ fd: 7 }", false);
    const run = start(w, ["plan"], "pipe");
    await sleep(700);
    run.write(w.read("user.pin"));
    expect(await run.ended).toMatchObject({ code: 0, err: "" });
  });
});

describe.each([
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("%s during apply", (signal, expected) => {
  test("ends it with its own code and one line, whatever fails because of it; the next apply completes the state", {
    timeout: 120_000,
  }, async () => {
    const hsm = softHsm();
    onTestFinished(() => hsm.remove());
    const names = ["a", "b", "c", "d", "e", "f"];
    const w = world({
      token: `{ module: ${hsm.path}, environment: { SOFTHSM2_CONF: ${hsm.environment.SOFTHSM2_CONF} }, label: demo }`,
      keys: names
        .map(
          (name, i) =>
            `  ${name}: { token: demo, id: ${i + 1}, type: EC:secp256r1, certificate: { subject: CN=${name} } }\n`,
        )
        .join(""),
    });
    expect((await start(w, ["apply", "--yes"]).ended).code).toBe(0);
    const rotate = names.slice(0, 4).flatMap((name) => ["--rotate", name]);
    const codes: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      const run = start(w, ["apply", "--yes", ...rotate]);
      // Once it has begun: its first step is told.
      while (!run.said().includes("done: ")) await sleep(1);
      await sleep(i * 10);
      run.kill(signal);
      const { code, err } = await run.ended;
      codes.push(code);
      if (code === 0) continue;
      expect([code, err]).toEqual([
        expected,
        expect.stringMatching(/^(?: {2}done: .*\n)+keywright: interrupted: the next apply completes what was begun\n$/),
      ]);
      expect(await start(w, ["apply", "--yes"]).ended).toMatchObject({ code: 0 });
    }
    expect(codes).toContain(expected);
    expect((await start(w, ["plan", "--exit-code"]).ended).code).toBe(0);
  });
});
