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

const SHOWS = { neverLocks: false, showsFailures: true };
const attended = () => true;

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
      guardPins(layer(watch(await inner.open())), {
        memory,
        attended: () => false,
        reach: "test",
        habits: () => SHOWS,
        ...options,
      });
    const module = await Module.open({ open: guarded, close: () => inner.close() });
    modules.push(module);
    const [token] = await module.tokens();
    return token!;
  }
  const token = await open({ attended });
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
    expect(await b.login("wrong", { attended })).toContain("not sent");
    expect(b.sent).toEqual(["wrong"]);
  });

  test("while nobody is there and the count is unknown, one failure is the last; a person goes on, and clears it", async () => {
    const b = await bench();
    await b.login("wrong");
    expect(await b.login("right")).toContain("how many tries are left is not known");
    expect(b.sent).toEqual(["wrong"]);
    expect(await b.login("right", { attended })).toBe("in");
    expect(await b.login("right")).toBe("in");
  });

  test("where the count is known, the last try is never spent unattended", async () => {
    const b = await bench();
    const tries = (left: number) => ({ tries: () => ({ left, refused: 0 }) });
    expect(await b.login("right", tries(2))).toBe("in");
    expect(await b.login("right", tries(1))).toContain("it would be the last try");
    expect(await b.login("right", { ...tries(1), attended })).toBe("in");
  });

  test("the token's own flags count: at CKF_USER_PIN_FINAL_TRY nothing is sent unattended, at LOCKED never", async () => {
    const b = await bench();
    for (const pin of ["a", "b", "c", "d"]) await b.login(pin, { attended });
    await b.memory.forget(() => true);
    expect(await b.login("right")).toContain("it would be the last try");
    await b.login("e", { attended });
    await b.memory.forget(() => true);
    const before = b.sent.length;
    expect(await b.login("right", { attended })).toContain("CKR_PIN_LOCKED");
    expect(b.sent).toHaveLength(before);
  });

  test("a family that never locks may try other PINs, but not the same wrong one", async () => {
    const b = await bench();
    const options = { habits: () => ({ ...SHOWS, neverLocks: true }) };
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
    expect(await b.login("right")).toContain("was never answered");
  });

  test("a reply that was lost, of a token that shows nothing, counts as the one failure that is allowed unattended", async () => {
    const b = await bench();
    const silent = { habits: () => ({ ...SHOWS, showsFailures: false }) };
    const injector = new FaultInjector({ at: 0, when: "after", rv: "CKR_DEVICE_ERROR", only: ["C_Login"] });
    expect(await b.login("wrong", silent, injector.layer)).toContain("CKR_DEVICE_ERROR");
    for (let i = 0; i < 3; i += 1) expect(await b.login("wrong", silent)).toContain("was never answered");
    expect(b.sent).toEqual(["wrong"]);
    expect(await b.login("right", { ...silent, attended })).toBe("in");
    expect(await b.login("right", silent)).toBe("in");
  });

  test("a reply that was lost while a person was typing is theirs, and keeps no program out", async () => {
    const b = await bench();
    const silent = { habits: () => ({ ...SHOWS, showsFailures: false }) };
    const injector = new FaultInjector({ at: 0, when: "after", rv: "CKR_DEVICE_ERROR", only: ["C_Login"] });
    expect(await b.login("right", { ...silent, attended }, injector.layer)).toContain("CKR_DEVICE_ERROR");
    expect(await b.login("right", silent)).toBe("in");
  });

  test("a return value that says nothing of the PIN, a vendor's own for one, is a reply that was lost", async () => {
    const b = await bench();
    const vendor = (inner: Cryptoki): Cryptoki => ({
      async call(fn, args) {
        const reply = await inner.call(fn, args);
        if (fn === "C_Login") throw new CryptokiError("C_Login", 0x8000_0001);
        return reply;
      },
    });
    const silent = { habits: () => ({ ...SHOWS, showsFailures: false }) };
    expect(await b.login("right", silent, vendor)).toContain("0x80000001");
    expect(await b.login("right", silent)).toContain("not sent");
    expect(b.sent).toHaveLength(1);
  });

  test("attended is asked for each role: a person who types the user PIN has not typed the SO PIN", async () => {
    const b = await bench();
    const token = await b.open({ attended: (role) => role === "USER", tries: () => ({ left: 1, refused: 0 }) });
    await token.withSession({ user: "USER", pin: Pin.from("right") }, () => Promise.resolve());
    const so = token.withSession({ user: "SO", pin: Pin.from("so-pin-1") }, () => Promise.resolve());
    await expect(so).rejects.toThrow("it would be the last try of the SO PIN of guarded");
    expect(b.sent).toEqual(["right"]);
  });

  test("a PIN that is answered with CKR_PIN_LOCKED is not sent again either", async () => {
    const b = await bench();
    const locks = (inner: Cryptoki): Cryptoki => ({
      async call(fn, args) {
        try {
          return await inner.call(fn, args);
        } catch (error) {
          throw fn === "C_Login" ? new CryptokiError(fn, "CKR_PIN_LOCKED") : error;
        }
      },
    });
    expect(await b.login("wrong", { attended }, locks)).toContain("CKR_PIN_LOCKED");
    expect(await b.login("wrong", { attended })).toContain("not sent: guarded refused this user PIN");
    expect(b.sent).toEqual(["wrong"]);
  });

  test("a lock that others' wrong PINs have set says nothing of the PIN that was sent", async () => {
    const b = await bench();
    const options = { habits: () => ({ neverLocks: false, showsFailures: false, sharedTries: "shared" }) };
    const locked = new FaultInjector({ at: 0, when: "before", rv: "CKR_PIN_LOCKED", only: ["C_Login"] });
    expect(await b.login("right", options, locked.layer)).toContain("CKR_PIN_LOCKED");
    expect(await b.login("right", options)).toBe("in");
  });

  test("no PIN is sent to a token, or in a session, that cannot be asked about", async () => {
    const b = await bench();
    for (const broken of ["C_GetTokenInfo", "C_GetSessionInfo"] as const) {
      let isBroken = false;
      const layer = (inner: Cryptoki): Cryptoki => ({
        call: (fn, args) => {
          if (isBroken && fn === broken) throw new CryptokiError(fn, "CKR_DEVICE_ERROR");
          return inner.call(fn, args);
        },
      });
      const token = await b.open({ attended }, layer);
      isBroken = true;
      await expect(token.withSession({ user: "USER", pin: Pin.from("right") }, () => 1)).rejects.toThrow(
        `the PIN was not sent, because ${broken} failed`,
      );
      if (broken === "C_GetTokenInfo") {
        await expect(token.initialise("other", Pin.from("so-pin-1"))).rejects.toThrow("the PIN was not sent");
      }
    }
    expect(b.sent).toEqual([]);
    expect(await b.login("right")).toBe("in");
  });

  test("C_LoginUser is guarded like C_Login", async () => {
    const b = await bench();
    const named = (inner: Cryptoki): Cryptoki => ({
      call: (fn, args) => {
        if (fn !== "C_LoginUser") return inner.call(fn, args);
        const { username: _name, ...rest } = args as Args<"C_LoginUser">;
        return inner.call("C_Login", rest) as never;
      },
    });
    const token = await b.open({}, named);
    const login = () =>
      token.withSession({}, ({ handle: session }) =>
        token.module.call("C_LoginUser", {
          session,
          userType: 1,
          pin: Buffer.from("wrong"),
          username: Buffer.from("me"),
        }),
      );
    await expect(login()).rejects.toThrow("CKR_PIN_INCORRECT");
    await expect(login()).rejects.toThrow("not sent: guarded refused this user PIN");
    expect(b.sent).toEqual(["wrong"]);
  });

  test("closing the last session logs out: C_SetPIN after it is the user's, not the SO's who was logged in", async () => {
    const b = await bench();
    const { module, slot } = await b.open();
    const flags = 6;
    const { session: so } = await module.call("C_OpenSession", { slot, flags });
    await module.call("C_Login", { session: so, userType: 0, pin: Buffer.from("so-pin-1") });
    await module.call("C_CloseAllSessions", { slot });
    const { session } = await module.call("C_OpenSession", { slot, flags });
    const change = async () =>
      module.call("C_SetPIN", { session, oldPin: Buffer.from("wrong"), newPin: Buffer.from("other") });
    await expect(change()).rejects.toThrow("the user PIN of guarded");
    await expect(change()).rejects.toThrow("not sent: guarded refused this user PIN");
  });

  test("a refusal names token and role; where PINs lock it says that tries are limited, else not", async () => {
    const b = await bench();
    const hintsOf = (options: Partial<GuardOptions>, pin: string) =>
      b
        .open(options)
        .then((token) => token.withSession({ user: "SO", pin: Pin.from(pin) }, () => undefined))
        .catch((error: CryptokiError) => [error.message, ...error.hints]);
    expect(await hintsOf({ attended }, "wrong-1")).toEqual([
      "C_Login: CKR_PIN_INCORRECT, the PIN does not match: the SO PIN of guarded",
      expect.stringContaining("tries are limited"),
    ]);
    expect(await hintsOf({ habits: () => ({ ...SHOWS, neverLocks: true }) }, "wrong-2")).toEqual([
      "C_Login: CKR_PIN_INCORRECT, the PIN does not match: the SO PIN of guarded",
      "correct the PIN where it comes from",
    ]);
  });

  test("the command that it names can be pasted into a shell, whatever the token is called", async () => {
    const b = await bench();
    const relabel = (label: string) => (inner: Cryptoki) => ({
      async call(fn: never, args: never) {
        const reply = (await inner.call(fn, args)) as object;
        return (
          "info" in reply && "serialNumber" in (reply.info as object)
            ? { ...reply, info: { ...(reply.info as object), label } }
            : reply
        ) as never;
      },
    });
    const said = async (label: string) => {
      const login = async () => {
        const token = await b.open({ attended }, relabel(label) as never);
        await token.withSession({ user: "USER", pin: Pin.from("wrong") }, () => undefined);
      };
      await login().catch(() => undefined);
      return login().catch((error: CryptokiError) => error.hints.at(-1)?.split("keywright pin forget ")[1]);
    };
    expect(await said("it's mine; rm")).toBe("'it'\\''s mine; rm'");
    expect(await said("-f")).toMatch(/^'pkcs11:.*token=-f'$/);
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
