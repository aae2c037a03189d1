/**
 * Which attributes an object has, per class and key type, and who may give or change them. Data, in the terms of the
 * standard: the digits are the footnotes of PKCS#11 3.1, table 10.
 *
 *  1 must be given to C_CreateObject            2 must not be given to C_CreateObject
 *  3 must be given when generated               4 must not be given when generated
 *  5 must be given when unwrapped or derived    6 must not be given when unwrapped or derived
 *  7 cannot be read if CKA_SENSITIVE is true or CKA_EXTRACTABLE is false
 *  8 may be changed later, and on copying
 *  9 the default is the token's own choice
 * 10 only the SO may make it true
 * 11 cannot be changed once true
 * 12 cannot be changed once false
 *
 * Beyond the standard's: `c` may be changed on copying only, `p` is made by the token and can never be given.
 * @module
 */

import type { AttributeValue } from "../../cryptoki/port.ts";
import { type AttributeName, CKA } from "../../spec/attributes.ts";
import { attr, cls, keyType } from "../codes.ts";

export interface Rule {
  readonly type: number;
  readonly notes: ReadonlySet<string>;
  /** The value when none is given; absent if the object then lacks the attribute. */
  readonly fallback: AttributeValue | undefined;
}

type RuleRow = readonly [name: AttributeName, notes: string, fallback?: AttributeValue];

const EMPTY = new Uint8Array(0);

const STORAGE: readonly RuleRow[] = [
  ["CKA_CLASS", "1"],
  ["CKA_TOKEN", "c", false],
  ["CKA_PRIVATE", "c 9", false],
  ["CKA_MODIFIABLE", "c", true],
  ["CKA_COPYABLE", "8 12", true],
  ["CKA_DESTROYABLE", "8 12", true],
  ["CKA_LABEL", "8", EMPTY],
  ["CKA_UNIQUE_ID", "p"],
];

const KEY: readonly RuleRow[] = [
  ["CKA_KEY_TYPE", "1 5"],
  ["CKA_ID", "8", EMPTY],
  ["CKA_START_DATE", "8", EMPTY],
  ["CKA_END_DATE", "8", EMPTY],
  ["CKA_DERIVE", "8", false],
  ["CKA_LOCAL", "2 4 6 p"],
  ["CKA_KEY_GEN_MECHANISM", "2 4 6 p"],
  ["CKA_ALLOWED_MECHANISMS", ""],
];

const PUBLIC: readonly RuleRow[] = [
  ["CKA_SUBJECT", "8", EMPTY],
  ["CKA_ENCRYPT", "8 9", false],
  ["CKA_VERIFY", "8 9", false],
  ["CKA_VERIFY_RECOVER", "8 9", false],
  ["CKA_WRAP", "8 9", false],
  ["CKA_ENCAPSULATE", "8 9", false],
  ["CKA_TRUSTED", "10", false],
  ["CKA_WRAP_TEMPLATE", ""],
  ["CKA_ENCAPSULATE_TEMPLATE", ""],
  ["CKA_PUBLIC_KEY_INFO", "p"],
];

const SECRECY: readonly RuleRow[] = [
  ["CKA_SENSITIVE", "8 9 11", true],
  ["CKA_EXTRACTABLE", "8 9 12", false],
  ["CKA_ALWAYS_SENSITIVE", "2 4 6 p"],
  ["CKA_NEVER_EXTRACTABLE", "2 4 6 p"],
  ["CKA_WRAP_WITH_TRUSTED", "8 11", false],
  ["CKA_UNWRAP_TEMPLATE", ""],
  ["CKA_DERIVE_TEMPLATE", ""],
];

const PRIVATE: readonly RuleRow[] = [
  ...SECRECY,
  ["CKA_SUBJECT", "8", EMPTY],
  ["CKA_DECRYPT", "8 9", false],
  ["CKA_SIGN", "8 9", false],
  ["CKA_SIGN_RECOVER", "8 9", false],
  ["CKA_UNWRAP", "8 9", false],
  ["CKA_DECAPSULATE", "8 9", false],
  ["CKA_DECAPSULATE_TEMPLATE", ""],
  ["CKA_ALWAYS_AUTHENTICATE", "", false],
  ["CKA_PUBLIC_KEY_INFO", "4 6"],
];

