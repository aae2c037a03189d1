/**
 * Attributes of PKCS#11 2.40 to 3.2: one row each, in the order of their codes.
 *
 * A row is `[code, kind, edition]`; the edition is left out for 2.40. Where two names share a code, the current name
 * comes first and is the one that is printed. Vendor codes are ordinary values: {@link attributeKind} answers `"bytes"`.
 * @module
 */
import { namesByCode, type Since, vendorName } from "./names.ts";

/**
 * What an attribute's value is. On the port every kind is one of five shapes (see `AttributeValue`):
 * `bool` is a boolean; `ulong`, `class`, `keyType`, `certificateType`, `mechanism`, `hardwareFeature`, `profile` are
 * CK_ULONG numbers; `template` is a list of attributes; `mechanisms` and `ulongs` are lists of numbers; all others are
 * bytes: `text` UTF-8, `bigint` big-endian unsigned, `date` eight ASCII digits or empty, `der` one DER value.
 */
export type ValueKind =
  | "bool"
  | "ulong"
  | "class"
  | "keyType"
  | "certificateType"
  | "mechanism"
  | "hardwareFeature"
  | "profile"
  | "text"
  | "bytes"
  | "bigint"
  | "der"
  | "date"
  | "version"
  | "template"
  | "mechanisms"
  | "ulongs";

