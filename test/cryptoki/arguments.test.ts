/** What the library's doors refuse, and how: callers without types are told as clearly as those with. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  aesGcm,
  ecdsa,
  ecParams,
  formatUri,
  KeywrightError,
  type Module,
  makeCertificate,
  makeRequest,
  mechanism,
  openModule,
  Pin,
  parseName,
  parseUri,
  rsaPss,
  type Session,
  type Token,
  type TokenObject,
} from "../../src/index.ts";

/** Any function, as a caller without types sees it. */
type Untyped = (...values: unknown[]) => unknown;

const folder = mkdtempSync(join(tmpdir(), "keywright-doors-"));
const options = { state: folder, store: join(folder, "doors.db"), scryptCost: 10 };
let module: Module;
let token: Token;

beforeAll(async () => {
  module = await openModule("softtoken", options);
  const blank = (await module.tokens()).find((one) => !one.has("CKF_TOKEN_INITIALIZED"))!;
  await blank.initialise("doors", Pin.from("so-12345"));
  token = await module.token({ label: "doors" });
  await token.initialisePin(Pin.from("so-12345"), Pin.from("user-1234"));
});
afterAll(async () => {
  await module.close();
  rmSync(folder, { recursive: true, force: true });
});

async function refusal(call: () => unknown): Promise<KeywrightError> {
  const error = await Promise.resolve()
    .then(call)
    .then(
      () => "nothing was thrown",
      (thrown: unknown) => thrown,
    );
  expect(error).toBeInstanceOf(KeywrightError);
  return error as KeywrightError;
}

describe("functions", () => {
  const bytes = Uint8Array.of(1);
  test.each<[call: () => unknown, message: string]>([
    [() => (openModule as Untyped)(), "openModule: module is missing, not a text"],
    [() => (openModule as Untyped)("softtoken", "x"), "openModule: options is a string, not an object with state, "],
    [
      () => (openModule as Untyped)("softtoken", { placment: "thread" }),
      'openModule: options has "placment", which is',
    ],
    [
      () => (openModule as Untyped)("softtoken", { isolation: "loop" }),
      'openModule: options has "isolation" that is a string, not one of direct, thread, process',
    ],
    [() => (openModule as Untyped)("softtoken", { scryptCost: 99 }), "is 99, not a whole number from 10 to 20"],
    [() => (Pin.from as Untyped)(1234), "Pin.from: pin is a number, not a text or bytes"],
    [() => (parseUri as Untyped)(5), "parseUri: uri is a number, not a text"],
    [() => (formatUri as Untyped)({ path: {} }), 'formatUri: uri has no "query"'],
    [() => (parseName as Untyped)(undefined), "parseName: name is missing, not a text"],
    [() => (ecdsa as Untyped)("sha256"), 'ecdsa: "sha256" is no digest'],
    [() => (rsaPss as Untyped)("SHA-256", { saltlength: 3 }), 'rsaPss: options has "saltlength", which is none of'],
    [() => (aesGcm as Untyped)("iv"), "aesGcm: iv is a string, not bytes (Uint8Array)"],
    [() => (mechanism as Untyped)("CKM_NOPE"), "CKM_NOPE is not a known mechanism"],
    [() => ecParams("P-265"), 'ecParams: "P-265" is not a known curve'],
    [() => (ecParams as Untyped)(256), "ecParams: curve is a number, not a text"],
    [
      () => (makeCertificate as Untyped)({ subject: "CN=x" }),
      'makeCertificate: contents has "subject" that is a string',
    ],
    [() => (makeRequest as Untyped)([], bytes, []), "makeRequest: signer is missing, not a signer"],
  ])("%s", async (call, message) => {
    expect((await refusal(call)).message).toContain(message);
  });
});

describe("options of another kind of module are refused, not passed over", () => {
  test.each([
    { isolation: "process" },
    { timeoutMs: 5 },
    { reserved: "x" },
    { environment: { A: "b" } },
    { label: "x" },
  ] as const)("softtoken %j", async (option) => {
    const [name] = Object.keys(option);
    const { message } = await refusal(() => openModule("softtoken", { ...options, ...option }));
    expect(message).toBe(
      `openModule: options has "${name}", which is for libraries, and softtoken is the built-in token`,
    );
  });
  test.each([{ scryptCost: 10 }, { soRecovery: true }])("a library %j", async (option) => {
    const { message } = await refusal(() => openModule("libc.so.6", { state: folder, ...option }));
    expect(message).toContain("which is for the built-in token (softtoken), and libc.so.6 is a library");
  });
});

