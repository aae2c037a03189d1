/**
 * The structures that functions fill in: fields in C order.
 *
 * Field kinds: `ulong` CK_ULONG · `version` CK_VERSION, two bytes · `{ text: n }` n bytes of UTF-8, blank-padded, never
 * terminated (3.2, General data types).
 * @module
 */

export type FieldKind = "ulong" | "version" | { readonly text: number };

export const STRUCTURES = {
  info: {
    cryptokiVersion: "version",
    manufacturerID: { text: 32 },
    flags: "ulong",
    libraryDescription: { text: 32 },
    libraryVersion: "version",
  },
  slotInfo: {
    slotDescription: { text: 64 },
    manufacturerID: { text: 32 },
    flags: "ulong",
    hardwareVersion: "version",
    firmwareVersion: "version",
  },
  tokenInfo: {
    label: { text: 32 },
    manufacturerID: { text: 32 },
    model: { text: 16 },
    serialNumber: { text: 16 },
    flags: "ulong",
    maxSessionCount: "ulong",
    sessionCount: "ulong",
    maxRwSessionCount: "ulong",
    rwSessionCount: "ulong",
    maxPinLen: "ulong",
    minPinLen: "ulong",
    totalPublicMemory: "ulong",
    freePublicMemory: "ulong",
    totalPrivateMemory: "ulong",
    freePrivateMemory: "ulong",
    hardwareVersion: "version",
    firmwareVersion: "version",
    utcTime: { text: 16 },
  },
  sessionInfo: { slotID: "ulong", state: "ulong", flags: "ulong", deviceError: "ulong" },
  mechanismInfo: { minKeySize: "ulong", maxKeySize: "ulong", flags: "ulong" },
} as const satisfies Record<string, Readonly<Record<string, FieldKind>>>;

export type StructureName = keyof typeof STRUCTURES;

/** CK_UNAVAILABLE_INFORMATION: all bits set; beyond what a number holds, so it is a bigint on the port. */
export const UNAVAILABLE_INFORMATION = 0xffff_ffff_ffff_ffffn;

/** CK_EFFECTIVELY_INFINITE, in CK_TOKEN_INFO's session counts. */
export const EFFECTIVELY_INFINITE = 0;
