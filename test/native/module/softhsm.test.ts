/** The native side against SoftHSM2, in this process. */
import { createPublicKey, verify } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toHex, utf8 } from "../../../src/codec/bytes.ts";
import { CryptokiError } from "../../../src/cryptoki/errors.ts";
import type { Attribute, Cryptoki, Ulong } from "../../../src/cryptoki/port.ts";
import { nativeModule } from "../../../src/native/module/index.ts";
import { CKA } from "../../../src/spec/attributes.ts";
import { CKM } from "../../../src/spec/mechanisms.ts";
import { CKK, CKO } from "../../../src/spec/objects.ts";
import { CKR } from "../../../src/spec/returns.ts";
import { UNAVAILABLE_INFORMATION } from "../../../src/spec/structures.ts";
import { peer } from "../../support/peers.ts";
import { softHsm } from "../../support/softhsm.ts";

const P256 = Buffer.from("06082a8648ce3d030107", "hex");
const PIN = utf8("1234");

describe.skipIf(!peer("softhsm2"))("SoftHSM2, direct", () => {
  const hsm = softHsm();
  const provider = nativeModule(hsm);
  let p11: Cryptoki;
  let slot: Ulong;
  let session: Ulong;

  beforeAll(async () => {
    p11 = await provider.open();
    await p11.call("C_Initialize", { args: {} });
    const [free] = (await p11.call("C_GetSlotList", { tokenPresent: true })).slots;
    await p11.call("C_InitToken", { slot: free!, pin: utf8("5678"), label: utf8("a token") });
    const { slots } = await p11.call("C_GetSlotList", { tokenPresent: true });
    slot = slots[0]!;
    const so = await p11.call("C_OpenSession", { slot, flags: 6 });
    await p11.call("C_Login", { session: so.session, userType: 0, pin: utf8("5678") });
    await p11.call("C_InitPIN", { session: so.session, pin: PIN });
    await p11.call("C_CloseSession", { session: so.session });
    session = (await p11.call("C_OpenSession", { slot, flags: 6 })).session;
    await p11.call("C_Login", { session, userType: 1, pin: PIN });
  });

  afterAll(async () => {
    await provider.close();
    hsm.remove();
  });

  async function keyPair(extra: Attribute[] = []) {
    return p11.call("C_GenerateKeyPair", {
      session,
      mechanism: { type: CKM.CKM_EC_KEY_PAIR_GEN[0] },
      publicTemplate: [
        { type: CKA.CKA_EC_PARAMS[0], value: P256 },
        { type: CKA.CKA_VERIFY[0], value: true },
      ],
      privateTemplate: [{ type: CKA.CKA_SIGN[0], value: true }, ...extra],
    });
  }

  async function secret(value: Uint8Array, extra: Attribute[] = []): Promise<Ulong> {
    const { object } = await p11.call("C_CreateObject", {
      session,
      template: [
        { type: CKA.CKA_CLASS[0], value: CKO.CKO_SECRET_KEY[0] },
        { type: CKA.CKA_KEY_TYPE[0], value: CKK.CKK_AES[0] },
        { type: CKA.CKA_SENSITIVE[0], value: false },
        { type: CKA.CKA_EXTRACTABLE[0], value: true },
        { type: CKA.CKA_ENCRYPT[0], value: true },
        { type: CKA.CKA_DECRYPT[0], value: true },
        { type: CKA.CKA_VALUE[0], value },
        ...extra,
      ],
    });
    return object;
  }

  describe("two applications of one library share its login, and neither ends the other's", () => {
    const second = nativeModule(hsm);
    let other: Cryptoki;
    const state = async (of: Ulong) => Number((await p11.call("C_GetSessionInfo", { session: of })).info.state);
    const READ_WRITE_USER = 3;
    const READ_WRITE_PUBLIC = 2;
    const login = (to: Cryptoki, of: Ulong) => to.call("C_Login", { session: of, userType: 1, pin: PIN });

    beforeAll(async () => {
      other = await second.open();
      await other.call("C_Initialize", { args: {} });
    });
    afterAll(async () => {
      await second.close();
      if ((await state(session)) !== READ_WRITE_USER) await login(p11, session);
    });

    test("the first logs out, and the second stays logged in until it closes its last session", async () => {
      const { session: its } = await other.call("C_OpenSession", { slot, flags: 6 });
      const { session: another } = await other.call("C_OpenSession", { slot, flags: 6 });
      await expect(Promise.resolve(login(other, its))).rejects.toThrow("CKR_USER_ALREADY_LOGGED_IN");
      await p11.call("C_Logout", { session });
      expect(await state(its)).toBe(READ_WRITE_USER);
      expect(() => p11.call("C_Logout", { session })).toThrow("CKR_USER_NOT_LOGGED_IN");
      await other.call("C_CloseSession", { session: another });
      expect(await state(its)).toBe(READ_WRITE_USER);
      await other.call("C_CloseSession", { session: its });
      expect(await state(session)).toBe(READ_WRITE_PUBLIC);
      await login(p11, session);
    });

    test("the second logs out, or ends, and the first stays logged in", async () => {
      const { session: its } = await other.call("C_OpenSession", { slot, flags: 6 });
      await expect(Promise.resolve(login(other, its))).rejects.toThrow("CKR_USER_ALREADY_LOGGED_IN");
      await other.call("C_Logout", { session: its });
      expect(await state(session)).toBe(READ_WRITE_USER);
      await expect(Promise.resolve(login(other, its))).rejects.toThrow("CKR_USER_ALREADY_LOGGED_IN");
      await other.call("C_CloseAllSessions", { slot });
      expect(await state(session)).toBe(READ_WRITE_USER);
      await other.call("C_Finalize", {});
      expect(await state(session)).toBe(READ_WRITE_USER);
      await other.call("C_Initialize", { args: {} });
    });

    test("one that ends while it alone is logged in leaves nobody logged in", async () => {
      await p11.call("C_Logout", { session });
      const { session: its } = await other.call("C_OpenSession", { slot, flags: 6 });
      await login(other, its);
      expect(await state(session)).toBe(READ_WRITE_USER);
      await other.call("C_Finalize", {});
      expect(await state(session)).toBe(READ_WRITE_PUBLIC);
      await login(p11, session);
    });
  });

  test("texts come without their padding", async () => {
    const { info } = await p11.call("C_GetTokenInfo", { slot });
    expect(info.label).toBe("a token");
    expect(info.manufacturerID).toBe("SoftHSM project");
  });

  test("CK_UNAVAILABLE_INFORMATION is a bigint of all ones, and small numbers are numbers", async () => {
    const { info } = await p11.call("C_GetTokenInfo", { slot });
    expect(info.totalPublicMemory).toBe(UNAVAILABLE_INFORMATION);
    expect(info.maxSessionCount).toBe(0);
  });

  test("a quick call answers at once, a slow one with a promise", () => {
    expect(p11.call("C_GetSessionInfo", { session })).toMatchObject({ info: { slotID: slot, state: 3 } });
    const login = p11.call("C_Login", { session, userType: 1, pin: PIN }) as Promise<unknown>;
    expect(login).toBeInstanceOf(Promise);
    return expect(login).rejects.toThrow("CKR_USER_ALREADY_LOGGED_IN");
  });

  test("calls in one session keep their order, although the first runs on another thread", async () => {
    const order: string[] = [];
    const slow = Promise.resolve(
      p11.call("C_GenerateKeyPair", {
        session,
        mechanism: { type: CKM.CKM_RSA_PKCS_KEY_PAIR_GEN[0] },
        publicTemplate: [{ type: CKA.CKA_MODULUS_BITS[0], value: 2048 }],
        privateTemplate: [],
      }),
    ).then(() => order.push("key"));
    const quick = Promise.resolve(p11.call("C_GetSessionInfo", { session })).then(() => order.push("info"));
    const other = await p11.call("C_OpenSession", { slot, flags: 4 });
    order.push("another session");
    await Promise.all([slow, quick]);
    expect(order).toEqual(["another session", "key", "info"]);
    await p11.call("C_CloseSession", other);
  });

  test("a signature verifies with the public key that the token gives out", async () => {
    const { publicKey, privateKey } = await keyPair();
    const { values } = (
      await p11.call("C_GetAttributeValue", { session, object: publicKey, requests: [{ type: CKA.CKA_EC_POINT[0] }] })
    ).values;
    const point = (values[0]!.value as Uint8Array).subarray(2);
    const spki = Buffer.concat([Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex"), point]);
    const key = createPublicKey({ key: spki, format: "der", type: "spki" });
    const data = utf8("some data");
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", Buffer.from(data)));
    await p11.call("C_SignInit", { session, mechanism: { type: CKM.CKM_ECDSA[0] }, key: privateKey });
    const size = await p11.call("C_Sign", { session, data: digest, room: null });
    expect(size.output).toEqual({ needed: 64 });
    expect((await p11.call("C_Sign", { session, data: digest, room: 10 })).output).toEqual({ needed: 64 });
    const { output } = await p11.call("C_Sign", { session, data: digest, room: 64 });
    const { bytes } = output as { bytes: Uint8Array };
    expect(verify("sha256", data, { key, dsaEncoding: "ieee-p1363" }, bytes)).toBe(true);
  });

  test("a failed call says which function, what it answered and about what", () => {
    const mechanism = { type: CKM.CKM_ECDSA[0] };
    expect(() => p11.call("C_SignInit", { session, mechanism, key: 424242 })).toThrow(
      `C_SignInit: CKR_OBJECT_HANDLE_INVALID, there is no object of that handle: session ${session}, mechanism CKM_ECDSA, key 424242`,
    );
  });

  test("what a key has not, may not give out, and what did not fit are told apart", async () => {
    const { privateKey } = await keyPair([{ type: CKA.CKA_LABEL[0], value: utf8("x".repeat(3000)) }]);
    const reply = await p11.call("C_GetAttributeValue", {
      session,
      object: privateKey,
      requests: [
        { type: CKA.CKA_LABEL[0] },
        { type: CKA.CKA_VALUE[0] },
        { type: CKA.CKA_MODULUS[0] },
        { type: CKA.CKA_SIGN[0] },
        { type: CKA.CKA_LABEL[0], room: 100 },
        { type: CKA.CKA_LABEL[0], room: null },
        { type: CKA.CKA_KEY_TYPE[0] },
      ],
    });
    const [label, value, modulus, sign, small, length, type] = reply.values.values;
    expect(label!.value).toHaveLength(3000);
    expect(value).toEqual({ type: CKA.CKA_VALUE[0] });
    expect(modulus).toEqual({ type: CKA.CKA_MODULUS[0] });
    expect(sign!.value).toBe(true);
    expect(small).toEqual({ type: CKA.CKA_LABEL[0], needed: 3000 });
    expect(length).toEqual({ type: CKA.CKA_LABEL[0], needed: 3000 });
    expect(type!.value).toBe(CKK.CKK_EC[0]);
    expect([CKR.CKR_ATTRIBUTE_SENSITIVE[0], CKR.CKR_ATTRIBUTE_TYPE_INVALID[0]]).toContain(reply.values.rv);
  });

  test("what only did not fit the first guess is no fault", async () => {
    const key = await secret(new Uint8Array(16), [{ type: CKA.CKA_LABEL[0], value: utf8("y".repeat(1000)) }]);
    const { values } = await p11.call("C_GetAttributeValue", {
      session,
      object: key,
      requests: [{ type: CKA.CKA_LABEL[0] }, { type: CKA.CKA_VALUE[0] }],
    });
    expect(values.rv).toBe(CKR.CKR_OK[0]);
    expect(values.values.map(({ value }) => (value as Uint8Array).length)).toEqual([1000, 16]);
  });

  test("templates and lists within attributes go both ways", async () => {
    const template = [
      { type: CKA.CKA_LABEL[0], value: utf8("inner") },
      { type: CKA.CKA_EXTRACTABLE[0], value: true },
    ];
    const key = await secret(new Uint8Array(16), [
      { type: CKA.CKA_WRAP[0], value: true },
      { type: CKA.CKA_WRAP_TEMPLATE[0], value: template },
      { type: CKA.CKA_ALLOWED_MECHANISMS[0], value: [CKM.CKM_AES_ECB[0], CKM.CKM_AES_GCM[0]] },
    ]);
    const { values } = await p11.call("C_GetAttributeValue", {
      session,
      object: key,
      requests: [{ type: CKA.CKA_WRAP_TEMPLATE[0] }, { type: CKA.CKA_ALLOWED_MECHANISMS[0] }],
    });
    const [wrap, allowed] = values.values;
    expect(values.rv).toBe(CKR.CKR_OK[0]);
    expect(new Map((wrap!.value as Attribute[]).map(({ type, value }) => [type, value]))).toEqual(
      new Map(template.map(({ type, value }) => [type, value])),
    );
    expect(new Set(allowed!.value as number[])).toEqual(new Set([CKM.CKM_AES_ECB[0], CKM.CKM_AES_GCM[0]]));
  });

  test("structured parameters reach the module: AES-GCM against its published vector", async () => {
    // McGrew and Viega, test case 4: with additional data and a 96-bit IV.
    const key = await secret(Buffer.from("feffe9928665731c6d6a8f9467308308", "hex"));
    const parameter = {
      iv: Buffer.from("cafebabefacedbaddecaf888", "hex"),
      ivBits: 96,
      aad: Buffer.from("feedfacedeadbeeffeedfacedeadbeefabaddad2", "hex"),
      tagBits: 128,
    };
    await p11.call("C_EncryptInit", { session, mechanism: { type: CKM.CKM_AES_GCM[0], parameter }, key });
    const data = Buffer.from(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
      "hex",
    );
    const { output } = await p11.call("C_Encrypt", { session, data, room: 100 });
    expect(toHex((output as { bytes: Uint8Array }).bytes)).toBe(
      "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47",
    );
  });

  test("finding returns at most as many handles as asked for", async () => {
    await secret(new Uint8Array(16));
    await secret(new Uint8Array(16));
    const template = [{ type: CKA.CKA_CLASS[0], value: CKO.CKO_SECRET_KEY[0] }];
    await p11.call("C_FindObjectsInit", { session, template });
    expect((await p11.call("C_FindObjects", { session, max: 1 })).objects).toHaveLength(1);
    expect((await p11.call("C_FindObjects", { session, max: 100 })).objects.length).toBeGreaterThan(0);
    await p11.call("C_FindObjectsFinal", { session });
  });

  test("random bytes come in the length asked for", async () => {
    const { random } = await p11.call("C_GenerateRandom", { session, length: 100_000 });
    expect(random).toHaveLength(100_000);
    expect(random.some((byte) => byte !== 0)).toBe(true);
  });

  test("a second application shares the library, and its end leaves the first one's sessions open", async () => {
    const second = await provider.open();
    expect(() => second.call("C_GetInfo", {})).toThrow("CKR_CRYPTOKI_NOT_INITIALIZED");
    await second.call("C_Initialize", { args: {} });
    expect(() => second.call("C_Initialize", { args: {} })).toThrow("CKR_CRYPTOKI_ALREADY_INITIALIZED");
    const theirs = (await second.call("C_OpenSession", { slot, flags: 4 })).session;
    const more = (await second.call("C_OpenSession", { slot, flags: 4 })).session;
    await second.call("C_CloseAllSessions", { slot });
    expect(() => second.call("C_GetSessionInfo", { session: more })).toThrow("CKR_SESSION_HANDLE_INVALID");
    expect(p11.call("C_GetSessionInfo", { session })).toMatchObject({ info: { slotID: slot } });
    const last = (await second.call("C_OpenSession", { slot, flags: 4 })).session;
    await second.call("C_Finalize", {});
    expect(() => p11.call("C_GetSessionInfo", { session: theirs })).toThrow("CKR_SESSION_HANDLE_INVALID");
    expect(() => p11.call("C_GetSessionInfo", { session: last })).toThrow("CKR_SESSION_HANDLE_INVALID");
    expect(p11.call("C_GetSessionInfo", { session })).toMatchObject({ info: { slotID: slot } });
  });

  test("the same library with another environment or pReserved is refused in this process", () => {
    const environment = { SOFTHSM2_CONF: "/nowhere" };
    expect(() => nativeModule({ path: hsm.path, environment }).open()).toThrow("with another environment");
    expect(() => nativeModule({ ...hsm, reserved: "x" }).open()).toThrow("with another pReserved");
  });

  test("a function that the module has not is an error of its own", () => {
    expect(() => p11.call("C_SessionCancel", { session, flags: 0 })).toThrow(CryptokiError);
    expect(() => p11.call("C_SessionCancel", { session, flags: 0 })).toThrow("CKR_FUNCTION_NOT_SUPPORTED");
  });
});
