/** The PIN guard, over the built-in token. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { Args, Cryptoki, Provider } from "../../src/cryptoki/port.ts";
import type { Token } from "../../src/cryptoki/token.ts";
import { FaultInjector } from "../../src/layers/faults.ts";
import { type GuardOptions, guardPins } from "../../src/pins/guard.ts";
import { identityOf, PinMemory } from "../../src/pins/memory.ts";
import { softToken } from "../../src/softtoken/index.ts";

interface Bench {
  folder: string;
  memory: PinMemory;
  /** Logins that reached the token. */
  sent: string[];
  login(pin: string, options?: Partial<GuardOptions>, layer?: (inner: Cryptoki) => Cryptoki): Promise<string>;
  open(options?: Partial<GuardOptions>, layer?: (inner: Cryptoki) => Cryptoki): Promise<Token>;
}

async function bench(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), "keywright-guard-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const memory = new PinMemory(join(folder, "state"));
  const sent: string[] = [];
  const modules: Module[] = [];
  onTestFinished(() => Promise.all(modules.map((module) => module.close())).then(() => undefined));
  async function open(options: Partial<GuardOptions> = {}, layer = (inner: Cryptoki) => inner): Promise<Token> {
    const inner: Provider = softToken({ store: join(folder, "store.db"), scryptCost: 10, pinTries: 5 });
    const watch = (cryptoki: Cryptoki): Cryptoki => ({
      call: (fn, args) => {
        if (fn === "C_Login") sent.push(Buffer.from((args as Args<"C_Login">).pin ?? []).toString());
        return cryptoki.call(fn, args);
      },
    });
    const guarded = async () =>
      guardPins(layer(watch(await inner.open())), { memory, attended: false, reach: "test", ...options });
    const module = await Module.open({ open: guarded, close: () => inner.close() });
    modules.push(module);
    const [token] = await module.tokens();
    return token!;
  }
  const token = await open({ attended: true });
  await token.initialise("guarded", Pin.from("so-pin-1"));
  await token.initialisePin(Pin.from("so-pin-1"), Pin.from("right"));
  sent.length = 0;
  return {
    folder,
    memory,
    sent,
    open,
    async login(pin, options, layer) {
      try {
        const opened = await open(options, layer);
        await opened.withSession({ user: "USER", pin: Pin.from(pin) }, () => Promise.resolve());
        return "in";
      } catch (error) {
        if (!(error instanceof CryptokiError)) throw error;
        return error.message;
      }
    },
  };
}

