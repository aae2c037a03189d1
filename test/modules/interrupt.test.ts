/** Ctrl-C while a call is blocked inside C. Needs dist. */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasCompiler, type Odd, odd } from "../support/odd.ts";

const dist = new URL("../../dist/", import.meta.url);

/** A program that opens the odd module, says when it is about to block, and blocks. */
function program(path: string, placement: string, block: string, hangs = ""): string {
  return `
    import { openProvider } from "${new URL("modules/index.js", dist)}";
    import { exitOnSignals } from "${new URL("host/exit.js", dist)}";
    exitOnSignals();
    const provider = openProvider({ module: ${JSON.stringify(path)}, placement: "${placement}", environment: { ODD_STUBBORN: "1", ODD_HANGS: "${hangs}" } });
    if (${JSON.stringify(hangs)} === "load" || ${JSON.stringify(hangs)} === "initialize") process.stdout.write("blocking");
    const p11 = await provider.open();
    await p11.call("C_Initialize", { args: {} });
    const { session } = await p11.call("C_OpenSession", { slot: 7, flags: 4 });
    process.stdout.write("blocking");
    await ${block};
  `;
}

const WAIT = `p11.call("C_WaitForSlotEvent", { flags: 0 })`;
const FOREVER = "new Promise(() => setInterval(() => {}, 1000))";
const CLOSE = "provider.close()";
const HANG = `p11.call("C_GenerateRandom", { session, length: 1 })`;

/** A text on a program's standard output, or on its standard error, where its child process writes. */
function said(child: ChildProcess, text: string, on: "stdout" | "stderr" = "stdout"): Promise<void> {
  return new Promise((resolve, reject) => {
    child[on]!.on("data", (chunk) => String(chunk).includes(text) && resolve());
    child[on]!.once("end", () => reject(new Error(`it ended without saying ${text}`)));
  });
}

/** The exit code, as a shell gives it. */
function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) =>
    child.once("exit", (code, signal) => resolve(signal === null ? code : 128 + constants.signals[signal])),
  );
}

describe.skipIf(!hasCompiler)("Ctrl-C", () => {
  let module: Odd;
  beforeAll(() => {
    module = odd();
  });
  afterAll(() => module.remove());

  function run(placement: string, block: string, hangs?: string): ChildProcess {
    return spawn(process.execPath, ["--input-type=module", "-e", program(module.path, placement, block, hangs)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  test.each([
    ["direct", "a wait for a slot event that nothing ends", WAIT],
    ["thread", "a wait for a slot event that nothing ends", WAIT],
    ["thread", "a call that hangs", HANG],
    ["process", "a call that hangs", HANG],
    ["direct", "a call that hangs", HANG],
    ["direct", "a C_Finalize that hangs", CLOSE, "finalize"],
    ["thread", "a C_Finalize that hangs", CLOSE, "finalize"],
    ["process", "a C_Finalize that hangs", CLOSE, "finalize"],
    ["direct", "loading that hangs", FOREVER, "load"],
    ["thread", "loading that hangs", FOREVER, "load"],
    ["process", "loading that hangs", FOREVER, "load"],
    ["direct", "a C_Initialize that hangs", FOREVER, "initialize"],
    ["thread", "a C_Initialize that hangs", FOREVER, "initialize"],
  ])("%s: ends %s within 3 seconds", async (placement, _what, block, hangs?: string) => {
    const child = run(placement, block, hangs);
    await said(child, "blocking");
    await new Promise((resolve) => setTimeout(resolve, 200));
    const started = Date.now();
    child.kill("SIGINT");
    expect(await ended(child)).toBe(130);
    expect(Date.now() - started).toBeLessThan(3000);
  });

  test("a second one ends it at once", async () => {
    const child = run("thread", HANG);
    await said(child, "blocking");
    const started = Date.now();
    child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 200));
    child.kill("SIGINT");
    expect(await ended(child)).toBe(130);
    expect(Date.now() - started).toBeLessThan(1500);
  });

  test("an idle module is finalised, and the program ends without waiting", async () => {
    const child = run("direct", FOREVER);
    await said(child, "blocking");
    const started = Date.now();
    const finalised = said(child, "finalised");
    child.kill("SIGTERM");
    await finalised;
    expect(await ended(child)).toBe(143);
    expect(Date.now() - started).toBeLessThan(1500);
  });

  test("a module's process finalises when its parent is killed", async () => {
    const child = run("process", FOREVER);
    await said(child, "blocking");
    const finalised = said(child, "finalised", "stderr");
    child.kill("SIGKILL");
    await finalised;
  });

  test.each(["thread", "process"])("%s: a program with nothing left to do ends by itself", async (placement) => {
    const child = run(placement, "undefined");
    expect(await ended(child)).toBe(0);
  });
});
