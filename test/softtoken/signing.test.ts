import { constants, createHash, createPublicKey, verify as nodeVerify } from "node:crypto";
import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { derOid } from "../../src/codec/der.ts";
import { CURVES, type CurveName } from "../../src/spec/curves.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { CKG_MGF } from "../../src/spec/objects.ts";
import { attribute, bytes, generatePair, mechanism, type Rig, rig, rvOf, sign, verify } from "./rig.ts";

const DATA = utf8("the quick brown fox");

async function publicKey(r: Rig, key: number | bigint) {
  const info = (await attribute(r, key, "CKA_PUBLIC_KEY_INFO")) as Uint8Array;
  return createPublicKey({ key: Buffer.from(info), format: "der", type: "spki" });
}

function params(curve: CurveName): Uint8Array {
  return derOid(CURVES[curve].oid);
}

const WEIERSTRASS = [
  "secp256r1",
  "secp384r1",
  "secp521r1",
  "secp256k1",
  "brainpoolP256r1",
  "brainpoolP320r1",
  "brainpoolP384r1",
  "brainpoolP512r1",
] as const;

test.each(WEIERSTRASS)("ECDSA on %s over a given digest is not hashed again", async (curve) => {
  const r = await rig();
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: params(curve) });
  const digest = createHash("sha256").update(DATA).digest();
  const signature = await sign(r, pair.privateKey, mechanism("CKM_ECDSA"), digest);
  expect(signature.length).toBe(2 * CURVES[curve].bytes);
  const key = await publicKey(r, pair.publicKey);
  expect(nodeVerify("sha256", DATA, { key, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
  expect(await verify(r, pair.publicKey, mechanism("CKM_ECDSA"), digest, signature)).toBe("CKR_OK");
  expect(await verify(r, pair.publicKey, mechanism("CKM_ECDSA_SHA256"), DATA, signature)).toBe("CKR_OK");
  signature[5]! ^= 1;
  expect(await verify(r, pair.publicKey, mechanism("CKM_ECDSA"), digest, signature)).toBe("CKR_SIGNATURE_INVALID");
});

test.each([
  ["CKM_ECDSA_SHA1", "sha1"],
  ["CKM_ECDSA_SHA224", "sha224"],
  ["CKM_ECDSA_SHA256", "sha256"],
  ["CKM_ECDSA_SHA384", "sha384"],
  ["CKM_ECDSA_SHA512", "sha512"],
  ["CKM_ECDSA_SHA3_224", "sha3-224"],
  ["CKM_ECDSA_SHA3_256", "sha3-256"],
  ["CKM_ECDSA_SHA3_384", "sha3-384"],
  ["CKM_ECDSA_SHA3_512", "sha3-512"],
] as const)("%s signs in one part and in several, and OpenSSL agrees", async (name, hash) => {
  const r = await rig();
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: params("secp256r1") });
  const key = await publicKey(r, pair.publicKey);
  const once = await sign(r, pair.privateKey, mechanism(name), DATA);
  expect(nodeVerify(hash, DATA, { key, dsaEncoding: "ieee-p1363" }, once)).toBe(true);
  const { app, session } = r;
  await app.call("C_SignInit", { session, mechanism: mechanism(name), key: pair.privateKey });
  await app.call("C_SignUpdate", { session, data: DATA.subarray(0, 5) });
  await app.call("C_SignUpdate", { session, data: DATA.subarray(5) });
  const parts = bytes((await app.call("C_SignFinal", { session, room: 64 })).output);
  expect(nodeVerify(hash, DATA, { key, dsaEncoding: "ieee-p1363" }, parts)).toBe(true);
  await app.call("C_VerifyInit", { session, mechanism: mechanism(name), key: pair.publicKey });
  await app.call("C_VerifyUpdate", { session, data: DATA });
  await app.call("C_VerifyFinal", { session, signature: once });
});

test("a thousand ECDSA signatures, with short r and s among them, have their fixed length and verify", async () => {
  const r = await rig();
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: params("secp521r1") });
  for (let i = 0; i < 1000; i += 1) {
    const digest = createHash("sha512").update(String(i)).digest();
    const signature = await sign(r, pair.privateKey, mechanism("CKM_ECDSA"), digest);
    expect(signature.length).toBe(132);
    if (i % 10 === 0) {
      expect(await verify(r, pair.publicKey, mechanism("CKM_ECDSA"), digest, signature)).toBe("CKR_OK");
    }
  }
});

