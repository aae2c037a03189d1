/**
 * What each function does: to which objects, with which keys, in which of a session's operations, and which of its bytes
 * are secret. One row per function of {@link FUNCTIONS}; policy, confirmation, audit and trace all read it.
 * @module
 */
import type { FunctionName } from "./functions.ts";
import type { ReturnName } from "./returns.ts";

/**
 * What can be done with or to a key, as policies, questions and logs call it. `wrap` is what the wrapping key does,
 * `extract` what happens to the key that leaves the token: wrapped, or by reading its secret attributes.
 */
export const OPERATIONS = [
  "sign",
  "verify",
  "encrypt",
  "decrypt",
  "digest",
  "wrap",
  "unwrap",
  "extract",
  "derive",
  "encapsulate",
  "decapsulate",
  "modify",
  "copy",
  "destroy",
] as const;

export type Operation = (typeof OPERATIONS)[number];

/** An operation of a session that begins with an Init and goes on over several calls; a session has one of each. */
export type Ongoing =
  | "find"
  | "encrypt"
  | "decrypt"
  | "digest"
  | "sign"
  | "signRecover"
  | "verify"
  | "verifyRecover"
  | "verifySignature"
  | "messageEncrypt"
  | "messageDecrypt"
  | "messageSign"
  | "messageVerify";

/** The flag of C_SessionCancel that ends an operation of a session, as MECHANISM_FLAGS calls it. */
export const CANCELLED_BY = {
  find: "CKF_FIND_OBJECTS",
  encrypt: "CKF_ENCRYPT",
  decrypt: "CKF_DECRYPT",
  digest: "CKF_DIGEST",
  sign: "CKF_SIGN",
  signRecover: "CKF_SIGN_RECOVER",
  verify: "CKF_VERIFY",
  verifyRecover: "CKF_VERIFY_RECOVER",
  verifySignature: "CKF_VERIFY",
  messageEncrypt: "CKF_MESSAGE_ENCRYPT",
  messageDecrypt: "CKF_MESSAGE_DECRYPT",
  messageSign: "CKF_MESSAGE_SIGN",
  messageVerify: "CKF_MESSAGE_VERIFY",
} as const satisfies Record<Ongoing, string>;

/**
 * What kind of function it is. `use` works with keys, `make` makes objects of nothing but a template, `object` reads or
 * changes one, `state` saves or restores operations, `setUp` is the SO's and the PINs' business.
 */
export type FunctionGroup =
  | "library"
  | "token"
  | "setUp"
  | "session"
  | "login"
  | "state"
  | "make"
  | "object"
  | "find"
  | "use"
  | "random";

/**
 * Whether bytes may be shown. `signature`: public where the key is known to be no secret key; the result of a MAC may be
 * a key itself (HKDF, TLS).
 */
export type Secrecy = "public" | "secret" | "signature";

/** A handle among the inputs. */
export interface ObjectUse {
  /** What is done to the object; absent: it is only looked at. */
  readonly as?: Operation;
  /** What is answered for a handle that is none. */
  readonly unknown: ReturnName;
}

export interface OperationRow {
  readonly group: FunctionGroup;
  /** The handles of objects among the inputs. */
  readonly objects?: Readonly<Record<string, ObjectUse>>;
  /** The handles of new objects among the outputs. */
  readonly makes?: readonly string[];
  /** What it begins in its session. */
  readonly begins?: Ongoing;
  /** What it goes on with. */
  readonly continues?: readonly Ongoing[];
  /** Whether that is over then, unless it only told a size. */
  readonly ends?: boolean;
  /** How it goes on with a message: each is a use of the key of its own. */
  readonly message?: "whole" | "begin" | "next";
  /** Inputs and outputs that are bytes, but for PINs, which are never shown. */
  readonly bytes?: Readonly<Record<string, Secrecy>>;
}

const keyed = (as: Operation, unknown: ReturnName = "CKR_KEY_HANDLE_INVALID") => ({ as, unknown });
const object = (as?: Operation): ObjectUse =>
  as === undefined ? { unknown: "CKR_OBJECT_HANDLE_INVALID" } : keyed(as, "CKR_OBJECT_HANDLE_INVALID");
