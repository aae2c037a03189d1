import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../src/codec/bytes.ts";
import { derOid } from "../../src/codec/der.ts";
import type { Mechanism } from "../../src/cryptoki/port.ts";
import { deriveKey } from "../../src/native/libcrypto/derivation.ts";
import { opensslVersion } from "../../src/native/libcrypto/library.ts";
import { CURVES, type CurveName } from "../../src/spec/curves.ts";
import type { MechanismName } from "../../src/spec/mechanisms.ts";
import { attribute, bytes, mechanism, type Rig, rig, rvOf, sign, template, verify } from "./rig.ts";

type Values = Parameters<typeof template>[0];
type Key = number | bigint;

function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(join(import.meta.dirname, "../vectors/softtoken", `${name}.json`), "utf8")) as T;
}

const hex = (text: string) => fromHex(text)!;
const OPEN: Values = { CKA_SENSITIVE: false, CKA_EXTRACTABLE: true };

async function create(r: Rig, values: Values): Promise<Key> {
  return (await r.app.call("C_CreateObject", { session: r.session, template: template(values) })).object;
}

interface Encryption {
  readonly source: string;
  readonly mechanism: MechanismName;
  readonly key: string;
  readonly plain: string;
  readonly cipher: string;
  readonly parameter?: string;
  readonly ctr?: string;
  readonly gcm?: { readonly iv: string; readonly aad: string; readonly tagBits: number };
  readonly ccm?: { readonly nonce: string; readonly aad: string; readonly macLength: number };
}

function parameterOf(v: Encryption): Mechanism["parameter"] {
  if (v.parameter !== undefined) return hex(v.parameter);
  if (v.ctr !== undefined) return { counterBits: 128, counterBlock: hex(v.ctr) };
  if (v.gcm !== undefined) return { iv: hex(v.gcm.iv), ivBits: 96, aad: hex(v.gcm.aad), tagBits: v.gcm.tagBits };
  if (v.ccm === undefined) return undefined;
  const { nonce, aad, macLength } = v.ccm;
  return { dataLength: v.plain.length / 2, nonce: hex(nonce), aad: hex(aad), macLength };
}

const ciphers = vectors<{
  encryption: Encryption[];
  mac: { source: string; mechanism: MechanismName; keyType: number; key: string; data: string; mac: string }[];
  digest: { source: string; mechanism: MechanismName; data: string; digest: string }[];
}>("ciphers");

describe("encryption", () => {
  test.each(ciphers.encryption)("$source", async (v) => {
    const r = await rig();
    const { app, session } = r;
    const uses = { CKA_ENCRYPT: true, CKA_DECRYPT: true };
    const key = await create(r, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x1f, CKA_VALUE: hex(v.key), ...uses });
    const how = mechanism(v.mechanism, parameterOf(v));
    await app.call("C_EncryptInit", { session, mechanism: how, key });
    const sealed = bytes((await app.call("C_Encrypt", { session, data: hex(v.plain), room: 1000 })).output);
    expect(toHex(sealed)).toBe(v.cipher);
    await app.call("C_DecryptInit", { session, mechanism: how, key });
    expect(toHex(bytes((await app.call("C_Decrypt", { session, data: sealed, room: 1000 })).output))).toBe(v.plain);
  });
});

describe("MAC", () => {
  test.each(ciphers.mac)("$source, $mechanism of $data", async (v) => {
    const r = await rig();
    const { app, session } = r;
    const key = await create(r, { CKA_CLASS: 4, CKA_KEY_TYPE: v.keyType, CKA_VALUE: hex(v.key), CKA_SIGN: true });
    const how = mechanism(v.mechanism);
    expect(toHex(await sign(r, key, how, hex(v.data)))).toBe(v.mac);
    await app.call("C_SignInit", { session, mechanism: how, key });
    for (const byte of hex(v.data)) await app.call("C_SignUpdate", { session, data: Uint8Array.of(byte) });
    await app.call("C_SignUpdate", { session, data: new Uint8Array(0) });
    expect(toHex(bytes((await app.call("C_SignFinal", { session, room: 64 })).output))).toBe(v.mac);
  });
});

describe("digest", () => {
  test.each(ciphers.digest)("$source, $mechanism", async (v) => {
    const { app, session } = await rig();
    await app.call("C_DigestInit", { session, mechanism: mechanism(v.mechanism) });
    expect(toHex(bytes((await app.call("C_Digest", { session, data: hex(v.data), room: 64 })).output))).toBe(v.digest);
  });
});

