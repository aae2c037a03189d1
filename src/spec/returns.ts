/**
 * Return values of PKCS#11 2.40 to 3.2: what each means and what to do next.
 *
 * A row is `[code, meaning, next step, edition]`; the step is empty where nothing general can be said.
 * @module
 */
import { namesByCode, type Since, vendorName } from "./names.ts";

export const CKR = {
  CKR_OK: [0x0000, "success", ""],
  CKR_CANCEL: [0x0001, "the function was cancelled", ""],
  CKR_HOST_MEMORY: [0x0002, "this machine has too little memory", ""],
  CKR_SLOT_ID_INVALID: [
    0x0003,
    "there is no slot of that number",
    "list the slots again: numbers change when tokens come and go",
  ],
  CKR_GENERAL_ERROR: [0x0005, "the module failed without saying why", "look at the module's own log"],
  CKR_FUNCTION_FAILED: [0x0006, "the function could not be carried out", "look at the module's own log"],
  CKR_ARGUMENTS_BAD: [0x0007, "an argument is not acceptable", ""],
  CKR_NO_EVENT: [0x0008, "no slot event is waiting", ""],
  CKR_NEED_TO_CREATE_THREADS: [0x0009, "the module must be allowed to create threads", ""],
  CKR_CANT_LOCK: [0x000a, "the module cannot lock as asked", "initialise it with CKF_OS_LOCKING_OK"],
  CKR_ATTRIBUTE_READ_ONLY: [0x0010, "an attribute cannot be set", ""],
  CKR_ATTRIBUTE_SENSITIVE: [0x0011, "an attribute may not leave the token", ""],
  CKR_ATTRIBUTE_TYPE_INVALID: [0x0012, "the object has no such attribute", ""],
  CKR_ATTRIBUTE_VALUE_INVALID: [0x0013, "an attribute has an unacceptable value", ""],
  CKR_ACTION_PROHIBITED: [
    0x001b,
    "the object forbids this",
    "CKA_COPYABLE, CKA_MODIFIABLE or CKA_DESTROYABLE is false, or a policy refuses",
  ],
  CKR_DATA_INVALID: [0x0020, "the input data is not valid for this mechanism", ""],
  CKR_DATA_LEN_RANGE: [0x0021, "the input data has the wrong length for this mechanism", ""],
  CKR_DEVICE_ERROR: [0x0030, "the token or its reader reported a fault", "check the connection and try again"],
  CKR_DEVICE_MEMORY: [0x0031, "the token is full", "delete objects that are no longer needed"],
  CKR_DEVICE_REMOVED: [0x0032, "the token was removed", "insert the token and open it again"],
  CKR_ENCRYPTED_DATA_INVALID: [0x0040, "the ciphertext is not valid", ""],
  CKR_ENCRYPTED_DATA_LEN_RANGE: [0x0041, "the ciphertext has the wrong length", ""],
  CKR_AEAD_DECRYPT_FAILED: [0x0042, "the ciphertext does not authenticate", "", "3.0"],
  CKR_FUNCTION_CANCELED: [0x0050, "the function was cancelled", ""],
  CKR_FUNCTION_NOT_PARALLEL: [0x0051, "no function runs in parallel in this session", ""],
  CKR_FUNCTION_NOT_SUPPORTED: [0x0054, "the module does not have this function", ""],
  CKR_KEY_HANDLE_INVALID: [0x0060, "there is no key of that handle", "log in, or look the key up again"],
  CKR_KEY_SIZE_RANGE: [
    0x0062,
    "the key's size does not suit the mechanism",
    "list the mechanism's sizes: keywright mechanism list",
  ],
  CKR_KEY_TYPE_INCONSISTENT: [0x0063, "the key's type does not suit the mechanism", ""],
  CKR_KEY_NOT_NEEDED: [0x0064, "no key was expected", ""],
  CKR_KEY_CHANGED: [0x0065, "the key is not the one used before", ""],
  CKR_KEY_NEEDED: [0x0066, "a key is needed", ""],
  CKR_KEY_INDIGESTIBLE: [0x0067, "this key's value cannot be digested", ""],
  CKR_KEY_FUNCTION_NOT_PERMITTED: [
    0x0068,
    "the key may not be used for this",
    "look at its CKA_SIGN, CKA_DECRYPT, CKA_DERIVE … attributes",
  ],
  CKR_KEY_NOT_WRAPPABLE: [0x0069, "this key cannot be wrapped by that key or mechanism", ""],
  CKR_KEY_UNEXTRACTABLE: [0x006a, "the key may not leave the token", "its CKA_EXTRACTABLE is false"],
  CKR_MECHANISM_INVALID: [
    0x0070,
    "the token does not have this mechanism",
    "list what it has: keywright mechanism list",
  ],
  CKR_MECHANISM_PARAM_INVALID: [0x0071, "the mechanism's parameter is not acceptable", ""],
  CKR_OBJECT_HANDLE_INVALID: [0x0082, "there is no object of that handle", "log in, or look the object up again"],
  CKR_OPERATION_ACTIVE: [0x0090, "another operation is under way in this session", ""],
  CKR_OPERATION_NOT_INITIALIZED: [0x0091, "no such operation is under way in this session", ""],
  CKR_PIN_INCORRECT: [0x00a0, "the PIN does not match", "check the PIN before trying again: tries are limited"],
  CKR_PIN_INVALID: [0x00a1, "the PIN has characters that the token does not take", ""],
  CKR_PIN_LEN_RANGE: [0x00a2, "the PIN is too short or too long", "keywright token show gives the token's bounds"],
  CKR_PIN_EXPIRED: [0x00a3, "the PIN has expired", "set a new one: keywright pin change"],
  CKR_PIN_LOCKED: [0x00a4, "the PIN is locked", "unlock it with the SO PIN: keywright pin unblock"],
  CKR_SESSION_CLOSED: [0x00b0, "the session was closed", ""],
  CKR_SESSION_COUNT: [0x00b1, "the token has no room for another session", ""],
  CKR_SESSION_HANDLE_INVALID: [0x00b3, "there is no session of that handle", ""],
  CKR_SESSION_PARALLEL_NOT_SUPPORTED: [0x00b4, "parallel sessions are not supported", "set CKF_SERIAL_SESSION"],
  CKR_SESSION_READ_ONLY: [0x00b5, "the session is read-only", "open it read-write"],
  CKR_SESSION_EXISTS: [0x00b6, "a session is open on this token", "close every program that uses the token"],
  CKR_SESSION_READ_ONLY_EXISTS: [
    0x00b7,
    "a read-only session is open, so the SO cannot log in",
    "close the read-only sessions",
  ],
  CKR_SESSION_READ_WRITE_SO_EXISTS: [0x00b8, "the SO is logged in, so no read-only session can be opened", ""],
  CKR_SIGNATURE_INVALID: [0x00c0, "the signature does not match", ""],
  CKR_SIGNATURE_LEN_RANGE: [0x00c1, "the signature has the wrong length", ""],
  CKR_TEMPLATE_INCOMPLETE: [0x00d0, "an attribute that is needed is missing", ""],
  CKR_TEMPLATE_INCONSISTENT: [0x00d1, "attributes contradict each other or the token's rules", ""],
  CKR_TOKEN_NOT_PRESENT: [0x00e0, "the slot holds no token", "insert the token"],
  CKR_TOKEN_NOT_RECOGNIZED: [0x00e1, "the module does not know this kind of token", ""],
  CKR_TOKEN_WRITE_PROTECTED: [0x00e2, "the token is write-protected", ""],
  CKR_UNWRAPPING_KEY_HANDLE_INVALID: [0x00f0, "there is no unwrapping key of that handle", ""],
  CKR_UNWRAPPING_KEY_SIZE_RANGE: [0x00f1, "the unwrapping key's size does not suit the mechanism", ""],
  CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT: [0x00f2, "the unwrapping key's type does not suit the mechanism", ""],
  CKR_USER_ALREADY_LOGGED_IN: [0x0100, "the user is logged in already", ""],
  CKR_USER_NOT_LOGGED_IN: [0x0101, "nobody is logged in", "give a PIN"],
  CKR_USER_PIN_NOT_INITIALIZED: [0x0102, "the token has no user PIN yet", "set it with the SO PIN: keywright pin set"],
  CKR_USER_TYPE_INVALID: [0x0103, "there is no such kind of user", ""],
  CKR_USER_ANOTHER_ALREADY_LOGGED_IN: [0x0104, "another user is logged in", "log out first"],
  CKR_USER_TOO_MANY_TYPES: [0x0105, "too many kinds of user at once", ""],
  CKR_WRAPPED_KEY_INVALID: [0x0110, "the wrapped key is not valid", ""],
  CKR_WRAPPED_KEY_LEN_RANGE: [0x0112, "the wrapped key has the wrong length", ""],
  CKR_WRAPPING_KEY_HANDLE_INVALID: [0x0113, "there is no wrapping key of that handle", ""],
  CKR_WRAPPING_KEY_SIZE_RANGE: [0x0114, "the wrapping key's size does not suit the mechanism", ""],
  CKR_WRAPPING_KEY_TYPE_INCONSISTENT: [0x0115, "the wrapping key's type does not suit the mechanism", ""],
  CKR_RANDOM_SEED_NOT_SUPPORTED: [0x0120, "the random generator takes no seed", ""],
  CKR_RANDOM_NO_RNG: [0x0121, "the token has no random generator", ""],
  CKR_DOMAIN_PARAMS_INVALID: [0x0130, "the domain parameters are not supported", ""],
  CKR_CURVE_NOT_SUPPORTED: [0x0140, "the token does not have this curve", ""],
  CKR_BUFFER_TOO_SMALL: [0x0150, "the output does not fit the buffer", ""],
  CKR_SAVED_STATE_INVALID: [0x0160, "the saved operation state is not valid", ""],
  CKR_INFORMATION_SENSITIVE: [0x0170, "the information may not leave the token", ""],
  CKR_STATE_UNSAVEABLE: [0x0180, "the operation's state cannot be saved", ""],
  CKR_CRYPTOKI_NOT_INITIALIZED: [0x0190, "the module is not initialised", ""],
  CKR_CRYPTOKI_ALREADY_INITIALIZED: [0x0191, "the module is initialised already", ""],
  CKR_MUTEX_BAD: [0x01a0, "a mutex is not valid", ""],
  CKR_MUTEX_NOT_LOCKED: [0x01a1, "a mutex is not locked", ""],
  CKR_NEW_PIN_MODE: [0x01b0, "the token wants a new PIN", ""],
  CKR_NEXT_OTP: [0x01b1, "the token wants the next one-time password", ""],
  CKR_EXCEEDED_MAX_ITERATIONS: [0x01b5, "the search for parameters took too long", ""],
  CKR_FIPS_SELF_TEST_FAILED: [0x01b6, "the module's self test failed", ""],
  CKR_LIBRARY_LOAD_FAILED: [0x01b7, "the module could not load a library that it needs", ""],
  CKR_PIN_TOO_WEAK: [0x01b8, "the token finds the new PIN too weak", "choose a longer one"],
  CKR_PUBLIC_KEY_INVALID: [0x01b9, "the public key is not valid", ""],
  CKR_FUNCTION_REJECTED: [0x0200, "the request was refused", "a person or a policy declined it"],
  CKR_TOKEN_RESOURCE_EXCEEDED: [0x0201, "the token has too little of some resource", "", "3.0"],
  CKR_OPERATION_CANCEL_FAILED: [0x0202, "the operation could not be cancelled", "", "3.0"],
  CKR_KEY_EXHAUSTED: [0x0203, "the key has no signatures left", "", "3.1"],
  CKR_PENDING: [0x0204, "the operation goes on in the background", "", "3.2"],
  CKR_SESSION_ASYNC_NOT_SUPPORTED: [0x0205, "asynchronous sessions are not supported", "", "3.2"],
  CKR_SEED_RANDOM_REQUIRED: [0x0206, "the random generator must be seeded first", "", "3.2"],
  CKR_OPERATION_NOT_VALIDATED: [0x0207, "the operation is outside the module's validation", "", "3.2"],
  CKR_TOKEN_NOT_INITIALIZED: [0x0208, "the token is not initialised", "initialise it: keywright token init", "3.2"],
  CKR_PARAMETER_SET_NOT_SUPPORTED: [0x0209, "the token does not have this parameter set", "", "3.2"],
} as const satisfies Record<`CKR_${string}`, readonly [code: number, meaning: string, next: string, since?: Since]>;

/** The name of a standard return value, such as `"CKR_PIN_LOCKED"`. */
export type ReturnName = keyof typeof CKR;

const nameOf = namesByCode(CKR);

/** `0xa0` is `"CKR_PIN_INCORRECT"`, a vendor's code `"CKR vendor 0x80000001"`. */
export function returnName(code: number): string {
  return nameOf(code) ?? vendorName("CKR", code);
}

/** What a return value means, and what to do next; both empty for a code that is not in the table. */
export function explainReturn(code: number): { meaning: string; next: string } {
  const name = nameOf(code);
  return name === undefined ? { meaning: "", next: "" } : { meaning: CKR[name][1], next: CKR[name][2] };
}