export const CKA = {
  CKA_CLASS: [0x0000, "class"],
  CKA_TOKEN: [0x0001, "bool"],
  CKA_PRIVATE: [0x0002, "bool"],
  CKA_LABEL: [0x0003, "text"],
  CKA_UNIQUE_ID: [0x0004, "text", "3.0"],
  CKA_APPLICATION: [0x0010, "text"],
  CKA_VALUE: [0x0011, "bytes"],
  CKA_OBJECT_ID: [0x0012, "der"],
  CKA_CERTIFICATE_TYPE: [0x0080, "certificateType"],
  CKA_ISSUER: [0x0081, "der"],
  CKA_SERIAL_NUMBER: [0x0082, "der"],
  CKA_AC_ISSUER: [0x0083, "der"],
  CKA_OWNER: [0x0084, "der"],
  CKA_ATTR_TYPES: [0x0085, "der"],
  CKA_TRUSTED: [0x0086, "bool"],
  CKA_CERTIFICATE_CATEGORY: [0x0087, "ulong"],
  CKA_JAVA_MIDP_SECURITY_DOMAIN: [0x0088, "ulong"],
  CKA_URL: [0x0089, "text"],
  CKA_HASH_OF_SUBJECT_PUBLIC_KEY: [0x008a, "bytes"],
  CKA_HASH_OF_ISSUER_PUBLIC_KEY: [0x008b, "bytes"],
  CKA_NAME_HASH_ALGORITHM: [0x008c, "mechanism"],
  CKA_CHECK_VALUE: [0x0090, "bytes"],
  CKA_KEY_TYPE: [0x0100, "keyType"],
  CKA_SUBJECT: [0x0101, "der"],
  CKA_ID: [0x0102, "bytes"],
  CKA_SENSITIVE: [0x0103, "bool"],
  CKA_ENCRYPT: [0x0104, "bool"],
  CKA_DECRYPT: [0x0105, "bool"],
  CKA_WRAP: [0x0106, "bool"],
  CKA_UNWRAP: [0x0107, "bool"],
  CKA_SIGN: [0x0108, "bool"],
  CKA_SIGN_RECOVER: [0x0109, "bool"],
  CKA_VERIFY: [0x010a, "bool"],
  CKA_VERIFY_RECOVER: [0x010b, "bool"],
  CKA_DERIVE: [0x010c, "bool"],
  CKA_START_DATE: [0x0110, "date"],
  CKA_END_DATE: [0x0111, "date"],
  CKA_MODULUS: [0x0120, "bigint"],
  CKA_MODULUS_BITS: [0x0121, "ulong"],
  CKA_PUBLIC_EXPONENT: [0x0122, "bigint"],
  CKA_PRIVATE_EXPONENT: [0x0123, "bigint"],
  CKA_PRIME_1: [0x0124, "bigint"],
  CKA_PRIME_2: [0x0125, "bigint"],
  CKA_EXPONENT_1: [0x0126, "bigint"],
  CKA_EXPONENT_2: [0x0127, "bigint"],
  CKA_COEFFICIENT: [0x0128, "bigint"],
  CKA_PUBLIC_KEY_INFO: [0x0129, "der"],
  CKA_PRIME: [0x0130, "bigint"],
  CKA_SUBPRIME: [0x0131, "bigint"],
  CKA_BASE: [0x0132, "bigint"],
  CKA_PRIME_BITS: [0x0133, "ulong"],
  CKA_SUBPRIME_BITS: [0x0134, "ulong"],
  CKA_SUB_PRIME_BITS: [0x0134, "ulong"],
  CKA_VALUE_BITS: [0x0160, "ulong"],
  CKA_VALUE_LEN: [0x0161, "ulong"],
  CKA_EXTRACTABLE: [0x0162, "bool"],
  CKA_LOCAL: [0x0163, "bool"],
  CKA_NEVER_EXTRACTABLE: [0x0164, "bool"],
  CKA_ALWAYS_SENSITIVE: [0x0165, "bool"],
  CKA_KEY_GEN_MECHANISM: [0x0166, "mechanism"],
  CKA_MODIFIABLE: [0x0170, "bool"],
  CKA_COPYABLE: [0x0171, "bool"],
  CKA_DESTROYABLE: [0x0172, "bool"],
  CKA_EC_PARAMS: [0x0180, "der"],
  CKA_ECDSA_PARAMS: [0x0180, "der"],
  CKA_EC_POINT: [0x0181, "der"],
  CKA_SECONDARY_AUTH: [0x0200, "bool"],
  CKA_AUTH_PIN_FLAGS: [0x0201, "ulong"],
  CKA_ALWAYS_AUTHENTICATE: [0x0202, "bool"],
  CKA_WRAP_WITH_TRUSTED: [0x0210, "bool"],
  CKA_OTP_FORMAT: [0x0220, "ulong"],
  CKA_OTP_LENGTH: [0x0221, "ulong"],
  CKA_OTP_TIME_INTERVAL: [0x0222, "ulong"],
  CKA_OTP_USER_FRIENDLY_MODE: [0x0223, "bool"],
  CKA_OTP_CHALLENGE_REQUIREMENT: [0x0224, "ulong"],
  CKA_OTP_TIME_REQUIREMENT: [0x0225, "ulong"],
  CKA_OTP_COUNTER_REQUIREMENT: [0x0226, "ulong"],
  CKA_OTP_PIN_REQUIREMENT: [0x0227, "ulong"],
  CKA_OTP_USER_IDENTIFIER: [0x022a, "text"],
  CKA_OTP_SERVICE_IDENTIFIER: [0x022b, "text"],
  CKA_OTP_SERVICE_LOGO: [0x022c, "bytes"],
  CKA_OTP_SERVICE_LOGO_TYPE: [0x022d, "text"],
  CKA_OTP_COUNTER: [0x022e, "bytes"],
  CKA_OTP_TIME: [0x022f, "text"],
  CKA_GOSTR3410_PARAMS: [0x0250, "bytes"],
  CKA_GOSTR3411_PARAMS: [0x0251, "bytes"],
  CKA_GOST28147_PARAMS: [0x0252, "bytes"],
  CKA_HW_FEATURE_TYPE: [0x0300, "hardwareFeature"],
  CKA_RESET_ON_INIT: [0x0301, "bool"],
  CKA_HAS_RESET: [0x0302, "bool"],
  CKA_PIXEL_X: [0x0400, "ulong"],
  CKA_PIXEL_Y: [0x0401, "ulong"],
  CKA_RESOLUTION: [0x0402, "ulong"],
  CKA_CHAR_ROWS: [0x0403, "ulong"],
  CKA_CHAR_COLUMNS: [0x0404, "ulong"],
  CKA_COLOR: [0x0405, "bool"],
  CKA_BITS_PER_PIXEL: [0x0406, "ulong"],
  CKA_CHAR_SETS: [0x0480, "text"],
  CKA_ENCODING_METHODS: [0x0481, "text"],
  CKA_MIME_TYPES: [0x0482, "text"],
  CKA_MECHANISM_TYPE: [0x0500, "mechanism"],
  CKA_REQUIRED_CMS_ATTRIBUTES: [0x0501, "bytes"],
  CKA_DEFAULT_CMS_ATTRIBUTES: [0x0502, "bytes"],
  CKA_SUPPORTED_CMS_ATTRIBUTES: [0x0503, "bytes"],
  CKA_PROFILE_ID: [0x0601, "profile", "3.0"],
  CKA_X2RATCHET_BAG: [0x0602, "bytes", "3.0"],
  CKA_X2RATCHET_BAGSIZE: [0x0603, "ulong", "3.0"],
  CKA_X2RATCHET_BOBS1STMSG: [0x0604, "bytes", "3.0"],
  CKA_X2RATCHET_CKR: [0x0605, "bytes", "3.0"],
  CKA_X2RATCHET_CKS: [0x0606, "bytes", "3.0"],
  CKA_X2RATCHET_DHP: [0x0607, "bytes", "3.0"],
  CKA_X2RATCHET_DHR: [0x0608, "bytes", "3.0"],
  CKA_X2RATCHET_DHS: [0x0609, "bytes", "3.0"],
  CKA_X2RATCHET_HKR: [0x060a, "bytes", "3.0"],
  CKA_X2RATCHET_HKS: [0x060b, "bytes", "3.0"],
  CKA_X2RATCHET_ISALICE: [0x060c, "bool", "3.0"],
  CKA_X2RATCHET_NHKR: [0x060d, "bytes", "3.0"],
  CKA_X2RATCHET_NHKS: [0x060e, "bytes", "3.0"],
  CKA_X2RATCHET_NR: [0x060f, "ulong", "3.0"],
  CKA_X2RATCHET_NS: [0x0610, "ulong", "3.0"],
  CKA_X2RATCHET_PNS: [0x0611, "ulong", "3.0"],
  CKA_X2RATCHET_RK: [0x0612, "bytes", "3.0"],
  CKA_HSS_LEVELS: [0x0617, "ulong", "3.1"],
  CKA_HSS_LMS_TYPE: [0x0618, "ulong", "3.1"],
  CKA_HSS_LMOTS_TYPE: [0x0619, "ulong", "3.1"],
  CKA_HSS_LMS_TYPES: [0x061a, "ulongs", "3.1"],
  CKA_HSS_LMOTS_TYPES: [0x061b, "ulongs", "3.1"],
  CKA_HSS_KEYS_REMAINING: [0x061c, "ulong", "3.1"],
  CKA_PARAMETER_SET: [0x061d, "ulong", "3.2"],
  CKA_OBJECT_VALIDATION_FLAGS: [0x061e, "ulong", "3.2"],
  CKA_VALIDATION_TYPE: [0x061f, "ulong", "3.2"],
  CKA_VALIDATION_VERSION: [0x0620, "version", "3.2"],
  CKA_VALIDATION_LEVEL: [0x0621, "ulong", "3.2"],
  CKA_VALIDATION_MODULE_ID: [0x0622, "text", "3.2"],
  CKA_VALIDATION_FLAG: [0x0623, "ulong", "3.2"],
  CKA_VALIDATION_AUTHORITY_TYPE: [0x0624, "ulong", "3.2"],
  CKA_VALIDATION_COUNTRY: [0x0625, "text", "3.2"],
  CKA_VALIDATION_CERTIFICATE_IDENTIFIER: [0x0626, "text", "3.2"],
  CKA_VALIDATION_CERTIFICATE_URI: [0x0627, "text", "3.2"],
  CKA_VALIDATION_VENDOR_URI: [0x0628, "text", "3.2"],
  CKA_VALIDATION_PROFILE: [0x0629, "text", "3.2"],
  CKA_ENCAPSULATE_TEMPLATE: [0x062a, "template", "3.2"],
  CKA_DECAPSULATE_TEMPLATE: [0x062b, "template", "3.2"],
  CKA_TRUST_SERVER_AUTH: [0x062c, "ulong", "3.2"],
  CKA_TRUST_CLIENT_AUTH: [0x062d, "ulong", "3.2"],
  CKA_TRUST_CODE_SIGNING: [0x062e, "ulong", "3.2"],
  CKA_TRUST_EMAIL_PROTECTION: [0x062f, "ulong", "3.2"],
  CKA_TRUST_IPSEC_IKE: [0x0630, "ulong", "3.2"],
  CKA_TRUST_TIME_STAMPING: [0x0631, "ulong", "3.2"],
  CKA_TRUST_OCSP_SIGNING: [0x0632, "ulong", "3.2"],
  CKA_ENCAPSULATE: [0x0633, "bool", "3.2"],
  CKA_DECAPSULATE: [0x0634, "bool", "3.2"],
  CKA_HASH_OF_CERTIFICATE: [0x0635, "bytes", "3.2"],
  CKA_PUBLIC_CRC64_VALUE: [0x0636, "bytes", "3.2"],
  CKA_SEED: [0x0637, "bytes", "3.2"],
  CKA_WRAP_TEMPLATE: [0x40000211, "template"],
  CKA_UNWRAP_TEMPLATE: [0x40000212, "template"],
  CKA_DERIVE_TEMPLATE: [0x40000213, "template"],
  CKA_ALLOWED_MECHANISMS: [0x40000600, "mechanisms"],
} as const satisfies Record<`CKA_${string}`, readonly [code: number, kind: ValueKind, since?: Since]>;

/** The name of a standard attribute, such as `"CKA_LABEL"`. */
export type AttributeName = keyof typeof CKA;

/** CKF_ARRAY_ATTRIBUTE: set in the code of every attribute that holds a list. */
export const ARRAY_ATTRIBUTE = 0x40000000;

const nameOf = namesByCode(CKA);

/** The kind of an attribute's value; `"bytes"` for a code that is not in the table. */
export function attributeKind(code: number): ValueKind {
  const name = nameOf(code);
  return name === undefined ? "bytes" : CKA[name][1];
}

/** `0x3` is `"CKA_LABEL"`, an unknown code `"CKA 0x00009999"`, a vendor's `"CKA vendor 0x80000001"`. */
export function attributeName(code: number): string {
  return nameOf(code) ?? vendorName("CKA", code);
}
