/**
 * The functions of PKCS#11, in the order of CK_FUNCTION_LIST (2.40), CK_FUNCTION_LIST_3_0 and CK_FUNCTION_LIST_3_2.
 *
 * A row names the parameters in the order of the C prototype. Those in `in` are what the caller gives, those in `out`
 * what it gets; every input comes before every output, but for `C_WaitForSlotEvent`, whose reserved pointer is last.
 * The types of the port, the C calls and the trace are all read from here.
 *
 * Where `room` stands among the inputs, the C prototype has the output's pointer and length.
 *
 * Not listed: C_GetFunctionList, C_GetInterfaceList and C_GetInterface, which a module's loader calls itself, and 3.2's
 * C_AsyncComplete, C_AsyncGetID and C_AsyncJoin (their places, 99 to 101, stay free), because no callback crosses the port.
 * @module
 */

/**
 * What is given.
 * - `ulong` a number · `bool` CK_BBOOL · `bytes` pointer and length · `pin` the same, may be null, is secret
 * - `label` 32 bytes, blank-padded · `username` bytes that name a user
 * - `mechanism` CK_MECHANISM · `mechanismOrNull` null cancels the operation (3.0)
 * - `template` a list of attributes · `requests` the attributes to read
 * - `room` how many bytes the output may take; null asks for the size · `count` how many to return
 * - `parameter` a message's parameter, which the module may change (3.0)
 * - `initArgs` CK_C_INITIALIZE_ARGS · `null` a pointer that is always NULL
 */
export type InputKind =
  | "ulong"
  | "bool"
  | "bytes"
  | "pin"
  | "label"
  | "username"
  | "mechanism"
  | "mechanismOrNull"
  | "template"
  | "requests"
  | "room"
  | "count"
  | "parameter"
  | "initArgs"
  | "null";

/**
 * What is got.
 * - `ulong` a number · `ulongs` a list of numbers · `output` bytes, or the size needed · `random` as many bytes as asked
 * - `found` up to `count` handles · `values` the attributes read
 * - `info`, `slotInfo`, `tokenInfo`, `sessionInfo`, `mechanismInfo` a structure
 */
export type OutputKind =
  | "ulong"
  | "ulongs"
  | "output"
  | "random"
  | "found"
  | "values"
  | "info"
  | "slotInfo"
  | "tokenInfo"
  | "sessionInfo"
  | "mechanismInfo";

export interface FunctionRow {
  /** Its place in the function list of `since`, counted from 0 (C_Initialize). */
  readonly index: number;
  readonly since?: "3.0" | "3.2";
  readonly in: Readonly<Record<string, InputKind>>;
  readonly out: Readonly<Record<string, OutputKind>>;
}

const session = { session: "ulong" } as const;
const init = { ...session, mechanism: "mechanism", key: "ulong" } as const;
const initOrCancel = { ...session, mechanism: "mechanismOrNull", key: "ulong" } as const;
const transform = { ...session, data: "bytes", room: "room" } as const;
const output = { output: "output" } as const;

