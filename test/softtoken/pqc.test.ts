import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import type { Mechanism } from "../../src/cryptoki/port.ts";
import { opensslVersion } from "../../src/native/libcrypto/library.ts";
import {
  attribute,
  bytes,
  generatePair,
  mechanism,
  type Pair,
  type Rig,
  rig,
  rvOf,
  sign,
  template,
  verify,
} from "./rig.ts";

const has = opensslVersion() >= 305;
const DATA = utf8("text");

test("without OpenSSL 3.5 there is no post-quantum mechanism, with it there is", async () => {
  const { app, slot } = await rig();
  const { mechanisms } = await app.call("C_GetMechanismList", { slot });
  expect(mechanisms.includes(0x1d)).toBe(has);
});

async function signsAndVerifies(r: Rig, pair: Pair, how: Mechanism, data = DATA): Promise<void> {
  const signature = await sign(r, pair.privateKey, how, data);
  expect(await verify(r, pair.publicKey, how, data, signature)).toBe("CKR_OK");
  signature[7]! ^= 1;
  expect(await verify(r, pair.publicKey, how, data, signature)).toBe("CKR_SIGNATURE_INVALID");
}

test.skipIf(!has).each([1, 2, 3])(
  "ML-DSA, parameter set %i: pure, with a context, over a digest, hashing first",
  async (set) => {
    const r = await rig();
    const pair = await generatePair(r, "CKM_ML_DSA_KEY_PAIR_GEN", { CKA_PARAMETER_SET: set });
    await signsAndVerifies(r, pair, mechanism("CKM_ML_DSA"));
    const deterministic = mechanism("CKM_ML_DSA", { hedgeVariant: 2, context: utf8("context") });
    await signsAndVerifies(r, pair, deterministic);
    expect(await sign(r, pair.privateKey, deterministic, DATA)).toEqual(
      await sign(r, pair.privateKey, deterministic, DATA),
    );
    await signsAndVerifies(r, pair, mechanism("CKM_HASH_ML_DSA_SHA512", { hedgeVariant: 0, context: utf8("c") }));
    await signsAndVerifies(r, pair, mechanism("CKM_HASH_ML_DSA_SHAKE256"));
    const overDigest = mechanism("CKM_HASH_ML_DSA", { hedgeVariant: 0, context: utf8("c"), hash: 0x250 });
    await signsAndVerifies(r, pair, overDigest, new Uint8Array(32));
    // The digest of the data, given or made here, is the same message.
    const { createHash } = await import("node:crypto");
    const digest = createHash("sha256").update(DATA).digest();
    const signature = await sign(r, pair.privateKey, overDigest, digest);
    const hashing = mechanism("CKM_HASH_ML_DSA_SHA256", { hedgeVariant: 0, context: utf8("c") });
    expect(await verify(r, pair.publicKey, hashing, DATA, signature)).toBe("CKR_OK");
  },
);

test.skipIf(!has)("SLH-DSA keys are made with a promise, and sign", async () => {
  const r = await rig();
  for (const set of [3, 4]) {
    const making = r.app.call("C_GenerateKeyPair", {
      session: r.session,
      mechanism: mechanism("CKM_SLH_DSA_KEY_PAIR_GEN"),
      publicTemplate: template({ CKA_PARAMETER_SET: set, CKA_VERIFY: true }),
      privateTemplate: template({ CKA_SIGN: true }),
    });
    expect(making).toBeInstanceOf(Promise);
    await signsAndVerifies(r, await making, mechanism("CKM_SLH_DSA"));
  }
});

