/** The policy layer, over the built-in token. */
import { describe, expect, test } from "vitest";
import { isPromise } from "../../src/cryptoki/awaitable.ts";
import type { CryptokiError } from "../../src/cryptoki/errors.ts";
import type { FunctionName } from "../../src/cryptoki/port.ts";
import { enforcePolicy } from "../../src/layers/policy/enforce.ts";
import { readPolicy } from "../../src/layers/policy/policy.ts";
import type { Refusal } from "../../src/layers/refusals.ts";
import { how, PRIVATE, PUBLIC, rvOf, SECRET, shownBy, signWith, template, tokenWithKeys } from "./rig.ts";
import { NEVER, SIGN_WWW, under, web } from "./under.ts";

describe("what a client sees", () => {
  test("a key that is granted and what belongs to it are found, and nothing else is", async () => {
    const connection = await under(web(SIGN_WWW));
    expect(await shownBy(connection)).toEqual([`${PUBLIC} www`, `${PRIVATE} www`]);
  });

  test("a URI that is of private keys shows the public key beside it, which may not be used", async () => {
    const c = await under(web("{ uri: 'pkcs11:token=test;id=%01;type=private', operations: [sign, verify] }"));
    expect(await shownBy(c)).toEqual([`${PUBLIC} www`, `${PRIVATE} www`]);
    const key = await c.handle("www", PUBLIC);
    const { session } = c;
    const init = () => c.app.call("C_VerifyInit", { session, mechanism: how("CKM_ECDSA"), key });
    expect(await rvOf(init)).toBe("CKR_ACTION_PROHIBITED");
  });

  test("the URI of another token names nothing here", async () => {
    const c = await under(web("{ uri: 'pkcs11:token=other;object=www', operations: [sign] }"));
    expect(await shownBy(c)).toEqual([]);
  });

  test("publicObjects shows public keys, and no private or secret one", async () => {
    const c = await under(web(SIGN_WWW, "publicObjects: true,"));
    expect(await shownBy(c)).toEqual([`${PUBLIC} mail`, `${PUBLIC} www`, `${PRIVATE} www`]);
  });

  test("a search tells what it found in parts, as many as were asked for", async () => {
    const c = await under(web(SIGN_WWW));
    const { session } = c;
    await c.app.call("C_FindObjectsInit", { session, template: [] });
    expect(await rvOf(() => c.app.call("C_FindObjectsInit", { session, template: [] }))).toBe("CKR_OPERATION_ACTIVE");
    const lengths: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      lengths.push((await c.app.call("C_FindObjects", { session, max: 1 })).objects.length);
    }
    expect(lengths).toEqual([1, 1, 0]);
    await c.app.call("C_FindObjectsFinal", { session });
    expect(await rvOf(() => c.app.call("C_FindObjects", { session, max: 1 }))).toBe("CKR_OPERATION_NOT_INITIALIZED");
    expect(await rvOf(() => c.app.call("C_FindObjectsFinal", { session }))).toBe("CKR_OPERATION_NOT_INITIALIZED");
  });

  test("a client that no rule is for is refused everything but the library itself", async () => {
    const rig = await tokenWithKeys();
    const policy = await readPolicy(web(SIGN_WWW), "policy.yaml");
    const refused: Refusal[] = [];
    for (const client of [{}, { uid: 34 }, { program: "/usr/sbin/nginx" }]) {
      const app = enforcePolicy({ policy, client, counters: NEVER, log: (r) => void refused.push(r) })(
        await rig.provider.open(),
      );
      expect(await rvOf(() => app.call("C_Initialize", { args: {} }))).toBe("CKR_OK");
      expect(await rvOf(() => app.call("C_GetSlotList", { tokenPresent: true }))).toBe("CKR_FUNCTION_REJECTED");
    }
    expect(refused.map(({ by, reason }) => `${by}: ${reason}`)).toEqual(
      Array(3).fill("policy.yaml: clients: no rule is for this client"),
    );
  });

  test("a rule that names uid and program is for clients of both", async () => {
    const yaml =
      "clients: { web: { uid: [33], program: [/usr/sbin/nginx], keys: [{ label: www, operations: [sign] }] } }";
    const rig = await tokenWithKeys();
    await expect(under(yaml, { rig, client: { uid: 33 } })).rejects.toThrow("no rule is for this client");
    const c = await under(yaml, { rig, client: { uid: 33, program: "/usr/sbin/nginx" } });
    expect(await shownBy(c)).toHaveLength(2);
  });
});