describe("the guard", () => {
  test("a PIN that was refused is never sent again, by nobody and by no person", async () => {
    const b = await bench();
    expect(await b.login("wrong")).toContain("CKR_PIN_INCORRECT");
    expect(await b.login("wrong")).toContain("not sent: guarded refused this user PIN");
    expect(await b.login("wrong", { attended: true })).toContain("not sent");
    expect(b.sent).toEqual(["wrong"]);
  });

  test("while nobody is there and the count is unknown, one failure is the last; a person goes on, and clears it", async () => {
    const b = await bench();
    await b.login("wrong");
    expect(await b.login("right")).toContain("how many tries are left is not known");
    expect(b.sent).toEqual(["wrong"]);
    expect(await b.login("right", { attended: true })).toBe("in");
    expect(await b.login("right")).toBe("in");
  });

  test("where the count is known, the last try is never spent unattended", async () => {
    const b = await bench();
    const tries = (left: number) => ({ tries: () => left });
    expect(await b.login("right", tries(2))).toBe("in");
    expect(await b.login("right", tries(1))).toContain("it would be the last try");
    expect(await b.login("right", { ...tries(1), attended: true })).toBe("in");
  });

  test("the token's own flags count: at CKF_USER_PIN_FINAL_TRY nothing is sent unattended, at LOCKED never", async () => {
    const b = await bench();
    for (const pin of ["a", "b", "c", "d"]) await b.login(pin, { attended: true });
    await b.memory.forget(() => true);
    expect(await b.login("right")).toContain("it would be the last try");
    await b.login("e", { attended: true });
    await b.memory.forget(() => true);
    const before = b.sent.length;
    expect(await b.login("right", { attended: true })).toContain("CKR_PIN_LOCKED");
    expect(b.sent).toHaveLength(before);
  });

  test("a family that never locks may try other PINs, but not the same wrong one", async () => {
    const b = await bench();
    const options = { neverLocks: () => true };
    await b.login("wrong", options);
    expect(await b.login("wrong", options)).toContain("not sent");
    expect(await b.login("right", options)).toBe("in");
  });

  test("user and SO are remembered apart", async () => {
    const b = await bench();
    await b.login("so-pin-1");
    const token = await b.open();
    await token.withSession({ user: "SO", pin: Pin.from("so-pin-1") }, () => Promise.resolve());
  });

  test("a reply that was lost does not lock anybody out when the PIN was right", async () => {
    const b = await bench();
    const injector = new FaultInjector({ at: 0, when: "after", rv: "CKR_DEVICE_ERROR", only: ["C_Login"] });
    expect(await b.login("right", {}, injector.layer)).toContain("CKR_DEVICE_ERROR");
    expect(await b.login("right")).toBe("in");
  });

  test("a reply that was lost counts as a failure when the token shows one", async () => {
    const b = await bench();
    const injector = new FaultInjector({ at: 0, when: "after", rv: "CKR_DEVICE_ERROR", only: ["C_Login"] });
    expect(await b.login("wrong", {}, injector.layer)).toContain("CKR_DEVICE_ERROR");
    expect(await b.login("right")).toContain("how many tries are left is not known");
  });

  test("C_SetPIN's old PIN is guarded too; a new PIN set by the SO, and a new token, clear the memory", async () => {
    const b = await bench();
    const token = await b.open();
    const change = (old: string) => token.changePin("USER", Pin.from(old), Pin.from("other"));
    await expect(change("wrong")).rejects.toThrow("CKR_PIN_INCORRECT");
    await expect(change("wrong")).rejects.toThrow("not sent");
    await token.initialisePin(Pin.from("so-pin-1"), Pin.from("wrong"));
    expect(await b.login("wrong")).toBe("in");
    await b.login("right");
    const again = await b.open();
    await again.initialise("guarded", Pin.from("so-pin-1"));
    await again.initialisePin(Pin.from("so-pin-1"), Pin.from("right"));
    expect(await b.login("right")).toBe("in");
  });

  test("two at once with one wrong PIN spend one try", async () => {
    const b = await bench();
    const said = await Promise.all([b.login("wrong"), b.login("wrong"), b.login("wrong")]);
    expect(said.filter((text) => text.includes("not sent"))).toHaveLength(2);
    expect(b.sent).toEqual(["wrong"]);
  });
});

describe("the memory", () => {
  test("is a file of 0600 that does not hold the PIN, and is gone after pin forget", async () => {
    const b = await bench();
    await b.login("wrong-one");
    const path = join(b.folder, "state/pins.json");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const file = JSON.parse(readFileSync(path, "utf8"));
    expect(JSON.stringify(file)).not.toContain("wrong-one");
    expect(file.tokens[0].roles.USER.refused[0]).toEqual({
      salt: expect.stringMatching(/^[0-9a-f]{32}$/),
      bits: expect.stringMatching(/^[0-9a-f]{3}$/),
      at: expect.any(String),
    });
    expect(await b.memory.forget(({ label }) => label === "guarded")).toBe(1);
    expect(JSON.parse(readFileSync(path, "utf8")).tokens).toEqual([]);
  });

  test("a token with a serial is known by it, one with blanks or zeroes by how it is reached too", () => {
    const info = { manufacturerID: "M", model: "m", label: "l" };
    const identity = (serialNumber: string, reach: string) => identityOf({ ...info, serialNumber } as never, reach);
    expect(identity("0001", "a")).toEqual(identity("0001", "b"));
    for (const serial of ["", "0000000000000000"]) expect(identity(serial, "a")).not.toEqual(identity(serial, "b"));
  });

  test("a memory that cannot be read is an error, not an empty one", async () => {
    const b = await bench();
    await b.login("wrong");
    const { writeFileSync } = await import("node:fs");
    writeFileSync(join(b.folder, "state/pins.json"), "{ broken");
    await expect(b.login("wrong")).rejects.toThrow("cannot read what is remembered of wrong PINs");
    expect(b.sent).toEqual(["wrong"]);
  });
});
