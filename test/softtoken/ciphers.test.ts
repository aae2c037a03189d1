import { createCipheriv, createHash, createHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { concat, utf8 } from "../../src/codec/bytes.ts";
import type { Mechanism } from "../../src/cryptoki/port.ts";
import type { MechanismName } from "../../src/spec/mechanisms.ts";
import { bytes, generatePair, mechanism, type Rig, rig, rvOf, sign, template, verify } from "./rig.ts";

type Key = number | bigint;
const KEY = new Uint8Array(Buffer.from("000102030405060708090a0b0c0d0e0f", "hex"));
const IV = new Uint8Array(16).fill(7);
const USES = { CKA_ENCRYPT: true, CKA_DECRYPT: true, CKA_SIGN: true, CKA_VERIFY: true } as const;

async function secret(r: Rig, type: number, value: Uint8Array): Promise<Key> {
  const values = { CKA_CLASS: 4, CKA_KEY_TYPE: type, CKA_VALUE: value, ...USES };
  return (await r.app.call("C_CreateObject", { session: r.session, template: template(values) })).object;
}

const aes = (r: Rig, value: Uint8Array = KEY) => secret(r, 0x1f, value);

async function encrypt(r: Rig, key: Key, how: Mechanism, data: Uint8Array): Promise<Uint8Array> {
  await r.app.call("C_EncryptInit", { session: r.session, mechanism: how, key });
  return bytes((await r.app.call("C_Encrypt", { session: r.session, data, room: 10_000 })).output);
}

async function decrypt(r: Rig, key: Key, how: Mechanism, data: Uint8Array): Promise<Uint8Array> {
  await r.app.call("C_DecryptInit", { session: r.session, mechanism: how, key });
  return bytes((await r.app.call("C_Decrypt", { session: r.session, data, room: 10_000 })).output);
}

/** In parts, each asked for its length first: what is told must be what comes. */
async function inParts(r: Rig, what: "Encrypt" | "Decrypt", key: Key, how: Mechanism, parts: readonly Uint8Array[]) {
  const { app, session } = r;
  await app.call(`C_${what}Init`, { session, mechanism: how, key });
  const out: Uint8Array[] = [];
  for (const data of parts) {
    const { output } = await app.call(`C_${what}Update`, { session, data, room: null });
    const needed = "needed" in output ? output.needed : -1;
    const part = bytes((await app.call(`C_${what}Update`, { session, data, room: needed })).output);
    expect(part.length).toBe(needed);
    out.push(part);
  }
  const { output } = await app.call(`C_${what}Final`, { session, room: null });
  const room = "needed" in output ? output.needed : -1;
  out.push(bytes((await app.call(`C_${what}Final`, { session, room })).output));
  return concat(...out);
}

const gcm = { iv: IV.subarray(0, 12), ivBits: 96, aad: utf8("header"), tagBits: 128 };

/** Each mechanism, and whether its data must come in whole blocks. */
const MECHANISMS: readonly (readonly [Mechanism, boolean])[] = [
  [mechanism("CKM_AES_ECB"), true],
  [mechanism("CKM_AES_CBC", IV), true],
  [mechanism("CKM_AES_CBC_PAD", IV), false],
  [mechanism("CKM_AES_CTR", { counterBits: 128, counterBlock: IV }), false],
  [mechanism("CKM_AES_GCM", gcm), false],
];

test.each(MECHANISMS)("mechanism %o gives the same in one part and in several, and back", async (how, isBlocks) => {
  const r = await rig();
  const key = await aes(r);
  const parts = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(parts, parts, async (one, two) => {
      const whole = concat(...one);
      const data = isBlocks ? whole.subarray(0, whole.length - (whole.length % 16)) : whole;
      const cut = one.map((_, i) =>
        data.subarray(concat(...one.slice(0, i)).length, concat(...one.slice(0, i + 1)).length),
      );
      const sealed = await encrypt(r, key, how, data);
      expect(await inParts(r, "Encrypt", key, how, cut)).toEqual(sealed);
      expect(Buffer.from(await decrypt(r, key, how, sealed))).toEqual(Buffer.from(data));
      const at = [0, ...two.map((part) => Math.min(part.length, sealed.length)), sealed.length].sort((a, b) => a - b);
      const pieces = at.slice(1).map((end, i) => sealed.subarray(at[i], end));
      expect(await inParts(r, "Decrypt", key, how, pieces)).toEqual(new Uint8Array(data));
    }),
    { numRuns: 40 },
  );
});