export const FUNCTIONS = {
  C_Initialize: { index: 0, in: { args: "initArgs" }, out: {} },
  C_Finalize: { index: 1, in: { reserved: "null" }, out: {} },
  C_GetInfo: { index: 2, in: {}, out: { info: "info" } },
  C_GetSlotList: { index: 4, in: { tokenPresent: "bool" }, out: { slots: "ulongs" } },
  C_GetSlotInfo: { index: 5, in: { slot: "ulong" }, out: { info: "slotInfo" } },
  C_GetTokenInfo: { index: 6, in: { slot: "ulong" }, out: { info: "tokenInfo" } },
  C_GetMechanismList: { index: 7, in: { slot: "ulong" }, out: { mechanisms: "ulongs" } },
  C_GetMechanismInfo: { index: 8, in: { slot: "ulong", type: "ulong" }, out: { info: "mechanismInfo" } },
  C_InitToken: { index: 9, in: { slot: "ulong", pin: "pin", label: "label" }, out: {} },
  C_InitPIN: { index: 10, in: { ...session, pin: "pin" }, out: {} },
  C_SetPIN: { index: 11, in: { ...session, oldPin: "pin", newPin: "pin" }, out: {} },
  C_OpenSession: {
    index: 12,
    in: { slot: "ulong", flags: "ulong", application: "null", notify: "null" },
    out: { session: "ulong" },
  },
  C_CloseSession: { index: 13, in: session, out: {} },
  C_CloseAllSessions: { index: 14, in: { slot: "ulong" }, out: {} },
  C_GetSessionInfo: { index: 15, in: session, out: { info: "sessionInfo" } },
  C_GetOperationState: { index: 16, in: { ...session, room: "room" }, out: output },
  C_SetOperationState: {
    index: 17,
    in: { ...session, state: "bytes", encryptionKey: "ulong", authenticationKey: "ulong" },
    out: {},
  },
  C_Login: { index: 18, in: { ...session, userType: "ulong", pin: "pin" }, out: {} },
  C_Logout: { index: 19, in: session, out: {} },
  C_CreateObject: { index: 20, in: { ...session, template: "template" }, out: { object: "ulong" } },
  C_CopyObject: { index: 21, in: { ...session, object: "ulong", template: "template" }, out: { copy: "ulong" } },
  C_DestroyObject: { index: 22, in: { ...session, object: "ulong" }, out: {} },
  C_GetObjectSize: { index: 23, in: { ...session, object: "ulong" }, out: { size: "ulong" } },
  C_GetAttributeValue: {
    index: 24,
    in: { ...session, object: "ulong", requests: "requests" },
    out: { values: "values" },
  },
  C_SetAttributeValue: { index: 25, in: { ...session, object: "ulong", template: "template" }, out: {} },
  C_FindObjectsInit: { index: 26, in: { ...session, template: "template" }, out: {} },
  C_FindObjects: { index: 27, in: { ...session, max: "count" }, out: { objects: "found" } },
  C_FindObjectsFinal: { index: 28, in: session, out: {} },
  C_EncryptInit: { index: 29, in: initOrCancel, out: {} },
  C_Encrypt: { index: 30, in: transform, out: output },
  C_EncryptUpdate: { index: 31, in: transform, out: output },
  C_EncryptFinal: { index: 32, in: { ...session, room: "room" }, out: output },
  C_DecryptInit: { index: 33, in: initOrCancel, out: {} },
  C_Decrypt: { index: 34, in: transform, out: output },
  C_DecryptUpdate: { index: 35, in: transform, out: output },
  C_DecryptFinal: { index: 36, in: { ...session, room: "room" }, out: output },
  C_DigestInit: { index: 37, in: { ...session, mechanism: "mechanismOrNull" }, out: {} },
  C_Digest: { index: 38, in: transform, out: output },
  C_DigestUpdate: { index: 39, in: { ...session, data: "bytes" }, out: {} },
  C_DigestKey: { index: 40, in: { ...session, key: "ulong" }, out: {} },
  C_DigestFinal: { index: 41, in: { ...session, room: "room" }, out: output },
  C_SignInit: { index: 42, in: initOrCancel, out: {} },
  C_Sign: { index: 43, in: transform, out: output },
  C_SignUpdate: { index: 44, in: { ...session, data: "bytes" }, out: {} },
  C_SignFinal: { index: 45, in: { ...session, room: "room" }, out: output },
  C_SignRecoverInit: { index: 46, in: initOrCancel, out: {} },
  C_SignRecover: { index: 47, in: transform, out: output },
  C_VerifyInit: { index: 48, in: initOrCancel, out: {} },
  C_Verify: { index: 49, in: { ...session, data: "bytes", signature: "bytes" }, out: {} },
  C_VerifyUpdate: { index: 50, in: { ...session, data: "bytes" }, out: {} },
  C_VerifyFinal: { index: 51, in: { ...session, signature: "bytes" }, out: {} },
  C_VerifyRecoverInit: { index: 52, in: initOrCancel, out: {} },
  C_VerifyRecover: { index: 53, in: { ...session, signature: "bytes", room: "room" }, out: output },
  C_DigestEncryptUpdate: { index: 54, in: transform, out: output },
  C_DecryptDigestUpdate: { index: 55, in: transform, out: output },
  C_SignEncryptUpdate: { index: 56, in: transform, out: output },
  C_DecryptVerifyUpdate: { index: 57, in: transform, out: output },
  C_GenerateKey: { index: 58, in: { ...session, mechanism: "mechanism", template: "template" }, out: { key: "ulong" } },
  C_GenerateKeyPair: {
    index: 59,
    in: { ...session, mechanism: "mechanism", publicTemplate: "template", privateTemplate: "template" },
    out: { publicKey: "ulong", privateKey: "ulong" },
  },
  C_WrapKey: {
    index: 60,
    in: { ...session, mechanism: "mechanism", wrappingKey: "ulong", key: "ulong", room: "room" },
    out: output,
  },
  C_UnwrapKey: {
    index: 61,
    in: { ...session, mechanism: "mechanism", unwrappingKey: "ulong", wrapped: "bytes", template: "template" },
    out: { key: "ulong" },
  },
  C_DeriveKey: {
    index: 62,
    in: { ...session, mechanism: "mechanism", baseKey: "ulong", template: "template" },
    out: { key: "ulong" },
  },
  C_SeedRandom: { index: 63, in: { ...session, seed: "bytes" }, out: {} },
  C_GenerateRandom: { index: 64, in: { ...session, length: "count" }, out: { random: "random" } },
  C_GetFunctionStatus: { index: 65, in: session, out: {} },
  C_CancelFunction: { index: 66, in: session, out: {} },
  C_WaitForSlotEvent: { index: 67, in: { flags: "ulong" }, out: { slot: "ulong" } },

  C_LoginUser: {
    index: 70,
    since: "3.0",
    in: { ...session, userType: "ulong", pin: "pin", username: "username" },
    out: {},
  },
  C_SessionCancel: { index: 71, since: "3.0", in: { ...session, flags: "ulong" }, out: {} },
  C_MessageEncryptInit: { index: 72, since: "3.0", in: initOrCancel, out: {} },
  C_EncryptMessage: {
    index: 73,
    since: "3.0",
    in: { ...session, parameter: "parameter", associatedData: "bytes", data: "bytes", room: "room" },
    out: output,
  },
  C_EncryptMessageBegin: {
    index: 74,
    since: "3.0",
    in: { ...session, parameter: "parameter", associatedData: "bytes" },
    out: {},
  },
  C_EncryptMessageNext: {
    index: 75,
    since: "3.0",
    in: { ...session, parameter: "parameter", data: "bytes", room: "room", flags: "ulong" },
    out: output,
  },
  C_MessageEncryptFinal: { index: 76, since: "3.0", in: session, out: {} },
  C_MessageDecryptInit: { index: 77, since: "3.0", in: initOrCancel, out: {} },
  C_DecryptMessage: {
    index: 78,
    since: "3.0",
    in: { ...session, parameter: "parameter", associatedData: "bytes", data: "bytes", room: "room" },
    out: output,
  },
  C_DecryptMessageBegin: {
    index: 79,
    since: "3.0",
    in: { ...session, parameter: "parameter", associatedData: "bytes" },
    out: {},
  },
  C_DecryptMessageNext: {
    index: 80,
    since: "3.0",
    in: { ...session, parameter: "parameter", data: "bytes", room: "room", flags: "ulong" },
    out: output,
  },
  C_MessageDecryptFinal: { index: 81, since: "3.0", in: session, out: {} },
  C_MessageSignInit: { index: 82, since: "3.0", in: initOrCancel, out: {} },
  C_SignMessage: {
    index: 83,
    since: "3.0",
    in: { ...session, parameter: "parameter", data: "bytes", room: "room" },
    out: output,
  },
  C_SignMessageBegin: { index: 84, since: "3.0", in: { ...session, parameter: "parameter" }, out: {} },
  C_SignMessageNext: {
    index: 85,
    since: "3.0",
    in: { ...session, parameter: "parameter", data: "bytes", room: "room" },
    out: output,
  },
  C_MessageSignFinal: { index: 86, since: "3.0", in: session, out: {} },
  C_MessageVerifyInit: { index: 87, since: "3.0", in: initOrCancel, out: {} },
  C_VerifyMessage: {
    index: 88,
    since: "3.0",
    in: { ...session, parameter: "parameter", data: "bytes", signature: "bytes" },
    out: {},
  },
  C_VerifyMessageBegin: { index: 89, since: "3.0", in: { ...session, parameter: "parameter" }, out: {} },
  C_VerifyMessageNext: {
    index: 90,
    since: "3.0",
    in: { ...session, parameter: "parameter", data: "bytes", signature: "bytes" },
    out: {},
  },
  C_MessageVerifyFinal: { index: 91, since: "3.0", in: session, out: {} },

  C_EncapsulateKey: {
    index: 92,
    since: "3.2",
    in: { ...session, mechanism: "mechanism", publicKey: "ulong", template: "template", room: "room" },
    out: { ...output, key: "ulong" },
  },
  C_DecapsulateKey: {
    index: 93,
    since: "3.2",
    in: { ...session, mechanism: "mechanism", privateKey: "ulong", template: "template", ciphertext: "bytes" },
    out: { key: "ulong" },
  },
  C_VerifySignatureInit: { index: 94, since: "3.2", in: { ...init, signature: "bytes" }, out: {} },
  C_VerifySignature: { index: 95, since: "3.2", in: { ...session, data: "bytes" }, out: {} },
  C_VerifySignatureUpdate: { index: 96, since: "3.2", in: { ...session, data: "bytes" }, out: {} },
  C_VerifySignatureFinal: { index: 97, since: "3.2", in: session, out: {} },
  C_GetSessionValidationFlags: {
    index: 98,
    since: "3.2",
    in: { ...session, type: "ulong" },
    out: { flags: "ulong" },
  },
  C_WrapKeyAuthenticated: {
    index: 102,
    since: "3.2",
    in: {
      ...session,
      mechanism: "mechanism",
      wrappingKey: "ulong",
      key: "ulong",
      associatedData: "bytes",
      room: "room",
    },
    out: output,
  },
  C_UnwrapKeyAuthenticated: {
    index: 103,
    since: "3.2",
    in: {
      ...session,
      mechanism: "mechanism",
      unwrappingKey: "ulong",
      wrapped: "bytes",
      template: "template",
      associatedData: "bytes",
    },
    out: { key: "ulong" },
  },
} as const satisfies Record<`C_${string}`, FunctionRow>;

/** The name of a function, such as `"C_Sign"`. */
export type FunctionName = keyof typeof FUNCTIONS;
