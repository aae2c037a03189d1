import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { derOid } from "../../src/codec/der.ts";
import type { Mechanism } from "../../src/cryptoki/port.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { peer } from "../support/peers.ts";
import {
  attribute,
  bytes,
  folder,
  generatePair,
  mechanism,
  PIN,
  type Rig,
  rig,
  rvOf,
  SO_PIN,
  sign,
  template,
  verify,
} from "./rig.ts";
import { rsaAesParameter, softHsm } from "./softhsm.ts";

type Key = number | bigint;
type Values = Parameters<typeof template>[0];

const P256 = derOid("1.2.840.10045.3.1.7");
const KEK = new Uint8Array(32).fill(3);
const OPEN: Values = { CKA_SENSITIVE: false, CKA_EXTRACTABLE: true };

async function create(r: Rig, values: Values): Promise<Key> {
  return (await r.app.call("C_CreateObject", { session: r.session, template: template(values) })).object;
}

function kek(r: Rig, values: Values = {}): Promise<Key> {
  return create(r, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x1f, CKA_VALUE: KEK, CKA_WRAP: true, CKA_UNWRAP: true, ...values });
}

async function wrap(r: Rig, how: Mechanism, wrappingKey: Key, key: Key): Promise<Uint8Array> {
  const { session } = r;
  return bytes((await r.app.call("C_WrapKey", { session, mechanism: how, wrappingKey, key, room: 10_000 })).output);
}

async function unwrap(r: Rig, how: Mechanism, unwrappingKey: Key, wrapped: Uint8Array, values: Values): Promise<Key> {
  const args = { session: r.session, mechanism: how, unwrappingKey, wrapped, template: template(values) };
  return (await r.app.call("C_UnwrapKey", args)).key;
}

async function derive(r: Rig, how: Mechanism, baseKey: Key, values: Values): Promise<Key> {
  const args = { session: r.session, mechanism: how, baseKey, template: template(values) };
  return (await r.app.call("C_DeriveKey", args)).key;
}

const IV = new Uint8Array(16).fill(1);
const OAEP = { hashAlg: CKM.CKM_SHA256[0], mgf: 2, source: 1, sourceData: new Uint8Array(0) };

const WRAPPINGS: readonly Mechanism[] = [
  mechanism("CKM_AES_KEY_WRAP_PAD"),
  mechanism("CKM_AES_KEY_WRAP_KWP"),
  mechanism("CKM_AES_CBC_PAD", IV),
  mechanism("CKM_AES_GCM", { iv: IV.subarray(0, 12), ivBits: 96, aad: new Uint8Array(0), tagBits: 128 }),
];

