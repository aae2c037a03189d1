/** Handles that were guessed: no function of PKCS#11 takes one of a key that is not granted. */
import { describe, expect, test } from "vitest";
import type { Ulong } from "../../src/cryptoki/port.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { FUNCTION_OPERATIONS } from "../../src/spec/operations.ts";
import { type Connection, how, PRIVATE, rvOf, template } from "./rig.ts";
import { SIGN_WWW, under, web } from "./under.ts";

describe("keys that are not granted", () => {
  /** Every way to use a key by a handle that was guessed. */
  const uses: [string, (c: Connection, key: Ulong) => unknown, string][] = [
    [
      "C_SignInit",
      (c, key) => c.app.call("C_SignInit", { session: c.session, mechanism: how("CKM_ECDSA"), key }),
      "KEY",
    ],
    ["C_DigestKey", (c, key) => digestKey(c, key), "KEY"],
    [
      "C_DeriveKey",
      (c, baseKey) =>
        c.app.call("C_DeriveKey", {
          session: c.session,
          mechanism: how("CKM_ECDH1_DERIVE", { kdf: 1, sharedData: new Uint8Array(), publicData: new Uint8Array(65) }),
          baseKey,
          template: [],
        }),
      "KEY",
    ],
    [
      "C_WrapKey of it",
      async (c, key) =>
        c.app.call("C_WrapKey", {
          session: c.session,
          mechanism: how("CKM_AES_KEY_WRAP"),
          wrappingKey: await ownAes(c),
          key,
          room: 1000,
        }),
      "KEY",
    ],
    [
      "C_WrapKey with it",
      async (c, wrappingKey) =>
        c.app.call("C_WrapKey", {
          session: c.session,
          mechanism: how("CKM_AES_KEY_WRAP"),
          wrappingKey,
          key: await ownAes(c),
          room: 1000,
        }),
      "WRAPPING_KEY",
    ],
    [
      "C_UnwrapKey",
      (c, unwrappingKey) =>
        c.app.call("C_UnwrapKey", {
          session: c.session,
          mechanism: how("CKM_AES_KEY_WRAP"),
          unwrappingKey,
          wrapped: new Uint8Array(24),
          template: [],
        }),
      "UNWRAPPING_KEY",
    ],
    ["C_CopyObject", (c, object) => c.app.call("C_CopyObject", { session: c.session, object, template: [] }), "OBJECT"],
    ["C_DestroyObject", (c, object) => c.app.call("C_DestroyObject", { session: c.session, object }), "OBJECT"],
    ["C_GetObjectSize", (c, object) => c.app.call("C_GetObjectSize", { session: c.session, object }), "OBJECT"],
    [
      "C_GetAttributeValue",
      (c, object) => c.app.call("C_GetAttributeValue", { session: c.session, object, requests: [{ type: 3 }] }),
      "OBJECT",
    ],
    [
      "C_SetAttributeValue",
      (c, object) =>
        c.app.call("C_SetAttributeValue", { session: c.session, object, template: template({ CKA_LABEL: "www" }) }),
      "OBJECT",
    ],
    [
      "C_MessageSignInit",
      (c, key) => c.app.call("C_MessageSignInit", { session: c.session, mechanism: how("CKM_ECDSA"), key }),
      "KEY",
    ],
    [
      "C_VerifySignatureInit",
      (c, key) =>
        c.app.call("C_VerifySignatureInit", {
          session: c.session,
          mechanism: how("CKM_ECDSA"),
          key,
          signature: new Uint8Array(64),
        }),
      "KEY",
    ],
    [
      "C_DecapsulateKey",
      (c, privateKey) =>
        c.app.call("C_DecapsulateKey", {
          session: c.session,
          mechanism: how("CKM_ML_KEM"),
          privateKey,
          template: [],
          ciphertext: new Uint8Array(8),
        }),
      "KEY",
    ],
    [
      "C_WrapKeyAuthenticated",
      async (c, key) =>
        c.app.call("C_WrapKeyAuthenticated", {
          session: c.session,
          mechanism: how("CKM_AES_GCM"),
          wrappingKey: await ownAes(c),
          key,
          associatedData: new Uint8Array(),
          room: 1000,
        }),
      "KEY",
    ],
    [
      "HKDF's salt",
      async (c, saltKey) =>
        c.app.call("C_DeriveKey", {
          session: c.session,
          mechanism: how("CKM_HKDF_DERIVE", {
            extract: true,
            expand: true,
            prfHashMechanism: CKM.CKM_SHA256[0],
            saltType: 4,
            salt: new Uint8Array(),
            saltKey,
            info: new Uint8Array(),
          }),
          baseKey: await ownAes(c),
          template: [],
        }),
      "MECHANISM_PARAM",
    ],
    [
      "a key that is joined to another",
      async (c, key) =>
        c.app.call("C_DeriveKey", {
          session: c.session,
          mechanism: how("CKM_CONCATENATE_BASE_AND_KEY", key),
          baseKey: await ownAes(c),
          template: [],
        }),
      "MECHANISM_PARAM",
    ],
  ];

  test.each(uses)("%s finds no such key, and the log says which it was", async (_name, use, code) => {
    const c = await under(web(SIGN_WWW, "createObjects: true, readOnly: false,"));
    const rv = code === "MECHANISM_PARAM" ? "CKR_MECHANISM_PARAM_INVALID" : `CKR_${code}_HANDLE_INVALID`;
    const key = await c.handle("mail", PRIVATE);
    expect(await rvOf(() => use(c, key))).toBe(rv);
    const [refusal] = c.refused;
    expect(refusal).toMatchObject({ rv, key: { label: "mail", id: "02" }, reason: "this client does not see it" });
  });

  async function ownAes({ app, session }: Connection): Promise<Ulong> {
    const values = template({ CKA_VALUE_LEN: 16, CKA_WRAP: true, CKA_DERIVE: true, CKA_EXTRACTABLE: true });
    return (await app.call("C_GenerateKey", { session, mechanism: how("CKM_AES_KEY_GEN"), template: values })).key;
  }

  async function digestKey({ app, session }: Connection, key: Ulong): Promise<unknown> {
    await app.call("C_DigestInit", { session, mechanism: how("CKM_SHA256") });
    return app.call("C_DigestKey", { session, key });
  }
});

test("every function that takes an object's handle is refused for one that is not granted", async () => {
  const c = await under(web(SIGN_WWW, "createObjects: true, readOnly: false, setUp: true,"));
  const key = await c.handle("mail", PRIVATE);
  const passed: string[] = [];
  for (const [fn, { objects = {} }] of Object.entries(FUNCTION_OPERATIONS)) {
    if (Object.keys(objects).length === 0) continue;
    const handles = Object.fromEntries(Object.keys(objects).map((name) => [name, key]));
    const args = { session: c.session, mechanism: how("CKM_ECDSA"), template: [], requests: [], room: 0, ...handles };
    const before = c.refused.length;
    await rvOf(() => c.app.call(fn as "C_Sign", args as never));
    if (c.refused.length === before) passed.push(fn);
  }
  expect(passed).toEqual([]);
});