describe("a module and its token", () => {
  test.each<[call: (module: Module, token: Token) => unknown, message: string]>([
    [(m) => (m.token as Untyped).call(m), "module.token: wanted is missing, not an object with label, serial"],
    [(m) => m.token("doors"), "module.token: wanted is a string that is no URI (pkcs11:…), not an object with label,"],
    [(m) => m.token("pkcs11:token=a;token=b"), "has token twice"],
    [(m) => (m.token as Untyped).call(m, { lable: "doors" }), 'module.token: wanted has "lable", which is none of'],
    [
      (m) => (m.token as Untyped).call(m, { slot: "1" }),
      'wanted has "slot" that is a string, not a whole number from 0',
    ],
    [(m) => m.token({}), "module.token: nothing says which token is meant"],
    [(m) => m.token({ label: undefined } as never), "module.token: nothing says which token is meant"],
    [(m) => m.token(parseUri("pkcs11:object=www")), "module.token: nothing says which token is meant"],
    [(_, t) => (t.withSession as Untyped).call(t, () => 1), "token.withSession: options is a function, not an object"],
    [(_, t) => (t.withSession as Untyped).call(t, {}), "token.withSession: use is missing, not a function"],
    [(_, t) => (t.withSession as Untyped).call(t, { user: "user" }, () => 1), "not one of USER, SO"],
    [(_, t) => (t.withSession as Untyped).call(t, { pin: "1234" }, () => 1), 'has "pin" that is a string, not a PIN'],
    [(_, t) => (t.withSession as Untyped).call(t, { wirte: true }, () => 1), 'has "wirte", which is none of user, pin'],
    [(_, t) => (t.initialise as Untyped).call(t, 5), "token.initialise: label is a number, not a text"],
    [(_, t) => (t.changePin as Untyped).call(t, "CKU_SO"), "token.changePin: role is a string, not one of USER, SO"],
  ])("%s", async (call, message) => {
    expect((await refusal(() => call(module, token))).message).toContain(message);
  });

  test("an empty match lists the tokens that there are", async () => {
    expect((await refusal(() => module.token({}))).hints.join()).toContain("token=doors");
    expect(await module.onlyToken()).toBe(token);
  });

  test("a PIN that is given wrongly is not repeated", async () => {
    for (const given of [{ pin: "87654321" }, { pin: 87654321 }]) {
      const error = await refusal(() => token.withSession(given as never, () => 1));
      expect(JSON.stringify([error.message, error.hints])).not.toContain("87654321");
    }
  });
});

describe("a session", () => {
  const data = Uint8Array.of(1, 2, 3);
  test.each<[call: (session: Session, object: TokenObject) => unknown, message: string]>([
    [(s) => s.random(-1), "session.random: length is -1, not a whole number from 1 to 1048576"],
    [(s) => s.random(1e12), "session.random: length is 1000000000000, not a whole number"],
    [(s) => s.random(1.5), "session.random: length is 1.5, not a whole number"],
    [(s) => (s.random as Untyped).call(s), "session.random: length is missing, not a whole number"],
    [(s) => (s.find as Untyped).call(s, "x"), "session.find: match is a string, not attributes like"],
    [(s) => (s.findOne as Untyped).call(s), "session.findOne: match is missing, not attributes like"],
    [(s) => s.findOne({ CKA_LABLE: "x" } as never), "CKA_LABLE is not a known attribute"],
    [(s) => s.findOne({ CKA_ID: "01" } as never), "CKA_ID is a string, not bytes (Uint8Array)"],
    [(s) => s.findOne({ CKA_CLASS: "CKO_KEY" } as never), "CKO_KEY is not a known class"],
    [(s) => s.findOne({ CKA_CLASS: true } as never), "CKA_CLASS is a boolean, not a name or a number"],
    [(s) => s.create({ CKA_TOKEN: 1 } as never), "CKA_TOKEN is a number, not true or false"],
    [(s) => s.create({ CKA_VALUE_LEN: "16" } as never), "CKA_VALUE_LEN is a string, not a whole number"],
    [(s) => s.create({ CKA_VALUE_LEN: -16 }), "CKA_VALUE_LEN is -16, not a whole number from 0"],
    [(s) => s.create({ CKA_LABEL: 5 } as never), "CKA_LABEL is a number, not a text or bytes (Uint8Array)"],
    [(s) => s.create([] as never), "session.create: attributes is an array, not attributes like"],
    [(s, key) => s.sign(key, "CKM_ECDSA" as never, data), "session.sign: mechanism is a string, not a mechanism like"],
    [(s, key) => s.sign(key, ecdsa(), "text" as never), "session.sign: data is a string, not bytes (Uint8Array)"],
    [(s) => s.sign(5 as never, ecdsa(), data), "session.sign: key is a number, not an object of the token"],
    [(s, key) => s.verify(key, ecdsa(), data, "sig" as never), "session.verify: signature is a string, not bytes"],
    [(s, key) => s.encrypt(key, ecdsa(), "x" as never), "session.encrypt: data is a string, not bytes"],
    [(s, key) => s.unwrap(key, ecdsa(), data, undefined as never), "session.unwrap: attributes is missing"],
    [(s) => s.digest(mechanism("CKM_SHA256"), 1 as never), "session.digest: data is a number"],
    [(s) => s.digest(mechanism("CKM_SHA256"), ["x"] as never), "a piece of the data is a string, not bytes"],
    [(_, key) => key.get("CKA_NOPE" as never), "CKA_NOPE is not a known attribute"],
    [(_, key) => key.set("x" as never), "attributes are an object like"],
  ])("%s", async (call, message) => {
    await token.withSession({ write: true }, async (session) => {
      const object = await session.create({ CKA_CLASS: "CKO_DATA", CKA_TOKEN: false, CKA_LABEL: "x" });
      expect((await refusal(() => call(session, object))).message).toContain(message);
    });
  });
});