describe("keys that are granted", () => {
  test("sign as they may, and do nothing else", async () => {
    const c = await under(web(SIGN_WWW));
    const { app, session } = c;
    const key = await c.handle("www", PRIVATE);
    expect(await signWith(c, key)).toHaveLength(64);
    const mechanism = how("CKM_ECDH1_DERIVE", { kdf: 1, sharedData: new Uint8Array(), publicData: new Uint8Array(65) });
    const derive = () => app.call("C_DeriveKey", { session, mechanism, baseKey: key, template: [] });
    expect(await rvOf(derive)).toBe("CKR_ACTION_PROHIBITED");
    expect(await rvOf(() => app.call("C_DestroyObject", { session, object: key }))).toBe("CKR_ACTION_PROHIBITED");
    expect(c.refused.map(({ by, reason, operation }) => [by, reason, operation])).toEqual([
      ["policy.yaml: clients.web.keys.0", "derive is not allowed", "derive"],
      ["policy.yaml: clients.web", "destroy is not allowed: readOnly", "destroy"],
    ]);
  });

  test("sign with the mechanisms that are listed alone", async () => {
    const c = await under(web("{ label: www, operations: [sign], mechanisms: [CKM_ECDSA_SHA256] }"));
    const { app, session } = c;
    const key = await c.handle("www", PRIVATE);
    expect(await rvOf(() => signWith(c, key))).toBe("CKR_ACTION_PROHIBITED");
    expect(await rvOf(() => app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA_SHA256"), key }))).toBe(
      "CKR_OK",
    );
    expect(c.refused[0]).toMatchObject({ reason: "sign is not allowed with CKM_ECDSA", mechanism: "CKM_ECDSA" });
  });

  test("may be granted twice, for different mechanisms", async () => {
    const c = await under(
      web("{ label: www, operations: [derive] }, { id: 1, operations: [sign], mechanisms: [ECDSA] }"),
    );
    expect(await signWith(c, await c.handle("www", PRIVATE))).toHaveLength(64);
  });

  test("keep their secret attributes, though the token would tell them, unless they may be extracted", async () => {
    const read = async (operations: string) => {
      const c = await under(web(`{ label: box, operations: [${operations}] }`));
      const object = await c.handle("box", SECRET);
      const requests = [{ type: 0x3 }, { type: 0x11 }, { type: 0x102 }];
      return (await c.app.call("C_GetAttributeValue", { session: c.session, object, requests })).values;
    };
    const kept = await read("encrypt");
    expect(kept.rv).toBe(0x11);
    expect(kept.values.map(({ type, value }) => [type, value === undefined])).toEqual([
      [0x3, false],
      [0x11, true],
      [0x102, false],
    ]);
    const told = await read("extract");
    expect(told.values[1]!.value).toHaveLength(16);
  });

  test("do not leave the token wrapped by a key that the client made, unless extract is granted", async () => {
    const wrap = async (operations: string) => {
      const c = await under(web(`{ label: www, operations: [${operations}] }`, "createObjects: true,"));
      const { app, session } = c;
      const values = template({ CKA_VALUE: new Uint8Array(16), CKA_CLASS: SECRET, CKA_KEY_TYPE: 0x1f, CKA_WRAP: true });
      const { object: wrappingKey } = await app.call("C_CreateObject", { session, template: values });
      const key = await c.handle("www", PRIVATE);
      const mechanism = how("CKM_AES_KEY_WRAP_KWP");
      return rvOf(() => app.call("C_WrapKey", { session, mechanism, wrappingKey, key, room: 1000 }));
    };
    expect(await wrap("sign, wrap")).toBe("CKR_ACTION_PROHIBITED");
    expect(await wrap("extract")).toBe("CKR_OK");
  });

  test("are not copied out of the policy's reach", async () => {
    const c = await under(
      web("{ label: www, operations: [sign, derive, extract] }", "createObjects: true, readOnly: false,"),
    );
    const object = await c.handle("www", PRIVATE);
    expect(await rvOf(() => c.app.call("C_CopyObject", { session: c.session, object, template: [] }))).toBe(
      "CKR_ACTION_PROHIBITED",
    );
  });

  test("are changed where that is granted, but for what the policy knows them by", async () => {
    const yaml = web(
      "{ label: www, operations: [modify] }, { label: mail, operations: [sign, modify] }",
      "readOnly: false,",
    );
    const c = await under(yaml);
    const { app, session } = c;
    const object = await c.handle("www", PRIVATE);
    const set = (values: Parameters<typeof template>[0]) =>
      rvOf(() => app.call("C_SetAttributeValue", { session, object, template: template(values) }));
    expect(await set({ CKA_LABEL: "mail" })).toBe("CKR_ACTION_PROHIBITED");
    expect(await set({ CKA_LABEL: "www", CKA_DERIVE: false })).toBe("CKR_OK");
    const twice = [...template({ CKA_LABEL: "www" }), ...template({ CKA_LABEL: "mail" })];
    expect(await rvOf(() => app.call("C_SetAttributeValue", { session, object, template: twice }))).toBe(
      "CKR_TEMPLATE_INCONSISTENT",
    );
  });

  test("stay synchronous over a synchronous token", async () => {
    const c = await under(web(SIGN_WWW));
    const key = await c.handle("www", PRIVATE);
    const { session } = c;
    expect(isPromise(c.app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key }))).toBe(false);
    expect(isPromise(c.app.call("C_FindObjectsInit", { session, template: [] }))).toBe(false);
  });
});

