import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { derOid } from "../../src/codec/der.ts";
import { attribute, generatePair, mechanism, PIN, type Rig, rig, rvOf, sign, template, verify } from "./rig.ts";

const P256 = derOid("1.2.840.10045.3.1.7");
type Values = Parameters<typeof template>[0];

async function create(r: Rig, values: Values): Promise<number | bigint> {
  return (await r.app.call("C_CreateObject", { session: r.session, template: template(values) })).object;
}

const _DATA: Values = { CKA_CLASS: 0, CKA_LABEL: "note", CKA_APPLICATION: "test", CKA_VALUE: "text" };
const _SECRET: Values = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "0123456789abcdef" };
const _CERTIFICATE: Values = {
  CKA_CLASS: 1,
  CKA_CERTIFICATE_TYPE: 0,
  CKA_SUBJECT: "subject",
  CKA_ISSUER: "issuer",
  CKA_SERIAL_NUMBER: "serial",
  CKA_VALUE: "certificate",
};

test("a generated key pair knows where it came from", async () => {
  const r = await rig();
  const pair = await generatePair(
    r,
    "CKM_EC_KEY_PAIR_GEN",
    { CKA_EC_PARAMS: P256, CKA_TOKEN: true },
    { CKA_TOKEN: true },
  );
  for (const key of [pair.publicKey, pair.privateKey]) {
    expect(await attribute(r, key, "CKA_LOCAL")).toBe(true);
    expect(await attribute(r, key, "CKA_KEY_GEN_MECHANISM")).toBe(0x1040);
    expect(await attribute(r, key, "CKA_UNIQUE_ID")).toHaveLength(32);
  }
  expect(await attribute(r, pair.privateKey, "CKA_ALWAYS_SENSITIVE")).toBe(true);
  expect(await attribute(r, pair.privateKey, "CKA_NEVER_EXTRACTABLE")).toBe(true);
  expect(await attribute(r, pair.privateKey, "CKA_PUBLIC_KEY_INFO")).toEqual(
    await attribute(r, pair.publicKey, "CKA_PUBLIC_KEY_INFO"),
  );
});

test("a key may be kept to some mechanisms and some uses", async () => {
  const r = await rig();
  const pair = await generatePair(
    r,
    "CKM_EC_KEY_PAIR_GEN",
    { CKA_EC_PARAMS: P256 },
    { CKA_ALLOWED_MECHANISMS: [0x1044] },
  );
  const init = (name: "CKM_ECDSA" | "CKM_ECDSA_SHA256" | "CKM_SHA256_RSA_PKCS" | "CKM_SHA256", key: number | bigint) =>
    rvOf(() => r.app.call("C_SignInit", { session: r.session, mechanism: mechanism(name), key }));
  expect(await init("CKM_ECDSA", pair.privateKey)).toBe("CKR_MECHANISM_INVALID");
  expect(await init("CKM_SHA256", pair.privateKey)).toBe("CKR_MECHANISM_INVALID");
  expect(await init("CKM_SHA256_RSA_PKCS", pair.privateKey)).toBe("CKR_KEY_TYPE_INCONSISTENT");
  expect(await init("CKM_ECDSA_SHA256", pair.publicKey)).toBe("CKR_KEY_TYPE_INCONSISTENT");
  expect(await init("CKM_ECDSA_SHA256", 12345)).toBe("CKR_KEY_HANDLE_INVALID");
  expect(await init("CKM_ECDSA_SHA256", pair.privateKey)).toBe("CKR_OK");
  const mute = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: P256 }, { CKA_SIGN: false });
  await r.app.call("C_SignInit", { session: r.session, mechanism: null, key: 0 });
  expect(await init("CKM_ECDSA_SHA256", mute.privateKey)).toBe("CKR_KEY_FUNCTION_NOT_PERMITTED");
});

test("a key that always authenticates asks for the PIN for every operation", async () => {
  const r = await rig();
  const { app, session } = r;
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: P256 }, { CKA_ALWAYS_AUTHENTICATE: true });
  const init = () => app.call("C_SignInit", { session, mechanism: mechanism("CKM_ECDSA"), key: pair.privateKey });
  const run = () => rvOf(() => app.call("C_Sign", { session, data: new Uint8Array(32), room: 64 }));
  await init();
  expect(await run()).toBe("CKR_USER_NOT_LOGGED_IN");
  await init();
  expect(await rvOf(() => app.call("C_Login", { session, userType: 2, pin: utf8("wrong") }))).toBe("CKR_PIN_INCORRECT");
  await app.call("C_Login", { session, userType: 2, pin: PIN });
  expect(await run()).toBe("CKR_OK");
  await init();
  expect(await run()).toBe("CKR_USER_NOT_LOGGED_IN");
});