const KINDS = [
  ["EC P-256", "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: P256 }, 3, "CKM_ECDSA_SHA256"],
  ["Ed25519", "CKM_EC_EDWARDS_KEY_PAIR_GEN", { CKA_EC_PARAMS: derOid("1.3.101.112") }, 0x40, "CKM_EDDSA"],
  ["RSA", "CKM_RSA_PKCS_KEY_PAIR_GEN", { CKA_MODULUS_BITS: 2048 }, 0, "CKM_SHA256_RSA_PKCS"],
] as const;

test.each(KINDS)(
  "an %s private key is wrapped and unwrapped, and is the same",
  async (_name, how, params, type, signing) => {
    const r = await rig();
    const by = await kek(r);
    const pair = await generatePair(r, how, params, { ...OPEN, CKA_ID: "1" });
    for (const wrapping of WRAPPINGS) {
      const wrapped = await wrap(r, wrapping, by, pair.privateKey);
      const values = { CKA_CLASS: 3, CKA_KEY_TYPE: type, CKA_SIGN: true, CKA_TOKEN: true };
      const key = await unwrap(r, wrapping, by, wrapped, values);
      const signature = await sign(r, key, mechanism(signing), utf8("text"));
      expect(await verify(r, pair.publicKey, mechanism(signing), utf8("text"), signature)).toBe("CKR_OK");
      expect(await attribute(r, key, "CKA_LOCAL")).toBe(false);
      expect(await attribute(r, key, "CKA_ALWAYS_SENSITIVE")).toBe(false);
      expect(await attribute(r, key, "CKA_NEVER_EXTRACTABLE")).toBe(false);
      // What was outside may leave again, unless the template says otherwise.
      expect(await attribute(r, key, "CKA_EXTRACTABLE")).toBe(true);
      wrapped[3]! ^= 1;
      expect(await rvOf(() => unwrap(r, wrapping, by, wrapped, values))).toBe("CKR_WRAPPED_KEY_INVALID");
    }
  },
);

test("RSA-AES wraps a private key, RSA-OAEP and RSA-PKCS a secret one", async () => {
  const r = await rig();
  const uses = [{ CKA_MODULUS_BITS: 2048, CKA_WRAP: true }, { CKA_UNWRAP: true }] as const;
  const rsa = await generatePair(r, "CKM_RSA_PKCS_KEY_PAIR_GEN", ...uses);
  const pair = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: P256 }, OPEN);
  const both = mechanism("CKM_RSA_AES_KEY_WRAP", { aesKeyBits: 256, oaep: OAEP });
  const wrapped = await wrap(r, both, rsa.publicKey, pair.privateKey);
  const key = await unwrap(r, both, rsa.privateKey, wrapped, { CKA_CLASS: 3, CKA_KEY_TYPE: 3, CKA_SIGN: true });
  const signature = await sign(r, key, mechanism("CKM_ECDSA_SHA256"), utf8("text"));
  expect(await verify(r, pair.publicKey, mechanism("CKM_ECDSA_SHA256"), utf8("text"), signature)).toBe("CKR_OK");
  const secret = await create(r, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "secret", ...OPEN });
  for (const how of [mechanism("CKM_RSA_PKCS_OAEP", OAEP), mechanism("CKM_RSA_PKCS")]) {
    const hidden = await wrap(r, how, rsa.publicKey, secret);
    const again = await unwrap(r, how, rsa.privateKey, hidden, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, ...OPEN });
    expect(Buffer.from((await attribute(r, again, "CKA_VALUE")) as Uint8Array).toString()).toBe("secret");
    expect(await rvOf(() => wrap(r, how, rsa.publicKey, pair.privateKey))).toBe("CKR_KEY_NOT_WRAPPABLE");
  }
});

test("a secret key fills up to whole blocks under CBC, and its length is told when it is unwrapped", async () => {
  const r = await rig();
  const by = await kek(r);
  const how = mechanism("CKM_AES_CBC", IV);
  const secret = await create(r, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "seventeen bytes !", ...OPEN });
  const wrapped = await wrap(r, how, by, secret);
  expect(wrapped.length).toBe(32);
  const values = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE_LEN: 17, ...OPEN };
  const key = await unwrap(r, how, by, wrapped, values);
  expect(Buffer.from((await attribute(r, key, "CKA_VALUE")) as Uint8Array).toString()).toBe("seventeen bytes !");
});

test("what may not be wrapped is not", async () => {
  const r = await rig();
  const how = mechanism("CKM_AES_KEY_WRAP_KWP");
  const by = await kek(r);
  const secret: Values = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "secret" };
  const closed = await create(r, secret);
  const wary = await create(r, { ...secret, ...OPEN, CKA_WRAP_WITH_TRUSTED: true });
  const open = await create(r, { ...secret, ...OPEN });
  expect(await rvOf(() => wrap(r, how, by, closed))).toBe("CKR_KEY_UNEXTRACTABLE");
  expect(await rvOf(() => wrap(r, how, by, wary))).toBe("CKR_KEY_NOT_WRAPPABLE");
  expect(await rvOf(() => wrap(r, how, 999, open))).toBe("CKR_WRAPPING_KEY_HANDLE_INVALID");
  expect(await rvOf(() => wrap(r, how, by, 999))).toBe("CKR_KEY_HANDLE_INVALID");
  expect(await rvOf(() => wrap(r, how, open, by))).toBe("CKR_WRAPPING_KEY_TYPE_INCONSISTENT");
  const picky = await kek(r, { CKA_WRAP_TEMPLATE: template({ CKA_LABEL: "exportable" }) });
  expect(await rvOf(() => wrap(r, how, picky, open))).toBe("CKR_KEY_HANDLE_INVALID");
  const labelled = await create(r, { ...secret, ...OPEN, CKA_LABEL: "exportable" });
  expect(await rvOf(() => wrap(r, how, picky, labelled))).toBe("CKR_OK");
});

