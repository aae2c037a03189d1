/**
 * The calls of p11-kit's RPC protocol: the number and the signatures of each. From p11-kit-rpc.md, section 3; checked
 * against releases 0.23.22 to 0.26.4.
 *
 * A row is `[number, request, response, version]`; the version is the lowest negotiated one that has it, left out for 0.
 * Two calls carry a function another way than an older one does: `C_InitToken2` and `C_DeriveKey2`. C_GetFunctionStatus
 * and C_CancelFunction have no number, nor has any function of 3.2.
 *
 * Atoms of a signature: `y` a byte · `u` CK_ULONG · `v` CK_VERSION · `s` text of fixed length · `z` terminated text ·
 * `ay` bytes · `au` numbers · `fy` and `fu` room for bytes and numbers · `aA` attributes · `fA` attributes to read ·
 * `M` a mechanism · `P` what became of its parameter.
 * @module
 */
import type { FunctionName } from "./functions.ts";

export type CallRow = readonly [number: number, request: string, response: string, version?: 1 | 2];

export const CALLS = {
  C_Initialize: [1, "ayyay", ""],
  C_Finalize: [2, "", ""],
  C_GetInfo: [3, "", "vsusv"],
  C_GetSlotList: [4, "yfu", "au"],
  C_GetSlotInfo: [5, "u", "ssuvv"],
  C_GetTokenInfo: [6, "u", "ssssuuuuuuuuuuuvvs"],
  C_GetMechanismList: [7, "ufu", "au"],
  C_GetMechanismInfo: [8, "uu", "uuu"],
  C_InitToken: [9, "uayz", ""],
  C_OpenSession: [10, "uu", "u"],
  C_CloseSession: [11, "u", ""],
  C_CloseAllSessions: [12, "u", ""],
  C_GetSessionInfo: [13, "u", "uuuu"],
  C_InitPIN: [14, "uay", ""],
  C_SetPIN: [15, "uayay", ""],
  C_GetOperationState: [16, "ufy", "ay"],
  C_SetOperationState: [17, "uayuu", ""],
  C_Login: [18, "uuay", ""],
  C_Logout: [19, "u", ""],
  C_CreateObject: [20, "uaA", "u"],
  C_CopyObject: [21, "uuaA", "u"],
  C_DestroyObject: [22, "uu", ""],
  C_GetObjectSize: [23, "uu", "u"],
  C_GetAttributeValue: [24, "uufA", "aAu"],
  C_SetAttributeValue: [25, "uuaA", ""],
  C_FindObjectsInit: [26, "uaA", ""],
  C_FindObjects: [27, "ufu", "au"],
  C_FindObjectsFinal: [28, "u", ""],
  C_EncryptInit: [29, "uMu", ""],
  C_Encrypt: [30, "uayfy", "ay"],
  C_EncryptUpdate: [31, "uayfy", "ay"],
  C_EncryptFinal: [32, "ufy", "ay"],
  C_DecryptInit: [33, "uMu", ""],
  C_Decrypt: [34, "uayfy", "ay"],
  C_DecryptUpdate: [35, "uayfy", "ay"],
  C_DecryptFinal: [36, "ufy", "ay"],
  C_DigestInit: [37, "uM", ""],
  C_Digest: [38, "uayfy", "ay"],
  C_DigestUpdate: [39, "uay", ""],
  C_DigestKey: [40, "uu", ""],
  C_DigestFinal: [41, "ufy", "ay"],
  C_SignInit: [42, "uMu", ""],
  C_Sign: [43, "uayfy", "ay"],
  C_SignUpdate: [44, "uay", ""],
  C_SignFinal: [45, "ufy", "ay"],
  C_SignRecoverInit: [46, "uMu", ""],
  C_SignRecover: [47, "uayfy", "ay"],
  C_VerifyInit: [48, "uMu", ""],
  C_Verify: [49, "uayay", ""],
  C_VerifyUpdate: [50, "uay", ""],
  C_VerifyFinal: [51, "uay", ""],
  C_VerifyRecoverInit: [52, "uMu", ""],
  C_VerifyRecover: [53, "uayfy", "ay"],
  C_DigestEncryptUpdate: [54, "uayfy", "ay"],
  C_DecryptDigestUpdate: [55, "uayfy", "ay"],
  C_SignEncryptUpdate: [56, "uayfy", "ay"],
  C_DecryptVerifyUpdate: [57, "uayfy", "ay"],
  C_GenerateKey: [58, "uMaA", "u"],
  C_GenerateKeyPair: [59, "uMaAaA", "uu"],
  C_WrapKey: [60, "uMuufy", "ay"],
  C_UnwrapKey: [61, "uMuayaA", "u"],
  C_DeriveKey: [62, "uMuaA", "u"],
  C_SeedRandom: [63, "uay", ""],
  C_GenerateRandom: [64, "ufy", "ay"],
  C_WaitForSlotEvent: [65, "u", "u"],
  C_LoginUser: [66, "uuayay", "", 1],
  C_SessionCancel: [67, "uu", "", 1],
  C_MessageEncryptInit: [68, "uMu", "", 1],
  C_EncryptMessage: [69, "uayayayfy", "ay", 1],
  C_EncryptMessageBegin: [70, "uayay", "", 1],
  C_EncryptMessageNext: [71, "uayayfyu", "ay", 1],
  C_MessageEncryptFinal: [72, "u", "", 1],
  C_MessageDecryptInit: [73, "uMu", "", 1],
  C_DecryptMessage: [74, "uayayayfy", "ay", 1],
  C_DecryptMessageBegin: [75, "uayay", "", 1],
  C_DecryptMessageNext: [76, "uayayfyu", "ay", 1],
  C_MessageDecryptFinal: [77, "u", "", 1],
  C_MessageSignInit: [78, "uMu", "", 1],
  C_SignMessage: [79, "uayayfy", "ay", 1],
  C_SignMessageBegin: [80, "uay", "", 1],
  C_SignMessageNext: [81, "uayayyfy", "ay", 1],
  C_MessageSignFinal: [82, "u", "", 1],
  C_MessageVerifyInit: [83, "uMu", "", 1],
  C_VerifyMessage: [84, "uayayay", "", 1],
  C_VerifyMessageBegin: [85, "uay", "", 1],
  C_VerifyMessageNext: [86, "uayayay", "", 1],
  C_MessageVerifyFinal: [87, "u", "", 1],
  C_InitToken2: [88, "uays", "", 1],
  C_DeriveKey2: [89, "uMuaA", "uPu", 2],
} as const satisfies Partial<Record<FunctionName | "C_InitToken2" | "C_DeriveKey2", CallRow>>;