test("CCM takes the length of its data beforehand, in one part and in several", async () => {
  const r = await rig();
  const key = await aes(r);
  const data = utf8("twenty bytes of text");
  const how = mechanism("CKM_AES_CCM", { dataLength: 20, nonce: IV.subarray(0, 12), aad: utf8("h"), macLength: 16 });
  const sealed = await encrypt(r, key, how, data);
  expect(sealed.length).toBe(36);
  expect(await inParts(r, "Encrypt", key, how, [data.subarray(0, 3), data.subarray(3)])).toEqual(sealed);
  expect(Buffer.from(await decrypt(r, key, how, sealed)).toString()).toBe("twenty bytes of text");
  expect(await rvOf(() => encrypt(r, key, how, utf8("short")))).toBe("CKR_DATA_LEN_RANGE");
  sealed[0]! ^= 1;
  expect(await rvOf(() => decrypt(r, key, how, sealed))).toBe("CKR_AEAD_DECRYPT_FAILED");
});

test("what is not authentic, not padded or not whole blocks is refused", async () => {
  const r = await rig();
  const key = await aes(r);
  const how = mechanism("CKM_AES_GCM", gcm);
  const sealed = await encrypt(r, key, how, utf8("text"));
  sealed[1]! ^= 1;
  expect(await rvOf(() => decrypt(r, key, how, sealed))).toBe("CKR_AEAD_DECRYPT_FAILED");
  expect(await rvOf(() => decrypt(r, key, how, new Uint8Array(3)))).toBe("CKR_ENCRYPTED_DATA_LEN_RANGE");
  const pad = mechanism("CKM_AES_CBC_PAD", IV);
  expect(await rvOf(() => decrypt(r, key, pad, new Uint8Array(16)))).toBe("CKR_ENCRYPTED_DATA_INVALID");
  expect(await rvOf(() => decrypt(r, key, pad, new Uint8Array(15)))).toBe("CKR_ENCRYPTED_DATA_LEN_RANGE");
  expect(await rvOf(() => encrypt(r, key, mechanism("CKM_AES_CBC", IV), new Uint8Array(15)))).toBe(
    "CKR_DATA_LEN_RANGE",
  );
  expect(await rvOf(() => encrypt(r, key, mechanism("CKM_AES_CBC", IV.subarray(1)), new Uint8Array(16)))).toBe(
    "CKR_MECHANISM_PARAM_INVALID",
  );
  const narrow = mechanism("CKM_AES_CTR", { counterBits: 4, counterBlock: new Uint8Array(16).fill(0xff) });
  expect(await rvOf(() => encrypt(r, key, narrow, new Uint8Array(16)))).toBe("CKR_OK");
  expect(await rvOf(() => encrypt(r, key, narrow, new Uint8Array(17)))).toBe("CKR_DATA_LEN_RANGE");
});

test("an exact room is enough for a padded plaintext, and a smaller one leaves the operation active", async () => {
  const r = await rig();
  const { app, session } = r;
  const key = await aes(r);
  const how = mechanism("CKM_AES_CBC_PAD", IV);
  const sealed = await encrypt(r, key, how, utf8("five!"));
  await app.call("C_DecryptInit", { session, mechanism: how, key });
  expect((await app.call("C_Decrypt", { session, data: sealed, room: null })).output).toEqual({ needed: 16 });
  expect((await app.call("C_Decrypt", { session, data: sealed, room: 4 })).output).toEqual({ needed: 5 });
  expect(bytes((await app.call("C_Decrypt", { session, data: sealed, room: 5 })).output)).toEqual(utf8("five!"));
  await app.call("C_DecryptInit", { session, mechanism: how, key });
  await app.call("C_DecryptUpdate", { session, data: sealed, room: 16 });
  expect((await app.call("C_DecryptFinal", { session, room: 4 })).output).toEqual({ needed: 5 });
  expect(bytes((await app.call("C_DecryptFinal", { session, room: 5 })).output)).toEqual(utf8("five!"));
});

test.each([
  ["CKM_SHA_1_HMAC", "sha1"],
  ["CKM_SHA256_HMAC", "sha256"],
  ["CKM_SHA512_HMAC", "sha512"],
  ["CKM_SHA3_384_HMAC", "sha3-384"],
  ["CKM_SHA512_256_HMAC", "sha512-256"],
] as const)("%s is HMAC", async (name, hash) => {
  const r = await rig();
  const key = await secret(r, 0x10, utf8("a key"));
  const right = createHmac(hash, "a key").update("data").digest();
  const mac = await sign(r, key, mechanism(name), utf8("data"));
  expect(Buffer.from(mac)).toEqual(right);
  expect(await verify(r, key, mechanism(name), utf8("data"), mac)).toBe("CKR_OK");
  expect(await verify(r, key, mechanism(name), utf8("date"), mac)).toBe("CKR_SIGNATURE_INVALID");
  expect(await verify(r, key, mechanism(name), utf8("data"), mac.subarray(1))).toBe("CKR_SIGNATURE_LEN_RANGE");
});