test("a key that asks for a trusted wrapping key is wrapped by one that the SO trusts", async () => {
  const r = await rig();
  const { app, session } = r;
  const rsa = await generatePair(
    r,
    "CKM_RSA_PKCS_KEY_PAIR_GEN",
    { CKA_MODULUS_BITS: 2048, CKA_WRAP: true, CKA_TOKEN: true },
    { CKA_TOKEN: true },
  );
  await app.call("C_Logout", { session });
  await app.call("C_Login", { session, userType: 0, pin: SO_PIN });
  const trust = template({ CKA_TRUSTED: true });
  await app.call("C_SetAttributeValue", { session, object: rsa.publicKey, template: trust });
  await app.call("C_Logout", { session });
  await app.call("C_Login", { session, userType: 1, pin: PIN });
  const secret = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "secret", ...OPEN, CKA_WRAP_WITH_TRUSTED: true };
  expect(await rvOf(async () => wrap(r, mechanism("CKM_RSA_PKCS"), rsa.publicKey, await create(r, secret)))).toBe(
    "CKR_OK",
  );
});

test("an AES key is trusted for as long as a session of the SO's making lasts, and none in the token", async () => {
  const r = await rig({ login: false });
  const { app, session } = r;
  await app.call("C_Login", { session, userType: 0, pin: SO_PIN });
  const trusted = { CKA_PRIVATE: false, CKA_TRUSTED: true };
  expect(await rvOf(() => kek(r, { ...trusted, CKA_TOKEN: true }))).toBe("CKR_TEMPLATE_INCONSISTENT");
  const by = await kek(r, trusted);
  await app.call("C_Logout", { session });
  await app.call("C_Login", { session, userType: 1, pin: PIN });
  const secret = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "secret", ...OPEN, CKA_WRAP_WITH_TRUSTED: true };
  expect((await wrap(r, mechanism("CKM_AES_KEY_WRAP_KWP"), by, await create(r, secret))).length).toBe(16);
});

test("an unwrapping key puts its template into the keys it unwraps", async () => {
  const r = await rig();
  const how = mechanism("CKM_AES_KEY_WRAP_KWP");
  const demanded = template({ CKA_EXTRACTABLE: false, CKA_LABEL: "imported" });
  const by = await kek(r, { CKA_UNWRAP_TEMPLATE: demanded });
  const secret = await create(r, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_VALUE: "secret", ...OPEN });
  const wrapped = await wrap(r, how, by, secret);
  const values = { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10 };
  const key = await unwrap(r, how, by, wrapped, values);
  expect(await attribute(r, key, "CKA_LABEL")).toEqual(utf8("imported"));
  expect(await rvOf(() => unwrap(r, how, by, wrapped, { ...values, CKA_EXTRACTABLE: true }))).toBe(
    "CKR_TEMPLATE_INCONSISTENT",
  );
});