const begins = (begun: Ongoing, as: Operation): OperationRow => ({
  group: "use",
  objects: { key: keyed(as) },
  begins: begun,
});
const SECRETS = { data: "secret", output: "secret" } as const;
const ENCRYPTED = { data: "secret", output: "public" } as const;
const DECRYPTED = { data: "public", output: "secret" } as const;
const SIGNED = { data: "secret", output: "signature" } as const;
const VERIFIED = { data: "secret", signature: "signature" } as const;
const goesOn = (bytes: OperationRow["bytes"], ...continues: Ongoing[]): OperationRow => ({
  group: "use",
  continues,
  ...(bytes === undefined ? {} : { bytes }),
});
const ends = (bytes: OperationRow["bytes"], ...continues: Ongoing[]): OperationRow => ({
  ...goesOn(bytes, ...continues),
  ends: true,
});
const message = (
  part: NonNullable<OperationRow["message"]>,
  of: Ongoing,
  bytes: OperationRow["bytes"],
): OperationRow => ({
  // The layout of a message's parameter is the caller's own.
  ...goesOn({ parameter: "secret", ...bytes }, of),
  message: part,
});
const AAD = { associatedData: "public" } as const;
const wrapping = { wrappingKey: keyed("wrap", "CKR_WRAPPING_KEY_HANDLE_INVALID"), key: keyed("extract") };
const unwrapping = { unwrappingKey: keyed("unwrap", "CKR_UNWRAPPING_KEY_HANDLE_INVALID") };

