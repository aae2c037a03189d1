/** A module in a thread and in a process: the same answers, and what a crash or a hang leaves behind. Needs dist. */
import { afterEach, describe, expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { Module } from "../../src/cryptoki/module.ts";
import type { Cryptoki, Provider } from "../../src/cryptoki/port.ts";
import { type ModuleReference, openProvider, type Placement } from "../../src/modules/index.ts";
import { ModuleError } from "../../src/native/module/index.ts";
import { CKA } from "../../src/spec/attributes.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { hasCompiler, type Odd, odd } from "../support/odd.ts";

describe.skipIf(!hasCompiler)("placement", () => {
  const opened: Provider[] = [];
  const made: Odd[] = [];

  function open(reference: Partial<ModuleReference> = {}): Provider {
    const library = odd();
    made.push(library);
    const provider = openProvider({ module: library.path, ...reference });
    opened.push(provider);
    return provider;
  }

  afterEach(async () => {
    for (const provider of opened.splice(0)) await provider.close();
    for (const library of made.splice(0)) library.remove();
  });

  async function initialised(provider: Provider): Promise<{ p11: Cryptoki; session: number | bigint }> {
    const p11 = await provider.open();
    await p11.call("C_Initialize", { args: {} });
    return { p11, session: (await p11.call("C_OpenSession", { slot: 7, flags: 4 })).session };
  }

  async function failure(answer: unknown): Promise<CryptokiError> {
    const error = await Promise.resolve(answer).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(CryptokiError);
    return error as CryptokiError;
  }

  describe.each(["thread", "process"] as const)("%s", (placement: Placement) => {
    test("environment, pReserved, numbers, bytes and structures arrive as in this process", async () => {
      const provider = open({ placement, environment: { ODD_TEXT: "declared" }, reserved: "a string" });
      const { p11, session } = await initialised(provider);
      expect((await p11.call("C_GetInfo", {})).info).toMatchObject({
        cryptokiVersion: { major: 3, minor: 2 },
        manufacturerID: "declared",
      });
      expect((await p11.call("C_GetTokenInfo", { slot: 7 })).info.label).toBe("a string");
      expect(session).toBe(0xffff_ffff_ffff_fff1n);
      const parameter = { iv: new Uint8Array(12), ivBits: 96, aad: utf8("aad"), tagBits: 128 };
      const mechanism = { type: CKM.CKM_AES_GCM[0], parameter };
      expect(await p11.call("C_EncryptInit", { session, mechanism, key: 1 })).toEqual({
        parameter: { ...parameter, iv: new Uint8Array(12).fill(0xab) },
      });
      await p11.call("C_GetSlotList", { tokenPresent: true });
      expect(await p11.call("C_EncryptUpdate", { session, data: utf8("x"), room: 16 })).toMatchObject({
        parameter: { iv: new Uint8Array(12).fill(0xcd) },
      });
      const requests = [{ type: CKA.CKA_CHECK_VALUE[0] }, { type: CKA.CKA_SENSITIVE[0], room: null }];
      expect((await p11.call("C_GetAttributeValue", { session, object: 1, requests })).values).toEqual({
        rv: 0,
        values: [
          { type: CKA.CKA_CHECK_VALUE[0], value: new Uint8Array(4).fill(0xff) },
          { type: CKA.CKA_SENSITIVE[0], needed: 8 },
        ],
      });
    });

    test("an error keeps its function, return value and detail", async () => {
      const { p11, session } = await initialised(open({ placement }));
      const error = await failure(p11.call("C_Digest", { session, data: utf8("x"), room: 16 }));
      expect(error.function).toBe("C_Digest");
      expect(error.is("CKR_GENERAL_ERROR")).toBe(true);
      expect(error.detail).toBe("the module says 17 bytes where 16 were offered");
      const absent = await failure(p11.call("C_Logout", { session }));
      expect(absent.is("CKR_FUNCTION_NOT_SUPPORTED")).toBe(true);
    });

    test("calls of different sessions run at the same time, those of one session in turn", async () => {
      const { p11, session } = await initialised(open({ placement }));
      const { session: other } = await p11.call("C_OpenSession", { slot: 7, flags: 4 });
      const slow = (of: number | bigint) =>
        p11.call("C_DigestInit", { session: of, mechanism: { type: CKM.CKM_SHA256[0] } });
      await Promise.all([slow(session), slow(other)]); // threads are started
      const order: string[] = [];
      await Promise.all([
        Promise.resolve(slow(session)).then(() => order.push("first")),
        Promise.resolve(slow(session)).then(() => order.push("first again")),
        Promise.resolve(p11.call("C_GetSessionInfo", { session: other })).then(() => order.push("other")),
      ]);
      expect(order).toEqual(["other", "first", "first again"]);
    });

    test("many calls at once are all answered", async () => {
      const { p11 } = await initialised(open({ placement }));
      const answers = await Promise.all(
        Array.from({ length: 600 }, () => p11.call("C_GetSlotList", { tokenPresent: true })),
      );
      expect(answers).toEqual(Array.from({ length: 600 }, () => ({ slots: [7] })));
    });

    test("a library that is no module is the same error as here", async () => {
      const provider = openProvider({ module: "libc.so.6", placement });
      await expect(Promise.resolve(provider.open())).rejects.toThrow(ModuleError);
      await expect(Promise.resolve(provider.open())).rejects.toThrow("not a PKCS#11 module");
    });
  });

  describe("process", () => {
    test("the child does not see what this process has in its environment", async () => {
      process.env.SECRET = "do not pass on";
      const { p11 } = await initialised(open({ placement: "process" }));
      const here = await initialised(open({ placement: "direct" }));
      expect((await here.p11.call("C_GetInfo", {})).info.libraryDescription).toBe("do not pass on");
      expect((await p11.call("C_GetInfo", {})).info.libraryDescription).toBe("");
      delete process.env.SECRET;
    });

    test("a crash fails the call with the signal and loses the sessions; the next call has a fresh process", async () => {
      const provider = open({ placement: "process", reserved: "a string" });
      const { p11, session } = await initialised(provider);
      const crash = await failure(p11.call("C_SeedRandom", { session, seed: utf8("x") }));
      expect(crash.is("CKR_DEVICE_REMOVED")).toBe(true);
      expect(crash.detail).toBe("the module's process ended by SIGSEGV");
      const lost = await failure(p11.call("C_GetSessionInfo", { session }));
      expect(lost.is("CKR_SESSION_HANDLE_INVALID")).toBe(true);
      expect(lost.message).toContain("SIGSEGV");
      const both = [
        p11.call("C_GetSlotList", { tokenPresent: true }),
        p11.call("C_GetTokenInfo", { slot: 7 }),
      ] as const;
      expect((await both[0]).slots).toEqual([7]);
      // It was initialised once, with what the first one was given.
      expect((await both[1]).info).toMatchObject({ label: "a string", serialNumber: "1" });
      const { session: next } = await p11.call("C_OpenSession", { slot: 7, flags: 4 });
      // The module counts from the same number again; the lost session stays lost.
      expect((await failure(p11.call("C_GetSessionInfo", { session }))).message).toContain("SIGSEGV");
      expect((await p11.call("C_GetSessionInfo", { session: next })).info.slotID).toBe(7);
      await p11.call("C_CloseSession", { session: next });
      const fresh = await initialised(provider);
      expect((await fresh.p11.call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([7]);
    });

    test("an application of a crashed module can be finalised and initialised anew", async () => {
      const { p11, session } = await initialised(open({ placement: "process" }));
      await failure(p11.call("C_SeedRandom", { session, seed: utf8("x") }));
      expect(await p11.call("C_Finalize", {})).toEqual({});
      await p11.call("C_Initialize", { args: {} });
      expect((await p11.call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([7]);
    });

    test("a call that hangs is ended after the time limit, and the others with it", async () => {
      const provider = open({ timeoutMs: 1500 });
      const { p11, session } = await initialised(provider);
      const { session: other } = await p11.call("C_OpenSession", { slot: 7, flags: 4 });
      const waiting = failure(p11.call("C_WaitForSlotEvent", { flags: 0 }));
      const started = Date.now();
      const hung = failure(p11.call("C_GenerateRandom", { session, length: 10 }));
      expect((await p11.call("C_GetSessionInfo", { session: other })).info.slotID).toBe(7);
      const reason = "the module did not answer C_GenerateRandom within 1500 ms and was ended";
      expect((await hung).detail).toBe(reason);
      expect((await hung).is("CKR_DEVICE_REMOVED")).toBe(true);
      expect((await waiting).detail).toBe(reason);
      expect(Date.now() - started).toBeLessThan(3000);
      const fresh = await initialised(provider);
      expect((await fresh.p11.call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([7]);
    });

    test("loading that hangs is ended after the time limit", async () => {
      const provider = open({ timeoutMs: 400, environment: { ODD_HANGS: "load" } });
      const error = await Promise.resolve(provider.open()).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(ModuleError);
      expect((error as Error).message).toContain("the module was not loaded within 400 ms and was ended");
    });

    test("a token of a module that crashed is logged in to anew", async () => {
      const module = await Module.open(open({ placement: "process" }));
      const [token] = await module.tokens();
      const before = token!.withSession({}, (session) =>
        session.call("C_SeedRandom", { session: session.handle, seed: utf8("x") }),
      );
      await expect(before).rejects.toThrow("CKR_DEVICE_REMOVED");
      expect(await module.tokens()).toEqual([token]);
      expect(await token!.withSession({}, (session) => session.call("C_GetSlotList", { tokenPresent: true }))).toEqual({
        slots: [7],
      });
      await module.close();
    });

    test("waiting for a slot event is not hanging", async () => {
      const { p11 } = await initialised(open({ timeoutMs: 1500 }));
      const waiting = failure(p11.call("C_WaitForSlotEvent", { flags: 0 }));
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await p11.call("C_Finalize", {});
      expect((await waiting).is("CKR_CRYPTOKI_NOT_INITIALIZED")).toBe(true);
    });

    test("closing ends what waits for an event by finalising", async () => {
      const provider = open({ placement: "process" });
      const { p11 } = await initialised(provider);
      const waiting = failure(p11.call("C_WaitForSlotEvent", { flags: 0 }));
      await p11.call("C_GetSlotList", { tokenPresent: true });
      await provider.close();
      expect((await waiting).is("CKR_CRYPTOKI_NOT_INITIALIZED")).toBe(true);
    });

    test("calls made right after a crash are errors, and nothing else breaks", async () => {
      const { p11, session } = await initialised(open({ placement: "process" }));
      const crash = p11.call("C_SeedRandom", { session, seed: utf8("x") });
      const others = Array.from({ length: 20 }, () => p11.call("C_GetSlotList", { tokenPresent: true }));
      const ends = await Promise.allSettled([crash, ...others]);
      expect(ends[0]!.status).toBe("rejected");
      for (const end of ends) {
        if (end.status === "rejected") expect(end.reason).toBeInstanceOf(CryptokiError);
      }
    });

    test("closing ends a module that hangs", async () => {
      const provider = open({ placement: "process" });
      const { p11, session } = await initialised(provider);
      const hung = failure(p11.call("C_GenerateRandom", { session, length: 10 }));
      const started = Date.now();
      await provider.close();
      expect((await hung).is("CKR_DEVICE_REMOVED")).toBe(true);
      expect(Date.now() - started).toBeLessThan(4000);
    });

    test("a time limit is refused where nothing can be ended", () => {
      expect(() => open({ placement: "thread", timeoutMs: 100 })).toThrow("a time limit needs a process of its own");
    });
  });

  test("the same library with another environment gets a process of its own", async () => {
    const library = odd();
    made.push(library);
    const with_ = (text: string) => {
      const provider = openProvider({ module: library.path, placement: "direct", environment: { ODD_TEXT: text } });
      opened.push(provider);
      return provider;
    };
    const [first, second, third] = [with_("one"), with_("two"), with_("one")];
    const texts = [];
    for (const provider of [first, second, third]) {
      const { p11 } = await initialised(provider);
      texts.push((await p11.call("C_GetInfo", {})).info.manufacturerID);
    }
    expect(texts).toEqual(["one", "two", "one"]);
    const here = await (await first.open()).call("C_Initialize", { args: {} });
    expect(here).toEqual({});
  });
});