const SECRET: readonly RuleRow[] = [
  ...SECRECY,
  ["CKA_ENCRYPT", "8 9", false],
  ["CKA_DECRYPT", "8 9", false],
  ["CKA_SIGN", "8 9", false],
  ["CKA_VERIFY", "8 9", false],
  ["CKA_WRAP", "8 9", false],
  ["CKA_UNWRAP", "8 9", false],
  ["CKA_TRUSTED", "10", false],
  ["CKA_WRAP_TEMPLATE", ""],
  ["CKA_CHECK_VALUE", ""],
  ["CKA_VALUE", "1 4 6 7"],
  ["CKA_VALUE_LEN", "2"],
];

const RSA_PUBLIC: readonly RuleRow[] = [
  ["CKA_MODULUS", "1 4"],
  ["CKA_MODULUS_BITS", "2 3"],
  ["CKA_PUBLIC_EXPONENT", "1"],
];

const RSA_PRIVATE: readonly RuleRow[] = [
  ["CKA_MODULUS", "1 4 6"],
  ["CKA_PUBLIC_EXPONENT", "1 4 6"],
  ["CKA_PRIVATE_EXPONENT", "1 4 6 7"],
  ["CKA_PRIME_1", "1 4 6 7"],
  ["CKA_PRIME_2", "1 4 6 7"],
  ["CKA_EXPONENT_1", "4 6 7"],
  ["CKA_EXPONENT_2", "4 6 7"],
  ["CKA_COEFFICIENT", "4 6 7"],
];

const EC_PUBLIC: readonly RuleRow[] = [
  ["CKA_EC_PARAMS", "1 3"],
  ["CKA_EC_POINT", "1 4"],
];

const EC_PRIVATE: readonly RuleRow[] = [
  ["CKA_EC_PARAMS", "1 4 6"],
  ["CKA_VALUE", "1 4 6 7"],
];

/** ML-DSA, SLH-DSA and ML-KEM (3.2). */
const PQC_PUBLIC: readonly RuleRow[] = [
  ["CKA_PARAMETER_SET", "1 3"],
  ["CKA_VALUE", "1 4"],
];

const PQC_PRIVATE: readonly RuleRow[] = [
  ["CKA_PARAMETER_SET", "1 4 6"],
  ["CKA_VALUE", "1 4 6 7"],
];

/** Either CKA_VALUE or CKA_SEED makes such a key, so neither must be given. */
const SEEDED_PRIVATE: readonly RuleRow[] = [
  ["CKA_PARAMETER_SET", "1 4 6"],
  ["CKA_VALUE", "4 6 7"],
  ["CKA_SEED", "4 6 7"],
];

const X509: readonly RuleRow[] = [
  ["CKA_CERTIFICATE_TYPE", "1"],
  ["CKA_TRUSTED", "10", false],
  ["CKA_CERTIFICATE_CATEGORY", "", 0],
  ["CKA_CHECK_VALUE", ""],
  ["CKA_START_DATE", "", EMPTY],
  ["CKA_END_DATE", "", EMPTY],
  ["CKA_PUBLIC_KEY_INFO", "", EMPTY],
  ["CKA_SUBJECT", "1"],
  ["CKA_ID", "8", EMPTY],
  ["CKA_ISSUER", "8", EMPTY],
  ["CKA_SERIAL_NUMBER", "8", EMPTY],
  ["CKA_VALUE", "1"],
  ["CKA_URL", "", EMPTY],
  ["CKA_HASH_OF_SUBJECT_PUBLIC_KEY", "", EMPTY],
  ["CKA_HASH_OF_ISSUER_PUBLIC_KEY", "", EMPTY],
  ["CKA_JAVA_MIDP_SECURITY_DOMAIN", "", 0],
  ["CKA_NAME_HASH_ALGORITHM", ""],
];

const DATA: readonly RuleRow[] = [
  ["CKA_APPLICATION", "8", EMPTY],
  ["CKA_OBJECT_ID", "8", EMPTY],
  ["CKA_VALUE", "8", EMPTY],
];

const DOMAIN: readonly RuleRow[] = [
  ["CKA_KEY_TYPE", "1"],
  ["CKA_LOCAL", "2 4 p"],
];

const PROFILE: readonly RuleRow[] = [["CKA_PROFILE_ID", "1"]];

