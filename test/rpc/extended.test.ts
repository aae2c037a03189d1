/** What only two Keywrights carry: functions of 3.2, parameters with pointers in them, parameters that a call changed. */
import { expect, onTestFinished, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import type { Cryptoki, FunctionName, Mechanism, Provider } from "../../src/cryptoki/port.ts";
import { openProvider } from "../../src/modules/index.ts";
import { CKA } from "../../src/spec/attributes.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { served } from "../support/served.ts";

/** What arrives at an application behind our server, and what it answers. */
async function behind(answer: (fn: FunctionName) => unknown): Promise<{ p11: Cryptoki; arrived: [string, unknown][] }> {
  const arrived: [string, unknown][] = [];
  const provider: Provider = {
    open: () => ({
      call: (fn, args) => {
        // The memory of a request is wiped once it is answered.
        arrived.push([fn, structuredClone(args)]);
        return answer(fn) as never;
      },
    }),
    close: () => undefined,
  };
  const server = await served(provider);
  const client = openProvider({ module: server.address });
  onTestFinished(async () => {
    await client.close();
    await server.close();
  });
  const p11 = await client.open();
  await p11.call("C_Initialize", { args: {} });
  arrived.length = 0;
  return { p11, arrived };
}

const plain = (value: unknown) =>
  JSON.parse(JSON.stringify(value, (_key, one) => (one instanceof Uint8Array ? [...one] : one))) as unknown;

const bytes = utf8("some bytes");
const template = [
  { type: CKA.CKA_LABEL[0], value: utf8("label") },
  { type: CKA.CKA_ENCAPSULATE_TEMPLATE[0], value: [{ type: CKA.CKA_SIGN[0], value: true }] },
  { type: CKA.CKA_PARAMETER_SET[0], value: 2 },
];
const mechanism: Mechanism = { type: CKM.CKM_ML_KEM[0] };

test("every function of 3.2, what it is given and what it answers", async () => {
  const answers: Partial<Record<FunctionName, unknown>> = {
    C_EncapsulateKey: { output: { bytes }, key: 7 },
    C_DecapsulateKey: { key: 8 },
    C_GetSessionValidationFlags: { flags: 3 },
    C_WrapKeyAuthenticated: { output: { needed: 40 } },
    C_UnwrapKeyAuthenticated: { key: 9 },
  };
  const { p11, arrived } = await behind((fn) => answers[fn] ?? {});
  const calls = [
    ["C_EncapsulateKey", { session: 1, mechanism, publicKey: 2, template, room: 1000 }],
    ["C_DecapsulateKey", { session: 1, mechanism, privateKey: 2, template, ciphertext: bytes }],
    ["C_VerifySignatureInit", { session: 1, mechanism, key: 2, signature: bytes }],
    ["C_VerifySignature", { session: 1, data: bytes }],
    ["C_VerifySignatureUpdate", { session: 1, data: bytes }],
    ["C_VerifySignatureFinal", { session: 1 }],
    ["C_GetSessionValidationFlags", { session: 1, type: 1 }],
    ["C_WrapKeyAuthenticated", { session: 1, mechanism, wrappingKey: 2, key: 3, associatedData: bytes, room: null }],
    [
      "C_UnwrapKeyAuthenticated",
      { session: 1, mechanism, unwrappingKey: 2, wrapped: bytes, template, associatedData: bytes },
    ],
  ] as const;
  for (const [fn, args] of calls) {
    expect(plain(await p11.call(fn, args as never))).toEqual(plain(answers[fn] ?? {}));
    expect(plain(arrived.pop())).toEqual(plain([fn, args]));
  }
});

test.each<[string, Mechanism]>([
  ["EdDSA with a context", { type: CKM.CKM_EDDSA[0], parameter: { phFlag: true, contextData: bytes } }],
  [
    "HKDF",
    {
      type: CKM.CKM_HKDF_DERIVE[0],
      parameter: {
        extract: true,
        expand: true,
        prfHashMechanism: CKM.CKM_SHA256[0],
        saltType: 2,
        salt: bytes,
        saltKey: 0,
        info: bytes,
      },
    },
  ],
  [
    "RSA-AES",
    {
      type: CKM.CKM_RSA_AES_KEY_WRAP[0],
      parameter: { aesKeyBits: 256, oaep: { hashAlg: CKM.CKM_SHA256[0], mgf: 2, source: 1, sourceData: bytes } },
    },
  ],
  ["AES-CTR", { type: CKM.CKM_AES_CTR[0], parameter: { counterBits: 32, counterBlock: new Uint8Array(16) } }],
  ["a parameter that is bytes", { type: 0x8000_0001, parameter: bytes }],
])("a parameter with pointers in it: %s", async (_name, given) => {
  const { p11, arrived } = await behind(() => ({}));
  await p11.call("C_SignInit", { session: 1, mechanism: given, key: 2 });
  expect(plain(arrived)).toEqual(plain([["C_SignInit", { session: 1, mechanism: given, key: 2 }]]));
});

test("a parameter that a call changed: a mechanism's, and a message's", async () => {
  const gcm = { iv: utf8("made by the "), ivBits: 96, aad: bytes, tagBits: 128 };
  const { p11 } = await behind((fn) =>
    fn === "C_EncryptInit" ? { parameter: gcm } : { output: { bytes }, parameter: utf8("message") },
  );
  const init = await p11.call("C_EncryptInit", {
    session: 1,
    mechanism: { type: CKM.CKM_AES_GCM[0], parameter: { ...gcm, iv: new Uint8Array(12) } },
    key: 2,
  });
  expect(plain(init)).toEqual(plain({ parameter: gcm }));
  const message = await p11.call("C_EncryptMessage", {
    session: 1,
    parameter: bytes,
    associatedData: bytes,
    data: bytes,
    room: 100,
  });
  expect(plain(message)).toEqual(plain({ output: { bytes }, parameter: utf8("message") }));
});