describe("what a client makes", () => {
  test("nothing, unless it may", async () => {
    const c = await under(web(SIGN_WWW));
    const { app, session } = c;
    const values = template({ CKA_VALUE_LEN: 16 });
    const generate = () => app.call("C_GenerateKey", { session, mechanism: how("CKM_AES_KEY_GEN"), template: values });
    expect(await rvOf(generate)).toBe("CKR_ACTION_PROHIBITED");
    const create = () => app.call("C_CreateObject", { session, template: template({ CKA_CLASS: 0, CKA_VALUE: "x" }) });
    expect(await rvOf(create)).toBe("CKR_ACTION_PROHIBITED");
  });

  test("in its session it is its own, and of no other connection; in the token it needs a name of the policy", async () => {
    const yaml = web("{ label: www, operations: [encrypt] }", "createObjects: true, readOnly: false,");
    const c = await under(yaml);
    const { app, session } = c;
    const make = (values: Parameters<typeof template>[0]) =>
      app.call("C_GenerateKey", {
        session,
        mechanism: how("CKM_AES_KEY_GEN"),
        template: template({ CKA_VALUE_LEN: 16, CKA_ENCRYPT: true, ...values }),
      });
    const { key } = await make({ CKA_LABEL: "mine" });
    const mechanism = how("CKM_AES_CBC_PAD", new Uint8Array(16));
    expect(await rvOf(() => app.call("C_EncryptInit", { session, mechanism, key }))).toBe("CKR_OK");
    expect(await rvOf(() => make({ CKA_LABEL: "mine", CKA_TOKEN: true }))).toBe("CKR_ACTION_PROHIBITED");
    expect(await rvOf(() => make({ CKA_LABEL: "www", CKA_TOKEN: true }))).toBe("CKR_OK");
    const other = await under(yaml, { rig: c.rig });
    expect(await shownBy(other)).toEqual([`${PUBLIC} www`, `${PRIVATE} www`, `${SECRET} www`]);
  });

  test("with readOnly nothing in the token, which says so; not by derivation either", async () => {
    const c = await under(web("{ label: www, operations: [derive] }", "createObjects: true,"));
    const { app, session } = c;
    const { info } = await app.call("C_GetTokenInfo", { slot: c.rig.slot });
    expect(Number(info.flags) & 2).toBe(2);
    const object = await c.handle("www", PUBLIC);
    const { values } = await app.call("C_GetAttributeValue", { session, object, requests: [{ type: 0x181 }] });
    const publicData = (values.values[0]!.value as Uint8Array).subarray(2);
    const mechanism = how("CKM_ECDH1_DERIVE", { kdf: 1, sharedData: new Uint8Array(), publicData });
    const baseKey = await c.handle("www", PRIVATE);
    const derive = (values: Parameters<typeof template>[0]) =>
      rvOf(() =>
        app.call("C_DeriveKey", {
          session,
          mechanism,
          baseKey,
          template: template({ CKA_CLASS: SECRET, CKA_KEY_TYPE: 0x1f, CKA_VALUE_LEN: 16, ...values }),
        }),
      );
    expect(await derive({ CKA_TOKEN: true, CKA_LABEL: "www" })).toBe("CKR_ACTION_PROHIBITED");
    expect(await derive({})).toBe("CKR_OK");
  });
});

