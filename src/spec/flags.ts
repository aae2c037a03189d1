/**
 * Flags, by the structure or argument that carries them. A row is `[bit, edition]`.
 * @module
 */
import type { Since } from "./names.ts";

type Flags = Record<`CKF_${string}`, readonly [bit: number, since?: Since]>;

/** CK_SLOT_INFO. */
export const SLOT_FLAGS = {
  CKF_TOKEN_PRESENT: [0x1],
  CKF_REMOVABLE_DEVICE: [0x2],
  CKF_HW_SLOT: [0x4],
} as const satisfies Flags;

/** CK_TOKEN_INFO. */
export const TOKEN_FLAGS = {
  CKF_RNG: [0x1],
  CKF_WRITE_PROTECTED: [0x2],
  CKF_LOGIN_REQUIRED: [0x4],
  CKF_USER_PIN_INITIALIZED: [0x8],
  CKF_RESTORE_KEY_NOT_NEEDED: [0x20],
  CKF_CLOCK_ON_TOKEN: [0x40],
  CKF_PROTECTED_AUTHENTICATION_PATH: [0x100],
  CKF_DUAL_CRYPTO_OPERATIONS: [0x200],
  CKF_TOKEN_INITIALIZED: [0x400],
  CKF_SECONDARY_AUTHENTICATION: [0x800],
  CKF_USER_PIN_COUNT_LOW: [0x10000],
  CKF_USER_PIN_FINAL_TRY: [0x20000],
  CKF_USER_PIN_LOCKED: [0x40000],
  CKF_USER_PIN_TO_BE_CHANGED: [0x80000],
  CKF_SO_PIN_COUNT_LOW: [0x100000],
  CKF_SO_PIN_FINAL_TRY: [0x200000],
  CKF_SO_PIN_LOCKED: [0x400000],
  CKF_SO_PIN_TO_BE_CHANGED: [0x800000],
  CKF_ERROR_STATE: [0x1000000],
  CKF_SEED_RANDOM_REQUIRED: [0x2000000, "3.2"],
  CKF_ASYNC_SESSION_SUPPORTED: [0x4000000, "3.2"],
} as const satisfies Flags;

/** C_OpenSession and CK_SESSION_INFO. */
export const SESSION_FLAGS = {
  CKF_RW_SESSION: [0x2],
  CKF_SERIAL_SESSION: [0x4],
  CKF_ASYNC_SESSION: [0x8, "3.2"],
} as const satisfies Flags;

/** CK_MECHANISM_INFO. */
export const MECHANISM_FLAGS = {
  CKF_HW: [0x1],
  CKF_MESSAGE_ENCRYPT: [0x2, "3.0"],
  CKF_MESSAGE_DECRYPT: [0x4, "3.0"],
  CKF_MESSAGE_SIGN: [0x8, "3.0"],
  CKF_MESSAGE_VERIFY: [0x10, "3.0"],
  CKF_MULTI_MESSAGE: [0x20, "3.0"],
  CKF_FIND_OBJECTS: [0x40, "3.0"],
  CKF_ENCRYPT: [0x100],
  CKF_DECRYPT: [0x200],
  CKF_DIGEST: [0x400],
  CKF_SIGN: [0x800],
  CKF_SIGN_RECOVER: [0x1000],
  CKF_VERIFY: [0x2000],
  CKF_VERIFY_RECOVER: [0x4000],
  CKF_GENERATE: [0x8000],
  CKF_GENERATE_KEY_PAIR: [0x10000],
  CKF_WRAP: [0x20000],
  CKF_UNWRAP: [0x40000],
  CKF_DERIVE: [0x80000],
  CKF_EC_F_P: [0x100000],
  CKF_EC_F_2M: [0x200000],
  CKF_EC_ECPARAMETERS: [0x400000],
  CKF_EC_OID: [0x800000, "3.0"],
  CKF_EC_UNCOMPRESS: [0x1000000],
  CKF_EC_COMPRESS: [0x2000000],
  CKF_EC_CURVENAME: [0x4000000, "3.0"],
  CKF_ENCAPSULATE: [0x10000000, "3.2"],
  CKF_DECAPSULATE: [0x20000000, "3.2"],
  CKF_EXTENSION: [0x80000000],
} as const satisfies Flags;

/** C_Initialize, C_WaitForSlotEvent, messages, HKDF salts and interfaces: one or two bits each. */
export const CALL_FLAGS = {
  CKF_LIBRARY_CANT_CREATE_OS_THREADS: [0x1],
  CKF_OS_LOCKING_OK: [0x2],
  CKF_DONT_BLOCK: [0x1],
  CKF_END_OF_MESSAGE: [0x1, "3.0"],
  CKF_INTERFACE_FORK_SAFE: [0x1, "3.0"],
  CKF_HKDF_SALT_NULL: [0x1, "3.0"],
  CKF_HKDF_SALT_DATA: [0x2, "3.0"],
  CKF_HKDF_SALT_KEY: [0x4, "3.0"],
} as const satisfies Flags;

/** Flags of one-time password mechanisms and their older names; listed so that the table is whole. */
export const OTHER_FLAGS = {
  CKF_NEXT_OTP: [0x1],
  CKF_EXCLUDE_TIME: [0x2],
  CKF_EXCLUDE_COUNTER: [0x4],
  CKF_EXCLUDE_CHALLENGE: [0x8],
  CKF_EXCLUDE_PIN: [0x10],
  CKF_USER_FRIENDLY_OTP: [0x20],
  CKF_MULTI_MESSGE: [0x20, "3.0"],
  CKF_ARRAY_ATTRIBUTE: [0x40000000],
  CKF_EC_NAMEDCURVE: [0x800000],
} as const satisfies Flags;

/** Every flag by name; numbers repeat, because each structure has bits of its own. */
export const CKF = {
  ...SLOT_FLAGS,
  ...TOKEN_FLAGS,
  ...SESSION_FLAGS,
  ...MECHANISM_FLAGS,
  ...CALL_FLAGS,
  ...OTHER_FLAGS,
} as const;

/** Whether a flag is set. Bit 31 is safe, which `&` alone is not. */
export function hasFlag(flags: number, bit: number): boolean {
  return (flags & bit) >>> 0 === bit >>> 0;
}

/** The names of the flags that are set, in the order of the table, and what is left over in hexadecimal. */
export function flagNames(flags: number, table: Flags): string[] {
  const names: string[] = [];
  let rest = flags >>> 0;
  for (const [name, [bit]] of Object.entries(table)) {
    if (!hasFlag(rest, bit)) continue;
    names.push(name);
    rest = (rest & ~bit) >>> 0;
  }
  if (rest !== 0) names.push(`0x${rest.toString(16)}`);
  return names;
}
