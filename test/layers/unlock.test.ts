/** PINs stay home: the layer over the guard and the built-in token. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { Args, Awaitable, Cryptoki, FunctionName } from "../../src/cryptoki/port.ts";
import { type UnlockOptions, unlock } from "../../src/layers/unlock.ts";
import { guardPins } from "../../src/pins/guard.ts";
import { PinMemory } from "../../src/pins/memory.ts";
import { softToken } from "../../src/softtoken/index.ts";
import { CKA } from "../../src/spec/attributes.ts";
import { TOKEN_FLAGS } from "../../src/spec/flags.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { CKS, CKU } from "../../src/spec/objects.ts";

const USER = CKU.CKU_USER[0];
const SO = CKU.CKU_SO[0];
const AGAIN = CKU.CKU_CONTEXT_SPECIFIC[0];
const PAD = TOKEN_FLAGS.CKF_PROTECTED_AUTHENTICATION_PATH[0];

/** What a client is answered: nothing bad, or the name of the return value. */
async function answer(call: () => Awaitable<unknown>): Promise<string> {
  try {
    await call();
    return "CKR_OK";
  } catch (error) {
    if (!(error instanceof CryptokiError)) throw error;
    return error.message.split(" ")[1]!.replace(/[,:]$/, "");
  }
}

