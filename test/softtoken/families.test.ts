/** Every member of the families that are made from one table of hashes. */
import { createHash, createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { HASHES } from "../../src/softtoken/mechanisms/hashes.ts";
import { CKM, mechanismName } from "../../src/spec/mechanisms.ts";
import { attribute, bytes, generatePair, type Rig, rig, rvOf, sign, template, verify } from "./rig.ts";

const DATA = utf8("text");

async function generate(r: Rig, type: number, values: Parameters<typeof template>[0] = {}): Promise<number | bigint> {
  const uses = { CKA_SIGN: true, CKA_VERIFY: true, CKA_DERIVE: true, CKA_SENSITIVE: false, CKA_EXTRACTABLE: true };
  const all = template({ ...uses, ...values });
  return (await r.app.call("C_GenerateKey", { session: r.session, mechanism: { type }, template: all })).key;
}

test("each hash: digest, key generation, HMAC whole and cut short, derivation", async () => {
  const r = await rig();
  const { app, session } = r;
  for (const hash of HASHES) {
    await app.call("C_DigestInit", { session, mechanism: { type: hash.digest } });
    const digest = bytes((await app.call("C_Digest", { session, data: DATA, room: 64 })).output);
    expect(Buffer.from(digest), hash.name).toEqual(createHash(hash.name).update(DATA).digest());

    const key = await generate(r, hash.keyGen);
    expect(await attribute(r, key, "CKA_KEY_TYPE"), hash.name).toBe(hash.keyType);
    const value = (await attribute(r, key, "CKA_VALUE")) as Uint8Array;
    expect(value.length).toBe(hash.length);
    const right = createHmac(hash.name, value).update(DATA).digest();
    expect(Buffer.from(await sign(r, key, { type: hash.hmac }, DATA))).toEqual(right);
    const short = { type: hash.hmacGeneral, parameter: 7 };
    expect(Buffer.from(await sign(r, key, short, DATA))).toEqual(right.subarray(0, 7));
    expect(await verify(r, key, short, DATA, right.subarray(0, 7))).toBe("CKR_OK");
    expect(await rvOf(() => sign(r, key, { type: hash.hmacGeneral, parameter: hash.length + 1 }, DATA))).toBe(
      "CKR_MECHANISM_PARAM_INVALID",
    );

    const derived = await app.call("C_DeriveKey", {
      session,
      mechanism: { type: hash.derivation },
      baseKey: key,
      template: template({ CKA_VALUE_LEN: 16, CKA_SENSITIVE: false, CKA_EXTRACTABLE: true }),
    });
    const expected = createHash(hash.name).update(value).digest().subarray(0, 16);
    expect(Buffer.from((await attribute(r, derived.key, "CKA_VALUE")) as Uint8Array)).toEqual(expected);
  }
});

test("each hash with RSA: PKCS#1 and PSS sign what they verify", async () => {
  const r = await rig();
  const pair = await generatePair(r, "CKM_RSA_PKCS_KEY_PAIR_GEN", { CKA_MODULUS_BITS: 2048 });
  for (const hash of HASHES) {
    if (hash.rsa === undefined || hash.pss === undefined || hash.mgf === undefined) continue;
    const parameter = { hashAlg: hash.digest, mgf: hash.mgf, saltLength: hash.length };
    for (const how of [{ type: hash.rsa }, { type: hash.pss, parameter }]) {
      const signature = await sign(r, pair.privateKey, how, DATA);
      expect(await verify(r, pair.publicKey, how, DATA, signature), mechanismName(how.type)).toBe("CKR_OK");
      expect(await verify(r, pair.publicKey, how, utf8("Text"), signature)).toBe("CKR_SIGNATURE_INVALID");
    }
  }
});

test("keys of a wrong length are not made, and each secret key says how it came about", async () => {
  const r = await rig();
  expect(await rvOf(() => generate(r, CKM.CKM_AES_KEY_GEN[0], { CKA_VALUE_LEN: 15 }))).toBe("CKR_KEY_SIZE_RANGE");
  expect(await rvOf(() => generate(r, CKM.CKM_AES_KEY_GEN[0]))).toBe("CKR_TEMPLATE_INCOMPLETE");
  expect(await rvOf(() => generate(r, CKM.CKM_GENERIC_SECRET_KEY_GEN[0], { CKA_VALUE_LEN: 5000 }))).toBe(
    "CKR_KEY_SIZE_RANGE",
  );
  for (const length of [16, 24, 32]) {
    const key = await generate(r, CKM.CKM_AES_KEY_GEN[0], { CKA_VALUE_LEN: length, CKA_TOKEN: true });
    expect(await attribute(r, key, "CKA_VALUE")).toHaveLength(length);
    expect(await attribute(r, key, "CKA_LOCAL")).toBe(true);
    expect(await attribute(r, key, "CKA_KEY_GEN_MECHANISM")).toBe(CKM.CKM_AES_KEY_GEN[0]);
  }
});

test("every mechanism in the list says what it is for", async () => {
  const { app, slot } = await rig();
  const { mechanisms } = await app.call("C_GetMechanismList", { slot });
  expect(new Set(mechanisms).size).toBe(mechanisms.length);
  for (const type of mechanisms) {
    const { info } = await app.call("C_GetMechanismInfo", { slot, type });
    expect(info.flags as number, mechanismName(type as number)).toBeGreaterThan(0);
    expect(info.maxKeySize as number).toBeGreaterThanOrEqual(info.minKeySize as number);
  }
  expect(await rvOf(() => app.call("C_GetMechanismInfo", { slot, type: 0x210 }))).toBe("CKR_MECHANISM_INVALID");
});
