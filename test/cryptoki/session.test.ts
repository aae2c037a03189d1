/** The comfortable API, on the built-in token and on SoftHSM2. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ecParams } from "../../src/cryptoki/curves.ts";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { ecdsa, mechanism, rsaOaep, rsaPkcs1, rsaPss } from "../../src/cryptoki/mechanisms.ts";
import { Module, TokenNotFoundError } from "../../src/cryptoki/module.ts";
import { Pin, PinMissingError } from "../../src/cryptoki/pin.ts";
import type { Args, Cryptoki, FunctionName } from "../../src/cryptoki/port.ts";
import { ObjectNotFoundError, type TokenObject } from "../../src/cryptoki/session/objects.ts";
import type { Session } from "../../src/cryptoki/session/session.ts";
import type { Token } from "../../src/cryptoki/token.ts";
import { formatUri, parseUri } from "../../src/cryptoki/uri.ts";
import { subjects } from "./subjects.ts";

const P256 = ecParams("P-256");
const pin = () => Pin.from("1234-user");
const data = new TextEncoder().encode("what is signed");

describe.each(subjects)("the API on $name", ({ open }) => {
  const calls: { fn: FunctionName; args: Args<FunctionName> }[] = [];
  let module: Module;
  let token: Token;
  let remove: () => void;
  let onCall: (fn: FunctionName) => Promise<void> | undefined = () => undefined;

  beforeAll(async () => {
    const opened = open();
    remove = opened.remove;
    const watch = (inner: Cryptoki): Cryptoki => ({
      call: (fn, args) => {
        calls.push({ fn, args });
        const before = onCall(fn);
        return before === undefined ? inner.call(fn, args) : before.then(() => inner.call(fn, args));
      },
    });
    module = await Module.open({
      open: async () => watch(await opened.provider.open()),
      close: () => opened.provider.close(),
    });
    const blank = (await module.tokens()).find((one) => !one.has("CKF_TOKEN_INITIALIZED"))!;
    await blank.initialise("api", Pin.from("so-12345"));
    token = await module.token({ label: "api" });
    await token.initialisePin(Pin.from("so-12345"), pin());
  });
  afterAll(async () => {
    await module.close();
    remove();
  });

  const user = <T>(use: (session: Session) => Promise<T>, write = true) =>
    token.withSession({ user: "USER", pin: pin(), write }, use);
  const pair = (session: Session, label = "k") =>
    session.generateKeyPair(
      mechanism("CKM_EC_KEY_PAIR_GEN"),
      { CKA_TOKEN: false, CKA_EC_PARAMS: P256, CKA_VERIFY: true, CKA_LABEL: label },
      { CKA_TOKEN: false, CKA_PRIVATE: true, CKA_SENSITIVE: true, CKA_SIGN: true, CKA_LABEL: label },
    );
  const digest = createHash("sha256").update(data).digest();

  test("a token is found by label, serial and URI; a miss and an ambiguity list the candidates", async () => {
    expect(await module.token({ serial: token.info.serialNumber })).toBe(token);
    expect(await module.token(token.uri)).toBe(token);
    expect(await module.token(parseUri(token.uri))).toBe(token);
    expect(await module.onlyToken()).toBe(token);
    const missed = await module.token({ label: "nope" }).catch((error: unknown) => error);
    expect(missed).toBeInstanceOf(TokenNotFoundError);
    expect((missed as TokenNotFoundError).hints.join()).toContain("token=api");
    const several = await module.token({ manufacturer: token.info.manufacturerID }).catch((error: unknown) => error);
    expect((several as TokenNotFoundError).candidates.length).toBeGreaterThan(1);
  });

  test("two sessions at once share one login, and neither logs the other out", async () => {
    calls.length = 0;
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const long = user(async (session) => {
      const { privateKey } = await pair(session);
      await held;
      return session.sign(privateKey, ecdsa(), digest);
    });
    await user((session) => session.random(4));
    letGo();
    expect((await long).length).toBe(64);
    expect(calls.filter(({ fn }) => fn === "C_Login")).toHaveLength(1);
    expect(calls.filter(({ fn }) => fn === "C_Logout")).toHaveLength(1);
  });

  test("who comes while the last one is logging out waits for it, and is logged in", async () => {
    await user(async (session) => {
      await session.create({ CKA_CLASS: "CKO_DATA", CKA_TOKEN: true, CKA_PRIVATE: true, CKA_LABEL: "private" });
    });
    const seen: number[] = [];
    let next: Promise<unknown> | undefined;
    // B comes while A's logout is on its way, as over a thread, a process or a socket.
    onCall = (fn) => {
      if (fn !== "C_Logout" || next !== undefined) return undefined;
      next = user(async (session) => {
        await new Promise((resolve) => setTimeout(resolve, 60));
        let found = 0;
        for await (const _ of session.find({ CKA_LABEL: "private" })) found += 1;
        seen.push(found);
      }, false);
      return new Promise((resolve) => setTimeout(resolve, 30));
    };
    await user((session) => session.random(1));
    await next;
    onCall = () => undefined;
    expect(seen).toEqual([1]);
    await user(async (session) => (await session.findOne({ CKA_LABEL: "private" })).destroy());
  });

  test("who comes when the login is lost, as after a crash of the module, logs in again", async () => {
    await user(async (session) => {
      await session.call("C_Logout", { session: session.handle });
      calls.length = 0;
      await user(async (second) => {
        const { info } = await second.call("C_GetSessionInfo", { session: second.handle });
        expect(info.state).toBe(3);
      });
      expect(calls.filter(({ fn }) => fn === "C_Login")).toHaveLength(1);
    });
    expect(calls.filter(({ fn }) => fn === "C_Logout")).toHaveLength(1);
  });

  test("each brings their own PIN: a wrong one at the same time fails nobody else", async () => {
    const wrong = token.withSession({ user: "USER", pin: Pin.from("wrong") }, () => "in");
    const right = token.withSession({ user: "USER", pin: pin() }, () => "in");
    const ends = await Promise.allSettled([wrong, right]);
    expect(ends).toMatchObject([{ status: "rejected" }, { status: "fulfilled", value: "in" }]);
    expect(String((ends[0] as PromiseRejectedResult).reason)).toContain("CKR_PIN_INCORRECT");
  });

  test("an operation that breaks off leaves nothing active behind", async () => {
    await user(async (session) => {
      const { publicKey, privateKey } = await pair(session);
      async function* broken() {
        yield data;
        throw new Error("the stream broke");
      }
      const sha = mechanism("CKM_SHA256");
      const rsa = await session.generateKeyPair(
        mechanism("CKM_RSA_PKCS_KEY_PAIR_GEN"),
        { CKA_TOKEN: false, CKA_MODULUS_BITS: 2048, CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1), CKA_VERIFY: true },
        { CKA_TOKEN: false, CKA_SIGN: true },
      );
      for (let i = 0; i < 12; i += 1) {
        await expect(session.digest(sha, broken())).rejects.toThrow("the stream broke");
        await expect(session.sign(rsa.privateKey, rsaPkcs1("SHA-256"), broken())).rejects.toThrow("the stream broke");
      }
      const check = session.verify(rsa.publicKey, rsaPkcs1("SHA-256"), broken(), new Uint8Array(256));
      await expect(check).rejects.toThrow("the stream broke");
      expect(Buffer.from(await session.digest(sha, data))).toEqual(digest);
      const signatures = await Promise.all(Array.from({ length: 20 }, () => session.sign(privateKey, ecdsa(), digest)));
      expect(await session.verify(publicKey, ecdsa(), digest, signatures[19]!)).toBe(true);
    });
  });

  test("a key that wants a PIN and gets none fails, and the next key signs", async () => {
    await user(() =>
      token.withSession({ user: "USER" }, async (session) => {
        const wanting = await session.generateKeyPair(
          mechanism("CKM_EC_KEY_PAIR_GEN"),
          { CKA_TOKEN: false, CKA_EC_PARAMS: P256 },
          { CKA_TOKEN: false, CKA_PRIVATE: true, CKA_SIGN: true, CKA_ALWAYS_AUTHENTICATE: true },
        );
        const { privateKey } = await pair(session);
        await expect(session.sign(wanting.privateKey, ecdsa(), digest)).rejects.toThrow(PinMissingError);
        for (let i = 0; i < 3; i += 1) expect(await session.sign(privateKey, ecdsa(), digest)).toHaveLength(64);
      }),
    );
  });

  test("what is still under way when withSession ends is cut off, and every session is closed", async () => {
    calls.length = 0;
    let left: AsyncIterator<TokenObject> | undefined;
    let letGo: () => void = () => undefined;
    const slow = async function* () {
      yield data;
      await new Promise<void>((resolve) => {
        letGo = resolve;
      });
    };
    let digesting: Promise<unknown> | undefined;
    let kept: Session | undefined;
    await user(async (session) => {
      kept = session;
      const match = { CKA_CLASS: "CKO_DATA", CKA_TOKEN: false, CKA_LABEL: "left" } as const;
      await session.create({ ...match, CKA_VALUE: data });
      left = session.find({ CKA_LABEL: "left" })[Symbol.asyncIterator]();
      await left.next();
      digesting = session.digest(mechanism("CKM_SHA256"), slow()).catch((error: unknown) => error);
      await session.random(1);
    });
    const count = (fn: FunctionName) => calls.filter((call) => call.fn === fn).length;
    expect(count("C_CloseSession")).toBe(count("C_OpenSession"));
    letGo();
    expect(String(await digesting)).toContain("CKR_SESSION_CLOSED, the session was closed: withSession has ended");
    await expect(left!.next()).rejects.toThrow("withSession has ended");
    await expect(kept!.random(1)).rejects.toThrow("withSession has ended");
    await expect(kept!.digest(mechanism("CKM_SHA256"), data)).rejects.toThrow("withSession has ended");
    expect(count("C_CloseSession")).toBe(count("C_OpenSession"));
  });

  test("the user and the SO at once is an error, not a surprise", async () => {
    await user(async () => {
      const so = token.withSession({ user: "SO", pin: Pin.from("so-12345") }, () => undefined);
      await expect(so).rejects.toThrow("CKR_USER_ANOTHER_ALREADY_LOGGED_IN");
    });
  });

  test("a failed login leaves nobody logged in, and the next one works", async () => {
    await expect(token.withSession({ user: "USER", pin: Pin.from("wrong") }, () => undefined)).rejects.toThrow(
      "CKR_PIN_INCORRECT",
    );
    await expect(token.withSession({ user: "USER" }, () => undefined)).rejects.toThrow(PinMissingError);
    await user((session) => session.random(1));
  });

  test("signatures at once take sessions of a pool, and every session is closed", async () => {
    calls.length = 0;
    await user(async (session) => {
      const { publicKey, privateKey } = await pair(session);
      const signatures = await Promise.all(Array.from({ length: 20 }, () => session.sign(privateKey, ecdsa(), digest)));
      const checks = await Promise.all(
        signatures.map((signature) => session.verify(publicKey, ecdsa(), digest, signature)),
      );
      expect(checks).toEqual(Array(20).fill(true));
    });
    const count = (fn: FunctionName) => calls.filter((call) => call.fn === fn).length;
    expect(count("C_OpenSession")).toBe(count("C_CloseSession"));
    expect(count("C_OpenSession")).toBeLessThanOrEqual(8);
  });

  test("a wrong signature is false; anything else throws", async () => {
    await user(async (session) => {
      const { publicKey, privateKey } = await pair(session);
      const signature = await session.sign(privateKey, ecdsa(), digest);
      signature[5]! ^= 1;
      expect(await session.verify(publicKey, ecdsa(), digest, signature)).toBe(false);
      await expect(session.verify(privateKey, ecdsa(), digest, signature)).rejects.toThrow(CryptokiError);
    });
  });

  test("finding iterates on a session of its own, so objects may be made meanwhile; leaving early ends the search", async () => {
    await user(async (session) => {
      for (let i = 0; i < 5; i += 1) {
        await session.create({
          CKA_CLASS: "CKO_DATA",
          CKA_TOKEN: false,
          CKA_LABEL: "many",
          CKA_VALUE: Uint8Array.of(i),
        });
      }
      const seen: TokenObject[] = [];
      for await (const object of session.find({ CKA_LABEL: "many" })) {
        seen.push(object);
        await session.create({
          CKA_CLASS: "CKO_DATA",
          CKA_TOKEN: false,
          CKA_LABEL: "more",
          CKA_VALUE: Uint8Array.of(9),
        });
        if (seen.length === 3) break;
      }
      const again: TokenObject[] = [];
      for await (const object of session.find({ CKA_LABEL: "many" })) again.push(object);
      expect(again).toHaveLength(5);
    });
  });

  test("more than one object is an error that lists them; none is another", async () => {
    await user(async (session) => {
      await pair(session, "twin");
      const error = await session.findOne({ CKA_LABEL: "twin" }).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(ObjectNotFoundError);
      expect([...(error as ObjectNotFoundError).candidates].sort()).toEqual([
        expect.stringContaining("object=twin"),
        expect.stringContaining("type=public"),
      ]);
      await expect(session.findOne({ CKA_LABEL: "nothing" })).rejects.toThrow("no object in");
      expect(await (await session.findOne({ CKA_LABEL: "twin", CKA_CLASS: "CKO_PRIVATE_KEY" })).uri()).toContain(
        "type=private",
      );
    });
  });

  test("an object is found by its URI whatever the bytes of its label are", async () => {
    await user(async (session) => {
      const label = Uint8Array.of(0x61, 0xff, 0xfe);
      const made = await session.create({
        CKA_CLASS: "CKO_DATA",
        CKA_TOKEN: false,
        CKA_LABEL: label,
        CKA_VALUE: data,
      });
      const uri = await made.uri();
      expect(uri).toContain("object=%61%FF%FE;");
      const { object } = parseUri(uri).path;
      expect(object).toEqual(label);
      expect(formatUri(parseUri(uri))).toBe(uri);
      expect((await session.findOne({ CKA_LABEL: object })).handle).toBe(made.handle);
    });
  });

  test("attributes come typed; what is secret or not there is absent", async () => {
    await user(async (session) => {
      const { privateKey } = await pair(session, "typed");
      const read = await privateKey.get(
        "CKA_CLASS",
        "CKA_KEY_TYPE",
        "CKA_LABEL",
        "CKA_SIGN",
        "CKA_VALUE",
        "CKA_MODULUS",
      );
      expect(read).toEqual({
        CKA_CLASS: "CKO_PRIVATE_KEY",
        CKA_KEY_TYPE: "CKK_EC",
        CKA_LABEL: "typed",
        CKA_SIGN: true,
      });
      await privateKey.set({ CKA_LABEL: "renamed" });
      expect(await privateKey.get("CKA_LABEL")).toEqual({ CKA_LABEL: "renamed" });
    });
  });

  test("RSA signs whole and in pieces, with PKCS#1 and PSS, and decrypts with OAEP", { timeout: 60_000 }, async () => {
    await user(async (session) => {
      const { publicKey, privateKey } = await session.generateKeyPair(
        mechanism("CKM_RSA_PKCS_KEY_PAIR_GEN"),
        {
          CKA_TOKEN: false,
          CKA_MODULUS_BITS: 2048,
          CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1),
          CKA_VERIFY: true,
          CKA_ENCRYPT: true,
        },
        { CKA_TOKEN: false, CKA_SIGN: true, CKA_DECRYPT: true },
      );
      const pieces = [data.subarray(0, 4), data.subarray(4)];
      const whole = await session.sign(privateKey, rsaPkcs1("SHA-256"), data);
      expect(await session.sign(privateKey, rsaPkcs1("SHA-256"), pieces)).toEqual(whole);
      const pss = await session.sign(privateKey, rsaPss("SHA-256"), pieces);
      expect(await session.verify(publicKey, rsaPss("SHA-256"), data, pss)).toBe(true);
      const sealed = await session.encrypt(publicKey, rsaOaep("SHA-1"), data);
      expect(await session.decrypt(privateKey, rsaOaep("SHA-1"), sealed)).toEqual(data);
    });
  });

  test("digests, random bytes, a mechanism that is there and one that is not", async () => {
    await user(async (session) => {
      expect(Buffer.from(await session.digest(mechanism("CKM_SHA256"), data))).toEqual(digest);
      expect(await session.digest(mechanism("CKM_SHA256"), [data.subarray(0, 3), data.subarray(3)])).toHaveLength(32);
      expect(await session.random(16)).toHaveLength(16);
      expect(await module.canDo(token.slot, ecdsa(), 0x800)).toBe(true);
      expect(await module.canDo(token.slot, 0x8fff_ffff, 0x800)).toBe(false);
      await expect(module.canDo(0x7fff_ffff, ecdsa(), 0x800)).rejects.toThrow("CKR_SLOT_ID_INVALID");
    });
  });

  test("a private key may want the PIN at every use", async () => {
    const made = await user((session) =>
      session
        .generateKeyPair(
          mechanism("CKM_EC_KEY_PAIR_GEN"),
          { CKA_TOKEN: false, CKA_EC_PARAMS: P256 },
          { CKA_TOKEN: false, CKA_PRIVATE: true, CKA_SIGN: true, CKA_ALWAYS_AUTHENTICATE: true },
        )
        .then(({ privateKey }) => session.sign(privateKey, ecdsa(), digest)),
    );
    expect(made).toHaveLength(64);
    expect(calls.some(({ fn, args }) => fn === "C_Login" && (args as Args<"C_Login">).userType === 2)).toBe(true);
  });
});
