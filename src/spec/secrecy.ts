/**
 * Which attributes and mechanism parameters may be shown to anybody. What is not known to be public is secret: a vendor's
 * attribute may hold a key.
 * @module
 */
import { type AttributeName, attributeKind, CKA } from "./attributes.ts";
import { CKO } from "./objects.ts";

/** Attributes of bytes and big integers that anybody may see; those of other kinds are public, see below. */
const PUBLIC: ReadonlySet<number> = new Set(
  (
    [
      "CKA_ID",
      "CKA_MODULUS",
      "CKA_PUBLIC_EXPONENT",
      "CKA_PRIME",
      "CKA_SUBPRIME",
      "CKA_BASE",
      "CKA_CHECK_VALUE",
      "CKA_HASH_OF_SUBJECT_PUBLIC_KEY",
      "CKA_HASH_OF_ISSUER_PUBLIC_KEY",
      "CKA_HASH_OF_CERTIFICATE",
      "CKA_PUBLIC_CRC64_VALUE",
      "CKA_GOSTR3410_PARAMS",
      "CKA_GOSTR3411_PARAMS",
      "CKA_GOST28147_PARAMS",
      "CKA_REQUIRED_CMS_ATTRIBUTES",
      "CKA_DEFAULT_CMS_ATTRIBUTES",
      "CKA_SUPPORTED_CMS_ATTRIBUTES",
      "CKA_OTP_SERVICE_LOGO",
    ] satisfies AttributeName[]
  ).map((name) => CKA[name][0]),
);

/** Classes whose CKA_VALUE is theirs to show. */
const SHOWN_VALUES: ReadonlySet<number | bigint> = new Set([
  CKO.CKO_CERTIFICATE[0],
  CKO.CKO_PUBLIC_KEY[0],
  CKO.CKO_DOMAIN_PARAMETERS[0],
]);

/**
 * Whether the value of an attribute is for nobody to see.
 * @param objectClass the object's CKA_CLASS, where it is known
 */
export function isSecretAttribute(type: number, objectClass?: number | bigint): boolean {
  if (type === CKA.CKA_VALUE[0]) return objectClass === undefined || !SHOWN_VALUES.has(objectClass);
  const kind = attributeKind(type);
  return (kind === "bytes" || kind === "bigint") && !PUBLIC.has(type);
}

/** Fields of parameter structures, and parameters of bytes, that anybody may see; all other bytes are secret. */
const PUBLIC_FIELDS: ReadonlySet<string> = new Set([
  "iv",
  "nonce",
  "counterBlock",
  "aad",
  "sourceData",
  "publicData",
  "contextData",
  "context",
  "info",
]);

/** Whether the bytes of a field of a mechanism's parameter may be shown. `iv` is also a parameter that is bytes alone. */
export function isPublicField(name: string): boolean {
  return PUBLIC_FIELDS.has(name);
}