test("concatenation and extraction: values, and the secrecy of the sources", async () => {
  const r = await rig();
  const base = (values: Values) =>
    create(r, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x10, CKA_DERIVE: true, ...OPEN, ...values });
  const a = await base({ CKA_VALUE: "ab" });
  const b = await base({ CKA_VALUE: "cd" });
  const hidden = await base({ CKA_VALUE: "ef", CKA_SENSITIVE: true });
  const text = async (key: Key) => Buffer.from(((await attribute(r, key, "CKA_VALUE")) as Uint8Array) ?? []).toString();
  const joined = mechanism("CKM_CONCATENATE_BASE_AND_KEY", b as number);
  expect(await text(await derive(r, joined, a, OPEN))).toBe("abcd");
  expect(await text(await derive(r, mechanism("CKM_CONCATENATE_BASE_AND_DATA", { data: utf8("!") }), a, OPEN))).toBe(
    "ab!",
  );
  expect(await text(await derive(r, mechanism("CKM_CONCATENATE_DATA_AND_BASE", { data: utf8("!") }), a, OPEN))).toBe(
    "!ab",
  );
  const secret = mechanism("CKM_CONCATENATE_BASE_AND_KEY", hidden as number);
  expect(await rvOf(() => derive(r, secret, a, OPEN))).toBe("CKR_TEMPLATE_INCONSISTENT");
  expect(await attribute(r, await derive(r, secret, a, { CKA_EXTRACTABLE: true }), "CKA_SENSITIVE")).toBe(true);
  // The example of PKCS#11 2.40, 2.31.7: 0x329f84a9 from bit 21, 16 bits, is 0x9526.
  const long = await base({ CKA_VALUE: Uint8Array.of(0x32, 0x9f, 0x84, 0xa9) });
  const cut = await derive(r, mechanism("CKM_EXTRACT_KEY_FROM_KEY", 21), long, { ...OPEN, CKA_VALUE_LEN: 2 });
  expect(await attribute(r, cut, "CKA_VALUE")).toEqual(Uint8Array.of(0x95, 0x26));
  const negative = mechanism("CKM_EXTRACT_KEY_FROM_KEY", -8);
  expect(await rvOf(() => derive(r, negative, long, { ...OPEN, CKA_VALUE_LEN: 2 }))).toBe(
    "CKR_MECHANISM_PARAM_INVALID",
  );
});

test.each(["prime256v1", "x25519", "x448"] as const)(
  "two keys on %s agree on a secret, with every KDF",
  async (curve) => {
    const r = await rig();
    const oid = { prime256v1: "1.2.840.10045.3.1.7", x25519: "1.3.101.110", x448: "1.3.101.111" }[curve];
    const how = curve === "prime256v1" ? "CKM_EC_KEY_PAIR_GEN" : "CKM_EC_MONTGOMERY_KEY_PAIR_GEN";
    const make = () =>
      r.app.call("C_GenerateKeyPair", {
        session: r.session,
        mechanism: mechanism(how),
        publicTemplate: template({ CKA_EC_PARAMS: derOid(oid) }),
        privateTemplate: template({ CKA_DERIVE: true }),
      });
    const [one, two] = [await make(), await make()];
    const point = async (pair: Awaited<ReturnType<typeof make>>) =>
      (await attribute(r, pair.publicKey, "CKA_EC_POINT")) as Uint8Array;
    const values = { CKA_KEY_TYPE: 0x1f, CKA_VALUE_LEN: 32, ...OPEN };
    const seen = new Set<string>();
    // CKD_NULL, SHA-1 and SHA-256 of X9.63, SHA-256 and SHA3-512 of SP 800-56A.
    for (const kdf of [1, 2, 6, 0x10, 0x16]) {
      const sharedData = kdf === 1 ? new Uint8Array(0) : utf8("info");
      const ab = mechanism("CKM_ECDH1_DERIVE", { kdf, sharedData, publicData: await point(two) });
      const ba = mechanism("CKM_ECDH1_DERIVE", { kdf, sharedData, publicData: await point(one) });
      const left = (await attribute(r, await derive(r, ab, one.privateKey, values), "CKA_VALUE")) as Uint8Array;
      const right = await attribute(r, await derive(r, ba, two.privateKey, values), "CKA_VALUE");
      expect(left).toEqual(right);
      seen.add(Buffer.from(left).toString("hex"));
    }
    expect(seen.size).toBe(5);
    // Off the curve, of a wrong length, no DER, and of low order.
    const wrong = [new Uint8Array(65), Uint8Array.of(0), new Uint8Array(0), new Uint8Array(curve === "x448" ? 56 : 32)];
    for (const publicData of wrong) {
      const bad = mechanism("CKM_ECDH1_DERIVE", { kdf: 1, sharedData: new Uint8Array(0), publicData });
      expect(await rvOf(() => derive(r, bad, one.privateKey, values))).toBe("CKR_MECHANISM_PARAM_INVALID");
    }
  },
);