export const FUNCTION_OPERATIONS: Readonly<Record<FunctionName, OperationRow>> = {
  C_Initialize: { group: "library" },
  C_Finalize: { group: "library" },
  C_GetInfo: { group: "library" },
  C_GetSlotList: { group: "token" },
  C_GetSlotInfo: { group: "token" },
  C_GetTokenInfo: { group: "token" },
  C_GetMechanismList: { group: "token" },
  C_GetMechanismInfo: { group: "token" },
  C_InitToken: { group: "setUp", bytes: { label: "public" } },
  C_InitPIN: { group: "setUp" },
  C_SetPIN: { group: "setUp" },
  C_OpenSession: { group: "session" },
  C_CloseSession: { group: "session" },
  C_CloseAllSessions: { group: "session" },
  C_GetSessionInfo: { group: "session" },
  C_GetOperationState: { group: "state", bytes: { output: "secret" } },
  C_SetOperationState: {
    group: "state",
    objects: {
      encryptionKey: { unknown: "CKR_KEY_HANDLE_INVALID" },
      authenticationKey: { unknown: "CKR_KEY_HANDLE_INVALID" },
    },
    bytes: { state: "secret" },
  },
  C_Login: { group: "login" },
  C_Logout: { group: "login" },
  C_CreateObject: { group: "make", makes: ["object"] },
  C_CopyObject: { group: "object", objects: { object: object("copy") }, makes: ["copy"] },
  C_DestroyObject: { group: "object", objects: { object: object("destroy") } },
  C_GetObjectSize: { group: "object", objects: { object: object() } },
  C_GetAttributeValue: { group: "object", objects: { object: object() } },
  C_SetAttributeValue: { group: "object", objects: { object: object("modify") } },
  C_FindObjectsInit: { group: "find", begins: "find" },
  C_FindObjects: { group: "find", continues: ["find"] },
  C_FindObjectsFinal: { group: "find", continues: ["find"], ends: true },
  C_EncryptInit: begins("encrypt", "encrypt"),
  C_Encrypt: ends(ENCRYPTED, "encrypt"),
  C_EncryptUpdate: goesOn(ENCRYPTED, "encrypt"),
  C_EncryptFinal: ends({ output: "public" }, "encrypt"),
  C_DecryptInit: begins("decrypt", "decrypt"),
  C_Decrypt: ends(DECRYPTED, "decrypt"),
  C_DecryptUpdate: goesOn(DECRYPTED, "decrypt"),
  C_DecryptFinal: ends({ output: "secret" }, "decrypt"),
  // What is digested may be a password, and its digest tells which.
  C_DigestInit: { group: "use", begins: "digest" },
  C_Digest: ends(SECRETS, "digest"),
  C_DigestUpdate: goesOn({ data: "secret" }, "digest"),
  C_DigestKey: { ...goesOn(undefined, "digest"), objects: { key: keyed("digest") } },
  C_DigestFinal: ends({ output: "secret" }, "digest"),
  C_SignInit: begins("sign", "sign"),
  C_Sign: ends(SIGNED, "sign"),
  C_SignUpdate: goesOn({ data: "secret" }, "sign"),
  C_SignFinal: ends({ output: "signature" }, "sign"),
  C_SignRecoverInit: begins("signRecover", "sign"),
  C_SignRecover: ends(SIGNED, "signRecover"),
  C_VerifyInit: begins("verify", "verify"),
  C_Verify: ends(VERIFIED, "verify"),
  C_VerifyUpdate: goesOn({ data: "secret" }, "verify"),
  C_VerifyFinal: ends({ signature: "signature" }, "verify"),
  C_VerifyRecoverInit: begins("verifyRecover", "verify"),
  C_VerifyRecover: ends({ signature: "signature", output: "secret" }, "verifyRecover"),
  C_DigestEncryptUpdate: goesOn(ENCRYPTED, "digest", "encrypt"),
  C_DecryptDigestUpdate: goesOn(DECRYPTED, "decrypt", "digest"),
  C_SignEncryptUpdate: goesOn(ENCRYPTED, "sign", "encrypt"),
  C_DecryptVerifyUpdate: goesOn(DECRYPTED, "decrypt", "verify"),
  C_GenerateKey: { group: "make", makes: ["key"] },
  C_GenerateKeyPair: { group: "make", makes: ["publicKey", "privateKey"] },
  C_WrapKey: { group: "use", objects: wrapping, bytes: { output: "secret" } },
  C_UnwrapKey: { group: "use", objects: unwrapping, makes: ["key"], bytes: { wrapped: "secret" } },
  C_DeriveKey: { group: "use", objects: { baseKey: keyed("derive") }, makes: ["key"] },
  C_SeedRandom: { group: "random", bytes: { seed: "secret" } },
  C_GenerateRandom: { group: "random", bytes: { random: "secret" } },
  C_GetFunctionStatus: { group: "session" },
  C_CancelFunction: { group: "session" },
  C_WaitForSlotEvent: { group: "token" },

  C_LoginUser: { group: "login", bytes: { username: "public" } },
  C_SessionCancel: { group: "session" },
  C_MessageEncryptInit: begins("messageEncrypt", "encrypt"),
  C_EncryptMessage: message("whole", "messageEncrypt", { ...AAD, ...ENCRYPTED }),
  C_EncryptMessageBegin: message("begin", "messageEncrypt", AAD),
  C_EncryptMessageNext: message("next", "messageEncrypt", ENCRYPTED),
  C_MessageEncryptFinal: ends(undefined, "messageEncrypt"),
  C_MessageDecryptInit: begins("messageDecrypt", "decrypt"),
  C_DecryptMessage: message("whole", "messageDecrypt", { ...AAD, ...DECRYPTED }),
  C_DecryptMessageBegin: message("begin", "messageDecrypt", AAD),
  C_DecryptMessageNext: message("next", "messageDecrypt", DECRYPTED),
  C_MessageDecryptFinal: ends(undefined, "messageDecrypt"),
  C_MessageSignInit: begins("messageSign", "sign"),
  C_SignMessage: message("whole", "messageSign", SIGNED),
  C_SignMessageBegin: message("begin", "messageSign", {}),
  C_SignMessageNext: message("next", "messageSign", SIGNED),
  C_MessageSignFinal: ends(undefined, "messageSign"),
  C_MessageVerifyInit: begins("messageVerify", "verify"),
  C_VerifyMessage: message("whole", "messageVerify", VERIFIED),
  C_VerifyMessageBegin: message("begin", "messageVerify", {}),
  C_VerifyMessageNext: message("next", "messageVerify", VERIFIED),
  C_MessageVerifyFinal: ends(undefined, "messageVerify"),

  C_EncapsulateKey: {
    group: "use",
    objects: { publicKey: keyed("encapsulate") },
    makes: ["key"],
    bytes: { output: "public" },
  },
  C_DecapsulateKey: {
    group: "use",
    objects: { privateKey: keyed("decapsulate") },
    makes: ["key"],
    bytes: { ciphertext: "public" },
  },
  C_VerifySignatureInit: { ...begins("verifySignature", "verify"), bytes: { signature: "signature" } },
  C_VerifySignature: ends({ data: "secret" }, "verifySignature"),
  C_VerifySignatureUpdate: goesOn({ data: "secret" }, "verifySignature"),
  C_VerifySignatureFinal: ends(undefined, "verifySignature"),
  C_GetSessionValidationFlags: { group: "session" },
  C_WrapKeyAuthenticated: { group: "use", objects: wrapping, bytes: { ...AAD, output: "secret" } },
  C_UnwrapKeyAuthenticated: {
    group: "use",
    objects: unwrapping,
    makes: ["key"],
    bytes: { ...AAD, wrapped: "secret" },
  },
};

/** The row of a function; undefined for a name that is none. */
export function operationOf(fn: string): OperationRow | undefined {
  return Object.hasOwn(FUNCTION_OPERATIONS, fn) ? FUNCTION_OPERATIONS[fn as FunctionName] : undefined;
}