/**
 * What p11-kit's protocol has no calls for, up to release 0.26.4: the functions of 3.2. Two Keywrights call them so; the
 * numbers are far from those that p11-kit may give.
 */
export const OWN_CALLS = {
  C_EncapsulateKey: [0x4b57_0001, "uMuaAfy", "ayu"],
  C_DecapsulateKey: [0x4b57_0002, "uMuaAay", "u"],
  C_VerifySignatureInit: [0x4b57_0003, "uMuay", ""],
  C_VerifySignature: [0x4b57_0004, "uay", ""],
  C_VerifySignatureUpdate: [0x4b57_0005, "uay", ""],
  C_VerifySignatureFinal: [0x4b57_0006, "u", ""],
  C_GetSessionValidationFlags: [0x4b57_0007, "uu", "u"],
  C_WrapKeyAuthenticated: [0x4b57_0008, "uMuuayfy", "ay"],
  C_UnwrapKeyAuthenticated: [0x4b57_0009, "uMuayaAay", "u"],
} as const satisfies Partial<Record<FunctionName, CallRow>>;

const ALL = { ...CALLS, ...OWN_CALLS };

/** The name of a call, such as `"C_Sign"` or `"C_InitToken2"`. */
export type CallName = keyof typeof ALL;

/** The number of an answer that is a return value only. */
export const ERROR_CALL = 0;

const BY_NUMBER: ReadonlyMap<number, CallName> = new Map(
  (Object.keys(ALL) as CallName[]).map((name) => [ALL[name][0], name]),
);

/** Every call, Keywright's own included. */
export const CALL_NAMES = Object.keys(ALL) as readonly CallName[];

/** A call's number, signatures and version. */
export function callRow(call: CallName): CallRow {
  return ALL[call];
}

/** Whether a call is Keywright's own: no other peer understands it. */
export function isOwnCall(call: CallName): boolean {
  return Object.hasOwn(OWN_CALLS, call);
}

/** The call of a number; undefined where there is none. */
export function callByNumber(number: number): CallName | undefined {
  return BY_NUMBER.get(number);
}

/** The call of this name; undefined for a function that has none. */
export function callByName(name: string): CallName | undefined {
  return Object.hasOwn(ALL, name) ? (name as CallName) : undefined;
}

/** The function that a call carries. */
export function functionOf(call: CallName): FunctionName {
  if (call === "C_InitToken2") return "C_InitToken";
  return call === "C_DeriveKey2" ? "C_DeriveKey" : call;
}