/** The classes whose attributes depend on the key type. */
const BY_KEY_TYPE: Readonly<Record<number, Readonly<Record<number, readonly RuleRow[]>>>> = {
  [cls.PUBLIC_KEY]: {
    [keyType.RSA]: RSA_PUBLIC,
    [keyType.EC]: EC_PUBLIC,
    [keyType.EC_EDWARDS]: EC_PUBLIC,
    [keyType.EC_MONTGOMERY]: EC_PUBLIC,
    [keyType.ML_DSA]: PQC_PUBLIC,
    [keyType.SLH_DSA]: PQC_PUBLIC,
    [keyType.ML_KEM]: PQC_PUBLIC,
  },
  [cls.PRIVATE_KEY]: {
    [keyType.RSA]: RSA_PRIVATE,
    [keyType.EC]: EC_PRIVATE,
    [keyType.EC_EDWARDS]: EC_PRIVATE,
    [keyType.EC_MONTGOMERY]: EC_PRIVATE,
    [keyType.ML_DSA]: SEEDED_PRIVATE,
    [keyType.SLH_DSA]: PQC_PRIVATE,
    [keyType.ML_KEM]: SEEDED_PRIVATE,
  },
  [cls.DOMAIN_PARAMETERS]: {
    [keyType.EC]: [["CKA_EC_PARAMS", "1"]],
    [keyType.DSA]: [
      ["CKA_PRIME", "1 4"],
      ["CKA_SUBPRIME", "1 4"],
      ["CKA_BASE", "1 4"],
      ["CKA_PRIME_BITS", "2 3"],
    ],
    [keyType.DH]: [
      ["CKA_PRIME", "1 4"],
      ["CKA_BASE", "1 4"],
      ["CKA_PRIME_BITS", "2 3"],
    ],
  },
  [cls.SECRET_KEY]: Object.fromEntries(
    [
      keyType.GENERIC_SECRET,
      keyType.AES,
      keyType.HKDF,
      keyType.SHA_1_HMAC,
      keyType.SHA224_HMAC,
      keyType.SHA256_HMAC,
      keyType.SHA384_HMAC,
      keyType.SHA512_HMAC,
      keyType.SHA512_224_HMAC,
      keyType.SHA512_256_HMAC,
      keyType.SHA3_224_HMAC,
      keyType.SHA3_256_HMAC,
      keyType.SHA3_384_HMAC,
      keyType.SHA3_512_HMAC,
    ].map((type) => [type, []]),
  ),
};

const BY_CLASS: Readonly<Record<number, readonly RuleRow[]>> = {
  [cls.DATA]: DATA,
  [cls.CERTIFICATE]: X509,
  [cls.PUBLIC_KEY]: [...KEY, ...PUBLIC],
  [cls.PRIVATE_KEY]: [...KEY, ...PRIVATE],
  [cls.SECRET_KEY]: [...KEY, ...SECRET],
  [cls.DOMAIN_PARAMETERS]: DOMAIN,
  [cls.PROFILE]: PROFILE,
};

/** Whether objects of this class hold a value that must be sealed at rest. */
export function isSecretClass(objectClass: number): boolean {
  return objectClass === cls.PRIVATE_KEY || objectClass === cls.SECRET_KEY;
}

/** The attributes of one kind of object. */
export type Policy = ReadonlyMap<number, Rule>;

const policies = new Map<string, Policy | undefined>();

/** The policy of a class and, for keys and domain parameters, a key type; undefined if the token has no such objects. */
export function policyOf(objectClass: number, type: number | undefined): Policy | undefined {
  const name = `${objectClass}/${type}`;
  if (!policies.has(name)) policies.set(name, build(objectClass, type));
  return policies.get(name);
}

function build(objectClass: number, type: number | undefined): Policy | undefined {
  const own = BY_CLASS[objectClass];
  const types = BY_KEY_TYPE[objectClass];
  const further = types === undefined ? [] : types[type ?? -1];
  if (own === undefined || further === undefined) return undefined;
  const rows = [...STORAGE, ...own, ...further];
  return new Map(rows.map((row) => [CKA[row[0]][0], rule(row, objectClass)]));
}

function rule([name, notes, fallback]: RuleRow, objectClass: number): Rule {
  const type = CKA[name][0];
  // 4.4.1: whether objects are private by default is the token's choice: those with a secret are.
  const value = type === attr.PRIVATE ? isSecretClass(objectClass) : fallback;
  return { type, notes: new Set(notes.split(" ").filter((note) => note !== "")), fallback: value };
}