test("RSA encrypts and decrypts: PKCS#1, raw, OAEP with a mask hash and a label of its own", async () => {
  const r = await rig();
  const uses = [{ CKA_MODULUS_BITS: 2048, CKA_ENCRYPT: true }, { CKA_DECRYPT: true }] as const;
  const pair = await generatePair(r, "CKM_RSA_PKCS_KEY_PAIR_GEN", ...uses);
  const oaep = { hashAlg: 0x250, mgf: 1, source: 1, sourceData: utf8("label") };
  for (const how of [mechanism("CKM_RSA_PKCS"), mechanism("CKM_RSA_PKCS_OAEP", oaep)]) {
    const sealed = await encrypt(r, pair.publicKey, how, utf8("text"));
    expect(Buffer.from(await decrypt(r, pair.privateKey, how, sealed)).toString()).toBe("text");
  }
  const raw = mechanism("CKM_RSA_X_509");
  const sealed = await encrypt(r, pair.publicKey, raw, Uint8Array.of(5));
  expect((await decrypt(r, pair.privateKey, raw, sealed)).subarray(255)).toEqual(Uint8Array.of(5));
  const how = mechanism("CKM_RSA_PKCS_OAEP", oaep);
  const other = mechanism("CKM_RSA_PKCS_OAEP", { ...oaep, sourceData: utf8("other") });
  const labelled = await encrypt(r, pair.publicKey, how, utf8("text"));
  expect(await rvOf(() => decrypt(r, pair.privateKey, other, labelled))).toBe("CKR_ENCRYPTED_DATA_INVALID");
  expect(await rvOf(() => encrypt(r, pair.publicKey, how, new Uint8Array(191)))).toBe("CKR_DATA_LEN_RANGE");
});

test("RSA signs with recovery, and recovers", async () => {
  const r = await rig();
  const { app, session } = r;
  const uses = [{ CKA_MODULUS_BITS: 2048, CKA_VERIFY_RECOVER: true }, { CKA_SIGN_RECOVER: true }] as const;
  const pair = await generatePair(r, "CKM_RSA_PKCS_KEY_PAIR_GEN", ...uses);
  const how = mechanism("CKM_RSA_PKCS");
  await app.call("C_SignRecoverInit", { session, mechanism: how, key: pair.privateKey });
  const signature = bytes((await app.call("C_SignRecover", { session, data: utf8("text"), room: 256 })).output);
  await app.call("C_VerifyRecoverInit", { session, mechanism: how, key: pair.publicKey });
  expect((await app.call("C_VerifyRecover", { session, signature, room: 3 })).output).toEqual({ needed: 4 });
  expect(bytes((await app.call("C_VerifyRecover", { session, signature, room: 4 })).output)).toEqual(utf8("text"));
  signature[9]! ^= 1;
  await app.call("C_VerifyRecoverInit", { session, mechanism: how, key: pair.publicKey });
  expect(await rvOf(() => app.call("C_VerifyRecover", { session, signature, room: 256 }))).toBe(
    "CKR_SIGNATURE_INVALID",
  );
});