const signatures = vectors<{
  ecdsa: { source: string; public: string; private: string; data: string; signatures: Record<MechanismName, string> };
  eddsa: {
    source: string;
    needs?: number;
    curve: string;
    parameter?: { phFlag: boolean; contextData: string };
    private: string;
    public?: string;
    data: string;
    signature: string;
  }[];
  pss: { source: string; modulus: string; tests: { id: number; data: string; signature: string }[] };
}>("signatures");

test(signatures.ecdsa.source, async () => {
  const { ecdsa } = signatures;
  const r = await rig();
  const shared = { CKA_KEY_TYPE: 3, CKA_EC_PARAMS: derOid("1.2.840.10045.3.1.7") };
  const key = await create(r, { ...shared, CKA_CLASS: 2, CKA_VERIFY: true, CKA_EC_POINT: hex(ecdsa.public) });
  const own = await create(r, { ...shared, CKA_CLASS: 3, CKA_VALUE: hex(ecdsa.private) });
  expect(await attribute(r, own, "CKA_PUBLIC_KEY_INFO")).toEqual(await attribute(r, key, "CKA_PUBLIC_KEY_INFO"));
  for (const [name, signature] of Object.entries(ecdsa.signatures)) {
    const how = mechanism(name as MechanismName);
    expect(await verify(r, key, how, hex(ecdsa.data), hex(signature))).toBe("CKR_OK");
    expect(await verify(r, key, how, hex(`${ecdsa.data}00`), hex(signature))).toBe("CKR_SIGNATURE_INVALID");
  }
});

describe("EdDSA", () => {
  test.each(signatures.eddsa)("$source", async (v) => {
    const r = await rig();
    const shared = { CKA_KEY_TYPE: 0x40, CKA_EC_PARAMS: derOid(v.curve) };
    const own = await create(r, { ...shared, CKA_CLASS: 3, CKA_SIGN: true, CKA_VALUE: hex(v.private) });
    const info = (await attribute(r, own, "CKA_PUBLIC_KEY_INFO")) as Uint8Array;
    const point = v.public === undefined ? info.subarray(12) : hex(v.public);
    expect(toHex(info.subarray(12))).toBe(toHex(point));
    const key = await create(r, { ...shared, CKA_CLASS: 2, CKA_VERIFY: true, CKA_EC_POINT: point });
    const { parameter } = v;
    const how = mechanism("CKM_EDDSA", parameter && { ...parameter, contextData: hex(parameter.contextData) });
    if (v.needs !== undefined && opensslVersion() < v.needs) {
      expect(await rvOf(() => sign(r, own, how, hex(v.data)))).toBe("CKR_MECHANISM_PARAM_INVALID");
      return;
    }
    expect(toHex(await sign(r, own, how, hex(v.data)))).toBe(v.signature);
    expect(await verify(r, key, how, hex(v.data), hex(v.signature))).toBe("CKR_OK");
  });
});

test(signatures.pss.source, async () => {
  const { pss } = signatures;
  const r = await rig();
  const parts = { CKA_MODULUS: hex(pss.modulus), CKA_PUBLIC_EXPONENT: hex("010001") };
  const key = await create(r, { CKA_CLASS: 2, CKA_KEY_TYPE: 0, CKA_VERIFY: true, ...parts });
  const how = mechanism("CKM_SHA256_RSA_PKCS_PSS", { hashAlg: 0x250, mgf: 2, saltLength: 32 });
  for (const { data, signature } of pss.tests) {
    expect(await verify(r, key, how, hex(data), hex(signature))).toBe("CKR_OK");
    expect(await verify(r, key, how, hex(`${data}00`), hex(signature))).toBe("CKR_SIGNATURE_INVALID");
  }
});

const derivation = vectors<{
  hkdf: { source: string; secret: string; salt: string; info: string; prk: string; okm: string };
  x25519: { source: string; private: string; peer: string; shared: string };
  ecdh: { source: string; curve: CurveName; tests: { id: number; private: string; peer: string; shared: string }[] }[];
  mlKem: { source: string; seed: string; ciphertext: string; shared: string };
  kdf: { source: string; kdf: "X963KDF" | "SSKDF"; digest: string; secret: string; info: string; key: string }[];
}>("derivation");