describe("logins and administration", () => {
  test("login: false refuses logins, and the SO's is refused unless setUp is allowed", async () => {
    const rig = await tokenWithKeys();
    await expect(under(web(SIGN_WWW, "login: false,"), { rig })).rejects.toThrow("login is not allowed");
    const c = await under(web(SIGN_WWW), { rig });
    const { app, session } = c;
    const so = () => app.call("C_Login", { session, userType: 0, pin: new Uint8Array(8) });
    expect(await rvOf(so)).toBe("CKR_ACTION_PROHIBITED");
    const setPin = () => app.call("C_SetPIN", { session, oldPin: new Uint8Array(8), newPin: new Uint8Array(8) });
    expect(await rvOf(setPin)).toBe("CKR_ACTION_PROHIBITED");
  });

  test("the state of operations is neither saved nor restored, and an unknown function is refused", async () => {
    const { app, session } = await under(web(SIGN_WWW));
    const state = { session, state: new Uint8Array(8), encryptionKey: 0, authenticationKey: 0 };
    expect(await rvOf(() => app.call("C_SetOperationState", state))).toBe("CKR_FUNCTION_REJECTED");
    expect(await rvOf(() => app.call("C_GetOperationState", { session, room: 100 }))).toBe("CKR_FUNCTION_REJECTED");
    expect(await rvOf(() => app.call("C_AsyncJoin" as FunctionName, { session } as never))).toBe(
      "CKR_FUNCTION_REJECTED",
    );
  });
});

test("what is refused stays refused where the log fails", async () => {
  const rig = await tokenWithKeys();
  const policy = await readPolicy(web(SIGN_WWW), "policy.yaml");
  const log = () => Promise.reject(new Error("the disk is full"));
  const app = enforcePolicy({ policy, client: {}, counters: NEVER, log })(await rig.provider.open());
  expect(await rvOf(() => app.call("C_GetSlotList", { tokenPresent: true }))).toBe("CKR_FUNCTION_REJECTED");
});

test("errors of the layer say who refused, for whoever is on this side", async () => {
  const c = await under(web(SIGN_WWW));
  const key = await c.handle("www", PRIVATE);
  const { session } = c;
  const decrypt = async () => c.app.call("C_DecryptInit", { session, mechanism: how("CKM_RSA_PKCS"), key });
  const error = (await decrypt().catch((e: unknown) => e)) as CryptokiError;
  expect(error.message).toBe("C_DecryptInit: CKR_ACTION_PROHIBITED, the object forbids this: decrypt is not allowed");
  expect(error.hints).toEqual(["policy.yaml: clients.web.keys.0 refused it"]);
});