test("the four dual functions do both, or when asked for a length neither", async () => {
  const r = await rig();
  const { app, session } = r;
  const key = await aes(r);
  const mac = await secret(r, 0x10, utf8("mac key"));
  const how = mechanism("CKM_AES_CBC_PAD", IV);
  const data = randomBytes(40);
  const cipher = createCipheriv("aes-128-cbc", KEY, IV);
  const sealed = new Uint8Array(Buffer.concat([cipher.update(data), cipher.final()]));
  const digest = createHash("sha256").update(data).digest();
  const hmac = createHmac("sha256", "mac key").update(data).digest();

  await app.call("C_DigestInit", { session, mechanism: mechanism("CKM_SHA256") });
  await app.call("C_EncryptInit", { session, mechanism: how, key });
  expect((await app.call("C_DigestEncryptUpdate", { session, data, room: 31 })).output).toEqual({ needed: 32 });
  const one = bytes((await app.call("C_DigestEncryptUpdate", { session, data, room: 32 })).output);
  const last = bytes((await app.call("C_EncryptFinal", { session, room: 16 })).output);
  expect(concat(one, last)).toEqual(sealed);
  expect(Buffer.from(bytes((await app.call("C_DigestFinal", { session, room: 32 })).output))).toEqual(digest);

  await app.call("C_SignInit", { session, mechanism: mechanism("CKM_SHA256_HMAC"), key: mac });
  await app.call("C_EncryptInit", { session, mechanism: how, key });
  await app.call("C_SignEncryptUpdate", { session, data, room: 32 });
  await app.call("C_EncryptFinal", { session, room: 16 });
  expect(Buffer.from(bytes((await app.call("C_SignFinal", { session, room: 32 })).output))).toEqual(hmac);

  // CBC without padding, so that all of the plaintext comes with the update.
  const plain = mechanism("CKM_AES_CBC", IV);
  const blocks = sealed.subarray(0, 32);
  await app.call("C_DecryptInit", { session, mechanism: plain, key });
  await app.call("C_DigestInit", { session, mechanism: mechanism("CKM_SHA256") });
  await app.call("C_DecryptDigestUpdate", { session, data: blocks, room: 32 });
  await app.call("C_DecryptFinal", { session, room: 0 });
  const half = createHash("sha256").update(data.subarray(0, 32)).digest();
  expect(Buffer.from(bytes((await app.call("C_DigestFinal", { session, room: 32 })).output))).toEqual(half);

  await app.call("C_DecryptInit", { session, mechanism: plain, key });
  await app.call("C_VerifyInit", { session, mechanism: mechanism("CKM_SHA256_HMAC"), key: mac });
  await app.call("C_DecryptVerifyUpdate", { session, data: blocks, room: 32 });
  await app.call("C_DecryptFinal", { session, room: 0 });
  const signature = createHmac("sha256", "mac key").update(data.subarray(0, 32)).digest();
  await app.call("C_VerifyFinal", { session, signature });
  expect(await rvOf(() => app.call("C_DigestEncryptUpdate", { session, data, room: 32 }))).toBe(
    "CKR_OPERATION_NOT_INITIALIZED",
  );
});

test("a key's value is digested with the data around it", async () => {
  const r = await rig();
  const { app, session } = r;
  const key = await secret(r, 0x10, utf8("key"));
  await app.call("C_DigestInit", { session, mechanism: mechanism("CKM_SHA256") });
  await app.call("C_DigestUpdate", { session, data: utf8("a") });
  await app.call("C_DigestKey", { session, key });
  const digest = bytes((await app.call("C_DigestFinal", { session, room: 32 })).output);
  expect(Buffer.from(digest)).toEqual(createHash("sha256").update("akey").digest());
});

test("the state of an operation cannot be saved", async () => {
  const { app, session } = await rig();
  expect(await rvOf(() => app.call("C_GetOperationState", { session, room: null }))).toBe("CKR_STATE_UNSAVEABLE");
});

const NONE = new Uint8Array(0);

test.each<[string, MechanismName, unknown]>([
  ["no initialisation vector", "CKM_AES_CBC", undefined],
  ["null", "CKM_AES_CBC", null],
  ["a number for bytes", "CKM_AES_KEY_WRAP", 5],
  ["null for bytes", "CKM_AES_GCM", { iv: null, ivBits: 0, aad: NONE, tagBits: 128 }],
  ["text for a number", "CKM_AES_GCM", { iv: IV.subarray(0, 12), ivBits: 96, aad: NONE, tagBits: "128" }],
  ["a field too few", "CKM_AES_GCM", { iv: IV.subarray(0, 12) }],
  ["bytes for a structure", "CKM_AES_GCM", new Uint8Array(48)],
  ["a negative length", "CKM_AES_CCM", { dataLength: -1, nonce: IV.subarray(0, 12), aad: NONE, macLength: 16 }],
  ["a short counter block", "CKM_AES_CTR", { counterBits: 128, counterBlock: IV.subarray(0, 3) }],
])("a parameter with %s is refused (%s)", async (_what, name, parameter) => {
  const r = await rig();
  const how = { ...mechanism(name), parameter } as Mechanism;
  const init = { session: r.session, mechanism: how, key: await aes(r) };
  expect(await rvOf(() => r.app.call("C_EncryptInit", init))).toBe("CKR_MECHANISM_PARAM_INVALID");
});

test.each([-1, 0, 1.5, 33, Number.NaN])("a MAC of %d bytes is refused", async (length) => {
  const r = await rig();
  const key = await secret(r, 0x10, KEY);
  const init = { session: r.session, mechanism: mechanism("CKM_SHA256_HMAC_GENERAL", length), key };
  expect(await rvOf(() => r.app.call("C_SignInit", init))).toBe("CKR_MECHANISM_PARAM_INVALID");
});

test.each([-1, 1.5, 2 ** 33])("%d random bytes are not given", async (length) => {
  const { app, session } = await rig();
  expect(await rvOf(() => app.call("C_GenerateRandom", { session, length }))).toBe("CKR_ARGUMENTS_BAD");
});