test(derivation.hkdf.source, async () => {
  const { hkdf } = derivation;
  const r = await rig();
  const derive = async (base: Key, parts: { extract: boolean; expand: boolean }, length: number) => {
    const parameter = {
      ...parts,
      prfHashMechanism: 0x250,
      saltType: 2,
      salt: hex(hkdf.salt),
      saltKey: 0,
      info: hex(hkdf.info),
    };
    const values = template({ CKA_VALUE_LEN: length, CKA_DERIVE: true, ...OPEN });
    const how = mechanism("CKM_HKDF_DERIVE", parameter);
    return (await r.app.call("C_DeriveKey", { session: r.session, mechanism: how, baseKey: base, template: values }))
      .key;
  };
  const base = await create(r, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x42, CKA_VALUE: hex(hkdf.secret), CKA_DERIVE: true });
  const value = async (key: Key) => toHex((await attribute(r, key, "CKA_VALUE")) as Uint8Array);
  expect(await value(await derive(base, { extract: true, expand: true }, 42))).toBe(hkdf.okm);
  const prk = await derive(base, { extract: true, expand: false }, 32);
  expect(await value(prk)).toBe(hkdf.prk);
  expect(await value(await derive(prk, { extract: false, expand: true }, 42))).toBe(hkdf.okm);
});

test(derivation.x25519.source, async () => {
  const { x25519 } = derivation;
  const r = await rig();
  const shared = { CKA_KEY_TYPE: 0x41, CKA_EC_PARAMS: derOid("1.3.101.110") };
  const baseKey = await create(r, { ...shared, CKA_CLASS: 3, CKA_DERIVE: true, CKA_VALUE: hex(x25519.private) });
  const how = mechanism("CKM_ECDH1_DERIVE", { kdf: 1, sharedData: new Uint8Array(0), publicData: hex(x25519.peer) });
  const values = template({ ...OPEN });
  const { key } = await r.app.call("C_DeriveKey", { session: r.session, mechanism: how, baseKey, template: values });
  expect(toHex((await attribute(r, key, "CKA_VALUE")) as Uint8Array)).toBe(x25519.shared);
});

test.each(derivation.ecdh)("$source", async (v) => {
  const r = await rig();
  const shared = { CKA_KEY_TYPE: v.curve === "X448" ? 0x41 : 3, CKA_EC_PARAMS: derOid(CURVES[v.curve].oid) };
  for (const { id, private: own, peer, shared: secret } of v.tests) {
    const baseKey = await create(r, { ...shared, CKA_CLASS: 3, CKA_DERIVE: true, CKA_VALUE: hex(own) });
    const how = mechanism("CKM_ECDH1_DERIVE", { kdf: 1, sharedData: new Uint8Array(0), publicData: hex(peer) });
    const values = template({ ...OPEN });
    const { key } = await r.app.call("C_DeriveKey", { session: r.session, mechanism: how, baseKey, template: values });
    expect([id, toHex((await attribute(r, key, "CKA_VALUE")) as Uint8Array)]).toEqual([id, secret]);
  }
});

test.each(derivation.kdf)("$source", (v) => {
  const given = { digest: v.digest, secret: hex(v.secret), info: hex(v.info) };
  expect(toHex(deriveKey(v.kdf, given, v.key.length / 2))).toBe(v.key);
});

test.skipIf(opensslVersion() < 305)(derivation.mlKem.source, async () => {
  const { mlKem } = derivation;
  const r = await rig();
  const values = { CKA_CLASS: 3, CKA_KEY_TYPE: 0x49, CKA_PARAMETER_SET: 1, CKA_DECAPSULATE: true };
  const privateKey = await create(r, { ...values, CKA_SEED: hex(mlKem.seed) });
  const { key } = await r.app.call("C_DecapsulateKey", {
    session: r.session,
    mechanism: mechanism("CKM_ML_KEM"),
    privateKey,
    template: template({ ...OPEN }),
    ciphertext: hex(mlKem.ciphertext),
  });
  expect(toHex((await attribute(r, key, "CKA_VALUE")) as Uint8Array)).toBe(mlKem.shared);
});

const mlDsa = vectors<{ source: string; public: string; data: string; signature: string }>("ml-dsa");

test.skipIf(opensslVersion() < 305)(mlDsa.source, async () => {
  const r = await rig();
  const values = { CKA_CLASS: 2, CKA_KEY_TYPE: 0x4a, CKA_PARAMETER_SET: 1, CKA_VERIFY: true };
  const key = await create(r, { ...values, CKA_VALUE: hex(mlDsa.public) });
  const how = mechanism("CKM_ML_DSA");
  expect(await verify(r, key, how, hex(mlDsa.data), hex(mlDsa.signature))).toBe("CKR_OK");
  expect(await verify(r, key, how, hex(`${mlDsa.data}00`), hex(mlDsa.signature))).toBe("CKR_SIGNATURE_INVALID");
});
