/** What modules do that the standard does not foresee, or that only 3.x has. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { utf8 } from "../../../src/codec/bytes.ts";
import type { Cryptoki } from "../../../src/cryptoki/port.ts";
import { type NativeProvider, nativeModule } from "../../../src/native/module/index.ts";
import { CKA } from "../../../src/spec/attributes.ts";
import { CKM } from "../../../src/spec/mechanisms.ts";
import { UNAVAILABLE_INFORMATION } from "../../../src/spec/structures.ts";
import { hasCompiler, type Odd, odd } from "../../support/odd.ts";

describe.skipIf(!hasCompiler)("an odd module, direct", () => {
  let module: Odd;
  let provider: NativeProvider;
  let p11: Cryptoki;
  let session: number | bigint;

  beforeAll(async () => {
    module = odd();
    provider = nativeModule({ path: module.path, environment: { ODD_TEXT: "from here" }, reserved: "a string" });
    p11 = await provider.open();
    await p11.call("C_Initialize", { args: {} });
    session = (await p11.call("C_OpenSession", { slot: 7, flags: 4 })).session;
  });

  afterAll(async () => {
    await provider.close();
    module.remove();
  });

  test("the environment is there when it is loaded, and pReserved when it is initialised", async () => {
    expect((await p11.call("C_GetInfo", {})).info.manufacturerID).toBe("from here");
    expect((await p11.call("C_GetTokenInfo", { slot: 7 })).info.label).toBe("a string");
  });

  test("a text that ends with zeros ends there", async () => {
    expect((await p11.call("C_GetTokenInfo", { slot: 7 })).info.serialNumber).toBe("1");
  });

  test("a handle beyond 2^53 is a bigint, and goes back as it came", async () => {
    expect(session).toBe(0xffff_ffff_ffff_fff1n);
    expect((await p11.call("C_GetSessionInfo", { session })).info).toEqual({
      slotID: 7,
      state: 3,
      flags: 6,
      deviceError: UNAVAILABLE_INFORMATION,
    });
    const inOrder = p11.call("C_CloseSession", {
      session: (await p11.call("C_OpenSession", { slot: 7, flags: 4 })).session,
    });
    expect(await inOrder).toEqual({});
  });

  test("values of an unexpected size are read where that is clear, and are bytes where it is not", async () => {
    const names = ["KEY_TYPE", "CLASS", "TOKEN", "MODULUS_BITS", "SENSITIVE", "VALUE_LEN", "CHECK_VALUE"] as const;
    const requests = names.map((name) => ({ type: CKA[`CKA_${name}`][0] }));
    const { values } = await p11.call("C_GetAttributeValue", { session, object: 1, requests });
    expect(values.rv).toBe(0);
    expect(values.values.map(({ value }) => value)).toEqual([
      3, // four bytes
      3, // two bytes
      new Uint8Array(), // a CK_BBOOL of no byte is neither true nor false
      UNAVAILABLE_INFORMATION,
      true, // eight bytes
      Uint8Array.of(3, 0, 0), // three bytes are no number of any machine
      Uint8Array.of(255, 255, 255, 255),
    ]);
  });

  test("an initialisation vector that the module made comes back with the reply", async () => {
    const parameter = { iv: new Uint8Array(12), ivBits: 96, aad: utf8("aad"), tagBits: 128 };
    const mechanism = { type: CKM.CKM_AES_GCM[0], parameter };
    const reply = await p11.call("C_EncryptInit", { session, mechanism, key: 1 });
    expect(reply).toEqual({ parameter: { ...parameter, iv: new Uint8Array(12).fill(0xab) } });
    const known = { ...parameter, iv: new Uint8Array(12).fill(0xab) };
    const again = await p11.call("C_EncryptInit", { session, mechanism: { ...mechanism, parameter: known }, key: 1 });
    expect(again).toEqual({});
  });

  test("one that it makes only when it encrypts comes back then, once", async () => {
    const parameter = { iv: new Uint8Array(12), ivBits: 96, aad: utf8("aad"), tagBits: 128 };
    await p11.call("C_EncryptInit", { session, mechanism: { type: CKM.CKM_AES_GCM[0], parameter }, key: 1 });
    // In between the memory of calls is used by others.
    await p11.call("C_GetAttributeValue", { session, object: 1, requests: [{ type: CKA.CKA_CHECK_VALUE[0] }] });
    const update = { session, data: utf8("x"), room: 16 };
    expect(await p11.call("C_EncryptUpdate", update)).toEqual({
      output: { bytes: new Uint8Array() },
      parameter: { ...parameter, iv: new Uint8Array(12).fill(0xcd) },
    });
    expect(await p11.call("C_EncryptUpdate", update)).toEqual({ output: { bytes: new Uint8Array() } });
  });

  test("a module that claims more output than it had room for is not believed", () => {
    expect(() => p11.call("C_Digest", { session, data: utf8("x"), room: 16 })).toThrow(
      "C_Digest: CKR_GENERAL_ERROR, the module failed without saying why: the module says 17 bytes where 16 were offered",
    );
  });

  test("a message's parameter comes back changed, with and without room for the output (3.0)", async () => {
    const message = { session, parameter: Uint8Array.of(1, 2, 3), associatedData: Uint8Array.of(1), data: utf8("abc") };
    const reply = await p11.call("C_EncryptMessage", { ...message, room: 3 });
    expect(reply).toEqual({ output: { bytes: utf8("`cb") }, parameter: Uint8Array.of(254, 2, 3) });
  });

  test("a key and its ciphertext come together (3.2)", async () => {
    const given = { session, mechanism: { type: CKM.CKM_ML_KEM[0] }, publicKey: 1, template: [] };
    expect((await p11.call("C_EncapsulateKey", { ...given, room: null })).output).toEqual({ needed: 5 });
    expect((await p11.call("C_EncapsulateKey", { ...given, room: 4 })).output).toEqual({ needed: 5 });
    expect(await p11.call("C_EncapsulateKey", { ...given, room: 5 })).toEqual({
      output: { bytes: utf8("12345") },
      key: 77,
    });
  });

  test("C_Finalize ends a call that waits for an event", async () => {
    const waiting = Promise.resolve(p11.call("C_WaitForSlotEvent", { flags: 0 }));
    expect(provider.isBusy()).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await Promise.all([expect(waiting).rejects.toThrow("CKR_CRYPTOKI_NOT_INITIALIZED"), p11.call("C_Finalize", {})]);
    expect(provider.isBusy()).toBe(false);
    await p11.call("C_Initialize", { args: {} });
    expect((await p11.call("C_GetTokenInfo", { slot: 7 })).info.serialNumber).toBe("2");
  });
});