describe("a token that is unlocked here", () => {
  let folder: string;
  /** PINs that reached the token. */
  let sent: string[];
  /** What the server's log got. */
  let log: string[];
  let asked: { slot: number | bigint; label: string }[];
  let given: Pin[];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "keywright-unlock-"));
    sent = [];
    log = [];
    asked = [];
    given = [];
    const module = await Module.open(softToken({ store: join(folder, "store.db"), scryptCost: 10, pinTries: 5 }));
    const [token] = await module.tokens();
    await token!.initialise("home", Pin.from("so-pin-1"));
    await token!.initialisePin(Pin.from("so-pin-1"), Pin.from("right"));
    await module.close();
  });

  /** What a client has: an application, initialised, with a session. */
  async function client(pin: UnlockOptions["pin"], over: (inner: Cryptoki) => Cryptoki = (inner) => inner) {
    const provider = softToken({ store: join(folder, "store.db"), scryptCost: 10 });
    onTestFinished(async () => {
      await provider.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const token = await provider.open();
    const watched: Cryptoki = {
      call: (fn, args) => {
        for (const [name, value] of Object.entries(args)) {
          if (/pin$/i.test(name)) sent.push(Buffer.from((value as Uint8Array | null) ?? []).toString());
        }
        return token.call(fn, args);
      },
    };
    const guarded = guardPins(watched, {
      memory: new PinMemory(join(folder, "state")),
      attended: () => false,
      reach: "test",
      habits: () => ({ neverLocks: false, showsFailures: true }),
    });
    const options: UnlockOptions = {
      pin: async (slot, info) => {
        asked.push({ slot, label: info.label });
        const one = await pin(slot, info);
        given.push(one);
        return one;
      },
      log: (error) => log.push(error.message),
    };
    const p11 = over(unlock(options)(guarded));
    await p11.call("C_Initialize", { args: {} });
    const { slots } = await p11.call("C_GetSlotList", { tokenPresent: true });
    const slot = slots[0]!;
    const { session } = await p11.call("C_OpenSession", { slot, flags: 6 });
    const login = (userType: number, text: string | null) =>
      answer(() => p11.call("C_Login", { session, userType, pin: text === null ? null : utf8(text) }));
    const state = async () => (await p11.call("C_GetSessionInfo", { session })).info.state;
    return { p11, slot, session, login, state };
  }

  const right = () => Pin.from("right");

  test("asks for its PIN itself, and is otherwise what it was", async () => {
    const { p11, slot } = await client(right);
    const flags = Number((await p11.call("C_GetTokenInfo", { slot })).info.flags);
    expect(flags & PAD).toBe(PAD);
    expect(flags & TOKEN_FLAGS.CKF_LOGIN_REQUIRED[0]).not.toBe(0);
  });

  test("logs a program in that sends no PIN, with the PIN of its slot, which is wiped then", async () => {
    const { slot, login, state } = await client(right);
    expect(await login(USER, null)).toBe("CKR_OK");
    expect(await state()).toBe(CKS.CKS_RW_USER_FUNCTIONS[0]);
    expect(asked).toEqual([{ slot, label: "home" }]);
    expect(given.map((pin) => pin.wiped)).toEqual([true]);
    expect(log).toEqual([]);
  });

  test("whoever is in is told so, and nobody is asked again; nor are two asked for who come at once", async () => {
    const { p11, slot, session, login } = await client(right);
    const { session: other } = await p11.call("C_OpenSession", { slot, flags: 4 });
    const both = [session, other].map((of) =>
      answer(() => p11.call("C_Login", { session: of, userType: USER, pin: null })),
    );
    expect(await Promise.all(both)).toEqual(["CKR_OK", "CKR_USER_ALREADY_LOGGED_IN"]);
    expect(await login(USER, null)).toBe("CKR_USER_ALREADY_LOGGED_IN");
    expect(asked).toHaveLength(1);
    await p11.call("C_Logout", { session });
    expect(await login(USER, null)).toBe("CKR_OK");
  });

  test("a PIN that a program sends reaches nothing, not even when it is right, and is wiped", async () => {
    const { p11, session, state } = await client(right);
    for (const text of ["wrong", "right"]) {
      const pin = utf8(text);
      expect(await answer(() => p11.call("C_Login", { session, userType: USER, pin }))).toBe("CKR_FUNCTION_REJECTED");
      expect(pin).toEqual(new Uint8Array(5));
    }
    expect(await state()).toBe(CKS.CKS_RW_PUBLIC_SESSION[0]);
    expect([sent, asked]).toEqual([[], []]);
    expect(log).toHaveLength(2);
    expect(log.join()).toContain("C_Login: CKR_FUNCTION_REJECTED");
    expect(log.join()).not.toMatch(/right|wrong/);
  });

  test("refuses whatever is the SO's or another role's, and whatever sets a PIN, with or without one", async () => {
    const { p11, slot, session, login } = await client(right);
    expect(await login(USER, null)).toBe("CKR_OK");
    sent.length = 0;
    const refused = <F extends FunctionName>(fn: F, args: Args<F>) => answer(() => p11.call(fn, args));
    for (const pin of [null, utf8("so-pin-1")]) {
      const answers = [
        await refused("C_Login", { session, userType: SO, pin }),
        await refused("C_Login", { session, userType: 0x8000_0001, pin }),
        await refused("C_LoginUser", { session, userType: USER, pin, username: utf8("me") }),
        await refused("C_SetPIN", { session, oldPin: pin, newPin: pin }),
        await refused("C_InitPIN", { session, pin }),
        await refused("C_InitToken", { slot, pin, label: utf8("mine now") }),
      ];
      expect(answers).toEqual(Array(6).fill("CKR_FUNCTION_REJECTED"));
      if (pin !== null) expect(pin).toEqual(new Uint8Array(8));
    }
    expect(sent).toEqual([]);
    expect((await p11.call("C_GetTokenInfo", { slot })).info.label).toBe("home");
  });

  test("a key that wants the PIN for each use gets it from here", async () => {
    const { p11, session, login } = await client(right);
    await login(USER, null);
    const { privateKey: key } = await p11.call("C_GenerateKeyPair", {
      session,
      mechanism: { type: CKM.CKM_EC_KEY_PAIR_GEN[0] },
      publicTemplate: [
        { type: CKA.CKA_EC_PARAMS[0], value: Uint8Array.from(Buffer.from("06082a8648ce3d030107", "hex")) },
      ],
      privateTemplate: [
        { type: CKA.CKA_SIGN[0], value: true },
        { type: CKA.CKA_PRIVATE[0], value: true },
        { type: CKA.CKA_ALWAYS_AUTHENTICATE[0], value: true },
      ],
    });
    await p11.call("C_SignInit", { session, mechanism: { type: CKM.CKM_ECDSA_SHA256[0] }, key });
    const sign = () => p11.call("C_Sign", { session, data: utf8("data"), room: 64 });
    expect(await answer(sign)).toBe("CKR_USER_NOT_LOGGED_IN");
    await p11.call("C_SignInit", { session, mechanism: { type: CKM.CKM_ECDSA_SHA256[0] }, key });
    expect(await login(AGAIN, "right")).toBe("CKR_FUNCTION_REJECTED");
    expect(await login(AGAIN, null)).toBe("CKR_OK");
    expect(await answer(sign)).toBe("CKR_OK");
    expect(asked).toHaveLength(2);
  });

  test("a PIN that the token refused is not sent again; the program hears that it is wrong, the log why", async () => {
    const { login } = await client(() => Pin.from("wrong"));
    expect(await login(USER, null)).toBe("CKR_PIN_INCORRECT");
    expect(await login(USER, null)).toBe("CKR_PIN_INCORRECT");
    expect(sent).toEqual(["wrong"]);
    expect(log[0]).toContain("the user PIN of home");
    expect(log[1]).toContain("not sent: home refused this user PIN");
  });

  test("where there is no PIN the login is cancelled, and the log says why", async () => {
    const { login } = await client(() => {
      throw new Error("no PIN for home: /etc/pin: it does not exist");
    });
    expect(await login(USER, null)).toBe("CKR_FUNCTION_CANCELED");
    expect(log).toEqual(["no PIN for home: /etc/pin: it does not exist"]);
  });

  test("a session that there is not is refused before a PIN is read", async () => {
    const { p11 } = await client(right);
    const login = () => p11.call("C_Login", { session: 4711, userType: USER, pin: null });
    expect(await answer(login)).toBe("CKR_SESSION_HANDLE_INVALID");
    await expect(Promise.resolve().then(login)).rejects.toThrow("C_Login: ");
    expect(asked).toEqual([]);
  });

  test("a token that has a keypad of its own is left to it", async () => {
    // To the outer layer the inner one is such a token.
    const { login } = await client(
      right,
      unlock({ pin: () => Promise.reject(new Error("not asked")), log: (error) => log.push(error.message) }),
    );
    expect(await login(USER, "right")).toBe("CKR_FUNCTION_REJECTED");
    expect(await login(USER, null)).toBe("CKR_OK");
    expect(sent).toEqual(["right"]);
  });
});