test.skipIf(!peer("softhsm2"))("keys of SoftHSM come over by wrapping: AES-KWP, AES-CBC-PAD and RSA-AES", async () => {
  const r = await rig();
  const hsm = softHsm(folder());
  const by = hsm.create(
    template({ CKA_CLASS: 4, CKA_KEY_TYPE: 0x1f, CKA_VALUE: KEK, CKA_WRAP: true, CKA_TOKEN: false, CKA_PRIVATE: true }),
  );
  const own = await kek(r);
  const open = template({ CKA_SENSITIVE: false, CKA_EXTRACTABLE: true, CKA_SIGN: true, CKA_TOKEN: false });
  const rsa = hsm.generatePair(
    0,
    template({ CKA_MODULUS_BITS: 2048, CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1) }),
    open,
  );
  const ec = hsm.generatePair(0x1040, template({ CKA_EC_PARAMS: P256 }), open);
  const aes = hsm.generate(0x1080, template({ CKA_VALUE_LEN: 16, ...OPEN, CKA_TOKEN: false }));
  const importer = await generatePair(
    r,
    "CKM_RSA_PKCS_KEY_PAIR_GEN",
    { CKA_MODULUS_BITS: 2048, CKA_WRAP: true },
    { CKA_UNWRAP: true },
  );
  const importKey = hsm.create(
    template({
      CKA_CLASS: 2,
      CKA_KEY_TYPE: 0,
      CKA_TOKEN: false,
      CKA_WRAP: true,
      CKA_MODULUS: (await attribute(r, importer.publicKey, "CKA_MODULUS")) as Uint8Array,
      CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1),
    }),
  );
  const sha1 = { ...OAEP, hashAlg: CKM.CKM_SHA_1[0], mgf: 1 };
  const ways = [
    { how: mechanism("CKM_AES_KEY_WRAP_PAD"), parameter: new Uint8Array(0), from: by, to: own },
    { how: mechanism("CKM_AES_CBC_PAD", IV), parameter: IV, from: by, to: own },
    {
      how: mechanism("CKM_RSA_AES_KEY_WRAP", { aesKeyBits: 256, oaep: sha1 }),
      parameter: rsaAesParameter(256),
      from: importKey,
      to: importer.privateKey,
    },
  ];
  const came: string[] = [];
  for (const { how, parameter, from, to } of ways) {
    const over = (key: bigint, values: Values) => {
      let wrapped: Uint8Array;
      try {
        wrapped = hsm.wrap(how.type, parameter, from, key);
      } catch (error) {
        // SoftHSM 2.6 does not wrap with every mechanism that later ones have (CKR_MECHANISM_INVALID).
        if (/0x70$/.test((error as Error).message)) return undefined;
        throw error;
      }
      return unwrap(r, how, to, wrapped, values);
    };
    const rsaKey = await over(rsa[1], { CKA_CLASS: 3, CKA_KEY_TYPE: 0, CKA_SIGN: true, CKA_TOKEN: true });
    if (rsaKey === undefined) continue;
    came.push(how.type.toString(16));
    const data = utf8("text");
    expect(await sign(r, rsaKey, mechanism("CKM_SHA256_RSA_PKCS"), data)).toEqual(hsm.sign(0x40, rsa[1], data));
    const ecKey = await over(ec[1], { CKA_CLASS: 3, CKA_KEY_TYPE: 3, CKA_SIGN: true, CKA_TOKEN: true });
    expect((await sign(r, ecKey!, mechanism("CKM_ECDSA_SHA256"), data)).length).toBe(64);
    const aesKey = await over(aes, { CKA_CLASS: 4, CKA_KEY_TYPE: 0x1f, CKA_TOKEN: true });
    expect(await attribute(r, aesKey!, "CKA_VALUE_LEN")).toBe(16);
  }
  // What SoftHSM 2.6 has; 2.7 has them all.
  expect(came).toEqual(expect.arrayContaining(["210a"]));
});