test("a key that always authenticates is not used where the PIN cannot be given", async () => {
  const r = await rig();
  const { app, session } = r;
  const always = { CKA_ALWAYS_AUTHENTICATE: true };
  const ec = await generatePair(
    r,
    "CKM_EC_KEY_PAIR_GEN",
    { CKA_EC_PARAMS: P256 },
    { ...always, CKA_SIGN: false, CKA_DERIVE: true },
  );
  const publicData = (await attribute(r, ec.publicKey, "CKA_EC_POINT")) as Uint8Array;
  const how = mechanism("CKM_ECDH1_DERIVE", { kdf: 1, sharedData: new Uint8Array(0), publicData });
  const derive = { session, mechanism: how, baseKey: ec.privateKey, template: [] };
  expect(await rvOf(() => app.call("C_DeriveKey", derive))).toBe("CKR_USER_NOT_LOGGED_IN");
  const uses = { CKA_SIGN: false, CKA_UNWRAP: true };
  const rsa = await generatePair(r, "CKM_RSA_PKCS_KEY_PAIR_GEN", { CKA_MODULUS_BITS: 2048 }, { ...always, ...uses });
  const values = template({ CKA_CLASS: 4, CKA_KEY_TYPE: 0x10 });
  const unwrap = { session, mechanism: mechanism("CKM_RSA_PKCS"), unwrappingKey: rsa.privateKey, template: values };
  expect(await rvOf(() => app.call("C_UnwrapKey", { ...unwrap, wrapped: new Uint8Array(256) }))).toBe(
    "CKR_USER_NOT_LOGGED_IN",
  );
  const open = { ...always, CKA_PRIVATE: false };
  expect(await rvOf(() => generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: P256 }, open))).toBe(
    "CKR_TEMPLATE_INCONSISTENT",
  );
});

test("a PIN that is locked while re-authenticating ends the login", async () => {
  const r = await rig({ pinTries: 1 });
  const { app, session } = r;
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: P256 }, { CKA_ALWAYS_AUTHENTICATE: true });
  await app.call("C_SignInit", { session, mechanism: mechanism("CKM_ECDSA"), key: pair.privateKey });
  const login = (pin: Uint8Array) => rvOf(() => app.call("C_Login", { session, userType: 2, pin }));
  expect(await login(utf8("wrong"))).toBe("CKR_PIN_INCORRECT");
  expect(await login(PIN)).toBe("CKR_PIN_LOCKED");
  expect((await app.call("C_GetSessionInfo", { session })).info.state).toBe(2);
});

test("CKA_PUBLIC_KEY_INFO of a private key may be given, and must be its own", async () => {
  const r = await rig();
  const values = { CKA_CLASS: 3, CKA_KEY_TYPE: 3, CKA_EC_PARAMS: P256 };
  const one = await create(r, { ...values, CKA_VALUE: new Uint8Array(32).fill(1) });
  const info = (await attribute(r, one, "CKA_PUBLIC_KEY_INFO")) as Uint8Array;
  const again = { ...values, CKA_PUBLIC_KEY_INFO: info };
  expect(await rvOf(() => create(r, { ...again, CKA_VALUE: new Uint8Array(32).fill(1) }))).toBe("CKR_OK");
  expect(await rvOf(() => create(r, { ...again, CKA_VALUE: new Uint8Array(32).fill(2) }))).toBe(
    "CKR_ATTRIBUTE_VALUE_INVALID",
  );
  const set = (value: Uint8Array) => ({ ...r, object: one, template: template({ CKA_PUBLIC_KEY_INFO: value }) });
  expect(await rvOf(() => r.app.call("C_SetAttributeValue", set(info)))).toBe("CKR_OK");
  expect(await rvOf(() => r.app.call("C_SetAttributeValue", set(info.subarray(1))))).toBe(
    "CKR_ATTRIBUTE_VALUE_INVALID",
  );
});