test.each(["Ed25519", "Ed448"] as const)("EdDSA with %s agrees with OpenSSL", async (curve) => {
  const r = await rig();
  const pair = await generatePair(r, "CKM_EC_EDWARDS_KEY_PAIR_GEN", { CKA_EC_PARAMS: params(curve) });
  const signature = await sign(r, pair.privateKey, mechanism("CKM_EDDSA"), DATA);
  expect(nodeVerify(null, DATA, await publicKey(r, pair.publicKey), signature)).toBe(true);
  expect(await verify(r, pair.publicKey, mechanism("CKM_EDDSA"), DATA, signature)).toBe("CKR_OK");
  signature[0]! ^= 1;
  expect(await verify(r, pair.publicKey, mechanism("CKM_EDDSA"), DATA, signature)).toBe("CKR_SIGNATURE_INVALID");
});

test("RSA signs with PKCS#1, raw and PSS, and OpenSSL agrees", async () => {
  const r = await rig();
  const pair = await generatePair(r, "CKM_RSA_PKCS_KEY_PAIR_GEN", { CKA_MODULUS_BITS: 2048 });
  const key = await publicKey(r, pair.publicKey);
  const pkcs1 = await sign(r, pair.privateKey, mechanism("CKM_SHA256_RSA_PKCS"), DATA);
  expect(nodeVerify("sha256", DATA, key, pkcs1)).toBe(true);
  expect(await verify(r, pair.publicKey, mechanism("CKM_SHA256_RSA_PKCS"), DATA, pkcs1)).toBe("CKR_OK");

  const digest = createHash("sha256").update(DATA).digest();
  const info = Buffer.concat([Buffer.from("3031300d060960864801650304020105000420", "hex"), digest]);
  expect(Buffer.from(await sign(r, pair.privateKey, mechanism("CKM_RSA_PKCS"), info))).toEqual(Buffer.from(pkcs1));
  expect(await verify(r, pair.publicKey, mechanism("CKM_RSA_PKCS"), info, pkcs1)).toBe("CKR_OK");

  const padded = Buffer.concat([
    Buffer.from([0, 1]),
    Buffer.alloc(256 - 3 - info.length, 0xff),
    Buffer.from([0]),
    info,
  ]);
  expect(Buffer.from(await sign(r, pair.privateKey, mechanism("CKM_RSA_X_509"), padded))).toEqual(Buffer.from(pkcs1));
  expect(await verify(r, pair.publicKey, mechanism("CKM_RSA_X_509"), padded, pkcs1)).toBe("CKR_OK");
  const other = Buffer.from(padded);
  other[255]! ^= 1;
  expect(await verify(r, pair.publicKey, mechanism("CKM_RSA_X_509"), other, pkcs1)).toBe("CKR_SIGNATURE_INVALID");

  // A mask hash of its own: node can only say the same hash twice, so libcrypto verifies that one.
  const same = { hashAlg: CKM.CKM_SHA256[0], mgf: CKG_MGF.CKG_MGF1_SHA256[0], saltLength: 32 };
  const pss = await sign(r, pair.privateKey, mechanism("CKM_RSA_PKCS_PSS", same), digest);
  const options = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
  expect(nodeVerify("sha256", DATA, options, pss)).toBe(true);
  expect(await verify(r, pair.publicKey, mechanism("CKM_SHA256_RSA_PKCS_PSS", same), DATA, pss)).toBe("CKR_OK");
  const mixed = { ...same, mgf: CKG_MGF.CKG_MGF1_SHA1[0] };
  const pssMixed = await sign(r, pair.privateKey, mechanism("CKM_SHA256_RSA_PKCS_PSS", mixed), DATA);
  expect(await verify(r, pair.publicKey, mechanism("CKM_RSA_PKCS_PSS", mixed), digest, pssMixed)).toBe("CKR_OK");
  expect(await verify(r, pair.publicKey, mechanism("CKM_RSA_PKCS_PSS", same), digest, pssMixed)).toBe(
    "CKR_SIGNATURE_INVALID",
  );
  for (const wrong of [
    { hashAlg: CKM.CKM_SHA384[0] },
    { saltLength: -1 },
    { saltLength: 1.5 },
    { saltLength: 2 ** 40 },
  ]) {
    const how = mechanism("CKM_SHA256_RSA_PKCS_PSS", { ...same, ...wrong });
    expect(await rvOf(() => sign(r, pair.privateKey, how, DATA))).toBe("CKR_MECHANISM_PARAM_INVALID");
  }
});