test.skipIf(!has).each([1, 2, 3])("ML-KEM, parameter set %i: both sides have the same key", async (set) => {
  const r = await rig();
  const { app, session } = r;
  const pair = await app.call("C_GenerateKeyPair", {
    session,
    mechanism: mechanism("CKM_ML_KEM_KEY_PAIR_GEN"),
    publicTemplate: template({ CKA_PARAMETER_SET: set, CKA_ENCAPSULATE: true }),
    privateTemplate: template({ CKA_DECAPSULATE: true }),
  });
  const how = mechanism("CKM_ML_KEM");
  const values = template({ CKA_KEY_TYPE: 0x1f, CKA_SENSITIVE: false, CKA_EXTRACTABLE: true });
  const ask = { session, mechanism: how, publicKey: pair.publicKey, template: values };
  const { output } = await app.call("C_EncapsulateKey", { ...ask, room: null });
  const needed = "needed" in output ? output.needed : 0;
  const made = await app.call("C_EncapsulateKey", { ...ask, room: needed });
  const ciphertext = bytes(made.output);
  const { key } = await app.call("C_DecapsulateKey", {
    session,
    mechanism: how,
    privateKey: pair.privateKey,
    template: values,
    ciphertext,
  });
  expect(await attribute(r, key, "CKA_VALUE")).toEqual(await attribute(r, made.key, "CKA_VALUE"));
});

test.skipIf(!has)(
  "a shared secret may leave unless the template says otherwise, and no PIN can be given for it",
  async () => {
    const r = await rig();
    const { app, session } = r;
    const how = mechanism("CKM_ML_KEM");
    const pair = await app.call("C_GenerateKeyPair", {
      session,
      mechanism: mechanism("CKM_ML_KEM_KEY_PAIR_GEN"),
      publicTemplate: template({ CKA_PARAMETER_SET: 1, CKA_ENCAPSULATE: true }),
      privateTemplate: template({ CKA_DECAPSULATE: true, CKA_ALWAYS_AUTHENTICATE: true }),
    });
    const ask = { session, mechanism: how, publicKey: pair.publicKey, template: [], room: 2000 };
    const made = await app.call("C_EncapsulateKey", ask);
    expect(await attribute(r, made.key, "CKA_EXTRACTABLE")).toBe(true);
    expect(await attribute(r, made.key, "CKA_NEVER_EXTRACTABLE")).toBe(false);
    const { privateKey } = pair;
    const back = { session, mechanism: how, privateKey, template: [], ciphertext: bytes(made.output) };
    expect(await rvOf(() => app.call("C_DecapsulateKey", back))).toBe("CKR_USER_NOT_LOGGED_IN");
  },
);

test.skipIf(!has)("a post-quantum key comes back from its seed and from the store", async () => {
  const r = await rig();
  const open = { CKA_SENSITIVE: false, CKA_EXTRACTABLE: true, CKA_TOKEN: true };
  const pair = await generatePair(r, "CKM_ML_DSA_KEY_PAIR_GEN", { CKA_PARAMETER_SET: 1 }, open);
  const seed = (await attribute(r, pair.privateKey, "CKA_SEED")) as Uint8Array;
  expect(seed.length).toBe(32);
  const made = { CKA_CLASS: 3, CKA_KEY_TYPE: 0x4a, CKA_PARAMETER_SET: 1, CKA_SIGN: true };
  const { object } = await r.app.call("C_CreateObject", {
    session: r.session,
    template: template({ ...made, ...open, CKA_SEED: seed }),
  });
  expect(await attribute(r, object, "CKA_VALUE")).toEqual(await attribute(r, pair.privateKey, "CKA_VALUE"));
  expect(await attribute(r, object, "CKA_PUBLIC_KEY_INFO")).toEqual(
    await attribute(r, pair.publicKey, "CKA_PUBLIC_KEY_INFO"),
  );
  await signsAndVerifies(r, { publicKey: pair.publicKey, privateKey: object }, mechanism("CKM_ML_DSA"));
  const wrong = template({ ...made, CKA_SEED: seed.subarray(1) });
  expect(await rvOf(() => r.app.call("C_CreateObject", { session: r.session, template: wrong }))).toBe(
    "CKR_ATTRIBUTE_VALUE_INVALID",
  );
});