test("keys come in by their parts: RSA without its CRT parts, EC with a bare or a wrapped point", async () => {
  const r = await rig();
  const b64 = (text: string | undefined) => new Uint8Array(Buffer.from(text!, "base64url"));
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
  const privateKey = await create(r, {
    CKA_CLASS: 3,
    CKA_KEY_TYPE: 0,
    CKA_TOKEN: true,
    CKA_SIGN: true,
    CKA_MODULUS: b64(rsa.n),
    CKA_PUBLIC_EXPONENT: b64(rsa.e),
    CKA_PRIVATE_EXPONENT: b64(rsa.d),
    CKA_PRIME_1: b64(rsa.p),
    CKA_PRIME_2: b64(rsa.q),
    CKA_SENSITIVE: false,
    CKA_EXTRACTABLE: true,
  });
  expect(await attribute(r, privateKey, "CKA_COEFFICIENT")).toEqual(b64(rsa.qi));
  expect(await attribute(r, privateKey, "CKA_EXPONENT_1")).toEqual(b64(rsa.dp));
  const publicKey = await create(r, {
    CKA_CLASS: 2,
    CKA_KEY_TYPE: 0,
    CKA_VERIFY: true,
    CKA_MODULUS: b64(rsa.n),
    CKA_PUBLIC_EXPONENT: b64(rsa.e),
  });
  const signature = await sign(r, privateKey, mechanism("CKM_SHA256_RSA_PKCS"), utf8("x"));
  expect(await verify(r, publicKey, mechanism("CKM_SHA256_RSA_PKCS"), utf8("x"), signature)).toBe("CKR_OK");

  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
  const point = Buffer.concat([Buffer.from([4]), b64(ec.x), b64(ec.y)]);
  const shared = { CKA_KEY_TYPE: 3, CKA_EC_PARAMS: P256 };
  const own = await create(r, { ...shared, CKA_CLASS: 3, CKA_SIGN: true, CKA_VALUE: b64(ec.d) });
  const ecdsa = await sign(r, own, mechanism("CKM_ECDSA_SHA256"), utf8("x"));
  for (const head of [[], [0x04, 0x41], [0x03, 0x42, 0x00]]) {
    const wrapped = new Uint8Array(Buffer.concat([Buffer.from(head), point]));
    const key = await create(r, { ...shared, CKA_CLASS: 2, CKA_VERIFY: true, CKA_EC_POINT: wrapped });
    expect(await attribute(r, key, "CKA_EC_POINT")).toEqual(new Uint8Array([4, 0x41, ...point]));
    expect(await verify(r, key, mechanism("CKM_ECDSA_SHA256"), utf8("x"), ecdsa)).toBe("CKR_OK");
  }
  point[10]! ^= 1;
  const bad = { ...shared, CKA_CLASS: 2, CKA_EC_POINT: new Uint8Array(point) };
  expect(await rvOf(() => create(r, bad))).toBe("CKR_ATTRIBUTE_VALUE_INVALID");
});

test("a check value is that of the standard, given by the caller or left out", async () => {
  const r = await rig();
  const aes = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x1f, CKA_VALUE: new Uint8Array(16) };
  // AES-128 of a zero block under a zero key begins 66 e9 4b.
  const right = Uint8Array.of(0x66, 0xe9, 0x4b);
  expect(await attribute(r, await create(r, aes), "CKA_CHECK_VALUE")).toEqual(right);
  expect(await attribute(r, await create(r, { ...aes, CKA_CHECK_VALUE: right }), "CKA_CHECK_VALUE")).toEqual(right);
  const none = await create(r, { ...aes, CKA_CHECK_VALUE: new Uint8Array(0) });
  expect(await attribute(r, none, "CKA_CHECK_VALUE")).toEqual(new Uint8Array(0));
});

test("a template is read before the call returns, though the key takes its time", async () => {
  const r = await rig();
  const label = utf8("mine");
  const reply = r.app.call("C_GenerateKeyPair", {
    session: r.session,
    mechanism: mechanism("CKM_RSA_PKCS_KEY_PAIR_GEN"),
    publicTemplate: [...template({ CKA_MODULUS_BITS: 2048 }), { type: 3, value: label }],
    privateTemplate: [],
  });
  label.fill(0);
  expect(await attribute(r, (await reply).publicKey, "CKA_LABEL")).toEqual(utf8("mine"));
});