test("a length query and a small buffer leave the signature operation active", async () => {
  const r = await rig();
  const { app, session } = r;
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: params("secp256r1") });
  await app.call("C_SignInit", { session, mechanism: mechanism("CKM_ECDSA_SHA256"), key: pair.privateKey });
  expect((await app.call("C_Sign", { session, data: DATA, room: null })).output).toEqual({ needed: 64 });
  expect((await app.call("C_Sign", { session, data: DATA, room: 63 })).output).toEqual({ needed: 64 });
  expect(bytes((await app.call("C_Sign", { session, data: DATA, room: 64 })).output).length).toBe(64);
  expect(await rvOf(() => app.call("C_Sign", { session, data: DATA, room: 64 }))).toBe("CKR_OPERATION_NOT_INITIALIZED");
});

test("an error ends the operation, an Init too many does not", async () => {
  const r = await rig();
  const { app, session } = r;
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: params("secp256r1") });
  const init = { session, mechanism: mechanism("CKM_ECDSA"), key: pair.privateKey };
  await app.call("C_SignInit", init);
  expect(await rvOf(() => app.call("C_SignInit", init))).toBe("CKR_OPERATION_ACTIVE");
  expect(await rvOf(() => app.call("C_SignUpdate", { session, data: DATA }))).toBe("CKR_FUNCTION_NOT_SUPPORTED");
  expect(await rvOf(() => app.call("C_SignUpdate", { session, data: DATA }))).toBe("CKR_OPERATION_NOT_INITIALIZED");
  await app.call("C_SignInit", init);
  await app.call("C_SignInit", { ...init, mechanism: null });
  expect(await rvOf(() => app.call("C_Sign", { session, data: DATA, room: 64 }))).toBe("CKR_OPERATION_NOT_INITIALIZED");
});

test("everything but logins and slow generations answers at once", async () => {
  const { app, session } = await rig();
  const made = app.call("C_GenerateKeyPair", {
    session,
    mechanism: mechanism("CKM_EC_KEY_PAIR_GEN"),
    publicTemplate: [{ type: 0x180, value: params("secp256r1") }],
    privateTemplate: [{ type: 0x1, value: true }],
  });
  expect(made).not.toBeInstanceOf(Promise);
  expect(app.call("C_GenerateRandom", { session, length: 16 })).not.toBeInstanceOf(Promise);
});

test("a signature given beforehand is verified over data in one part and in several (3.2)", async () => {
  const r = await rig();
  const { app, session } = r;
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: params("secp256r1") });
  const how = mechanism("CKM_ECDSA_SHA256");
  const signature = await sign(r, pair.privateKey, how, DATA);
  const init = { session, mechanism: how, key: pair.publicKey, signature };
  await app.call("C_VerifySignatureInit", init);
  await app.call("C_VerifySignature", { session, data: DATA });
  await app.call("C_VerifySignatureInit", init);
  await app.call("C_VerifySignatureUpdate", { session, data: DATA.subarray(0, 4) });
  await app.call("C_VerifySignatureUpdate", { session, data: DATA.subarray(4) });
  await app.call("C_VerifySignatureFinal", { session });
  await app.call("C_VerifySignatureInit", init);
  expect(await rvOf(() => app.call("C_VerifySignature", { session, data: utf8("other") }))).toBe(
    "CKR_SIGNATURE_INVALID",
  );
  expect(await rvOf(() => app.call("C_VerifySignatureFinal", { session }))).toBe("CKR_OPERATION_NOT_INITIALIZED");
});

test("C_SessionCancel ends what its flags name", async () => {
  const r = await rig();
  const { app, session } = r;
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: params("secp256r1") });
  await app.call("C_SignInit", { session, mechanism: mechanism("CKM_ECDSA"), key: pair.privateKey });
  await app.call("C_DigestInit", { session, mechanism: mechanism("CKM_SHA256") });
  const given = { session, mechanism: mechanism("CKM_ECDSA"), key: pair.publicKey, signature: new Uint8Array(64) };
  await app.call("C_VerifySignatureInit", given);
  await app.call("C_SessionCancel", { session, flags: 0x800 | 0x2000 });
  expect(await rvOf(() => app.call("C_VerifySignatureInit", given))).toBe("CKR_OK");
  expect(await rvOf(() => app.call("C_Sign", { session, data: DATA, room: 64 }))).toBe("CKR_OPERATION_NOT_INITIALIZED");
  expect(bytes((await app.call("C_Digest", { session, data: DATA, room: 32 })).output).length).toBe(32);
});
