/** RSA and ECDSA by Wycheproof's vectors, right ones and wrong ones (test/vectors/softtoken/README.md). */
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../src/codec/bytes.ts";
import { derOid } from "../../src/codec/der.ts";
import { CURVES, type CurveName } from "../../src/spec/curves.ts";
import { CKM, type MechanismName } from "../../src/spec/mechanisms.ts";
import { CKG_MGF } from "../../src/spec/objects.ts";
import { bytes, mechanism, type Rig, rig, rvOf, sign, type Template, template, verify } from "./rig.ts";

interface Signature {
  readonly id: number;
  readonly data: string;
  readonly signature: string;
  readonly result: "valid" | "invalid";
}

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, "../vectors/softtoken/wycheproof.json"), "utf8")) as {
  ecdsa: { source: string; curve: CurveName; mechanism: MechanismName; public: string; tests: Signature[] }[];
  pkcs1: { source: string; mechanism: MechanismName; modulus: string; exponent: string; tests: Signature[] }[];
  pkcs1Generated: { source: string; mechanism: MechanismName; private: string; data: string; signature: string }[];
  encryption: {
    source: string;
    mechanism: MechanismName;
    hash?: "CKM_SHA_1";
    mgf?: "CKG_MGF1_SHA1";
    private: string;
    tests: { id: number; plain: string; cipher: string; label: string; result: "valid" | "invalid" }[];
  }[];
};

const hex = (text: string) => fromHex(text)!;

async function create(r: Rig, values: Template): Promise<number | bigint> {
  return (await r.app.call("C_CreateObject", { session: r.session, template: template(values) })).object;
}

/** An RSA private key by the parts of its PrivateKeyInfo, as node reads them. */
function rsaParts(pkcs8: string): Template {
  const key = createPrivateKey({ key: Buffer.from(pkcs8, "hex"), format: "der", type: "pkcs8" });
  const jwk = key.export({ format: "jwk" });
  const part = (text: string | undefined) => new Uint8Array(Buffer.from(text!, "base64url"));
  return {
    CKA_CLASS: 3,
    CKA_KEY_TYPE: 0,
    CKA_MODULUS: part(jwk.n),
    CKA_PUBLIC_EXPONENT: part(jwk.e),
    CKA_PRIVATE_EXPONENT: part(jwk.d),
    CKA_PRIME_1: part(jwk.p),
    CKA_PRIME_2: part(jwk.q),
  };
}

async function judge(r: Rig, key: number | bigint, name: MechanismName, tests: readonly Signature[]): Promise<void> {
  for (const { id, data, signature, result } of tests) {
    const rv = await verify(r, key, mechanism(name), hex(data), hex(signature));
    expect([id, rv]).toEqual([id, result === "valid" ? "CKR_OK" : "CKR_SIGNATURE_INVALID"]);
  }
}

describe("ECDSA", () => {
  test.each(vectors.ecdsa)("$source", async (v) => {
    const r = await rig();
    const shared = { CKA_CLASS: 2, CKA_KEY_TYPE: 3, CKA_VERIFY: true };
    const params = derOid(CURVES[v.curve].oid);
    const key = await create(r, { ...shared, CKA_EC_PARAMS: params, CKA_EC_POINT: hex(v.public) });
    await judge(r, key, v.mechanism, v.tests);
  });
});

describe("RSA PKCS#1 v1.5 signatures", () => {
  test.each(vectors.pkcs1)("$source", async (v) => {
    const r = await rig();
    const parts = { CKA_MODULUS: hex(v.modulus), CKA_PUBLIC_EXPONENT: hex(v.exponent) };
    const key = await create(r, { CKA_CLASS: 2, CKA_KEY_TYPE: 0, CKA_VERIFY: true, ...parts });
    await judge(r, key, v.mechanism, v.tests);
  });

  test.each(vectors.pkcs1Generated)("$source, $mechanism", async (v) => {
    const r = await rig();
    const key = await create(r, { ...rsaParts(v.private), CKA_SIGN: true });
    expect(toHex(await sign(r, key, mechanism(v.mechanism), hex(v.data)))).toBe(v.signature);
  });
});

describe("RSA decryption", () => {
  test.each(vectors.encryption)("$source", async (v) => {
    const r = await rig();
    const { app, session } = r;
    const key = await create(r, { ...rsaParts(v.private), CKA_DECRYPT: true });
    for (const { id, plain, cipher, label, result } of v.tests) {
      const oaep = v.hash && {
        hashAlg: CKM[v.hash][0],
        mgf: CKG_MGF[v.mgf!][0],
        source: 1,
        sourceData: hex(label),
      };
      await app.call("C_DecryptInit", { session, mechanism: mechanism(v.mechanism, oaep), key });
      const run = async () => bytes((await app.call("C_Decrypt", { session, data: hex(cipher), room: 256 })).output);
      if (result === "valid") expect([id, toHex(await run())]).toEqual([id, plain]);
      else expect([id, await rvOf(run)]).toEqual([id, "CKR_ENCRYPTED_DATA_INVALID"]);
    }
  });
});
