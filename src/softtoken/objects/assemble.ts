/**
 * From a template to a whole object, by the policy of its class. PKCS#11 3.1, 4.1 to 4.3 and 5.7.
 * @module
 */

import { createHash } from "node:crypto";
import type { Attribute, AttributeValue } from "../../cryptoki/port.ts";
import { attributeName } from "../../spec/attributes.ts";
import { attr, cls, UNAVAILABLE } from "../codes.ts";
import { completeKey, setCheckValue } from "../keys/complete.ts";
import { refuse } from "../refusal.ts";
import type { Values } from "../store/record.ts";
import { isSecretClass, type Policy, policyOf, type Rule } from "./policy.ts";
import { codeIn, impose, readTemplate } from "./template.ts";

/** How an object comes to be; which footnotes of the policy apply. A shared secret comes in like one unwrapped. */
type Origin = "create" | "generate" | "unwrap" | "derive";

const NEEDED: Readonly<Record<Origin, string>> = { create: "1", generate: "3", unwrap: "5", derive: "5" };
const FORBIDDEN: Readonly<Record<Origin, string>> = { create: "2", generate: "4", unwrap: "6", derive: "6" };

export interface Making {
  readonly origin: Origin;
  readonly template: readonly Attribute[];
  /** What the operation implies, such as the class of a generated key; a template may only agree. */
  readonly implied?: Values;
  /** What the mechanism made: values in the open and values to be sealed. */
  readonly made?: { readonly values: Values; readonly secrets: ReadonlyMap<number, Uint8Array> };
  /** What the unwrapping or base key demands of the new key. */
  readonly demanded?: AttributeValue | undefined;
  /** The mechanism of a generation. */
  readonly mechanism?: number;
  /** CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE of the keys that a key is derived from. */
  readonly lineage?: { readonly alwaysSensitive: boolean; readonly neverExtractable: boolean };
  readonly isSo: boolean;
}

/** A whole object, not yet anywhere. */
export interface Draft {
  readonly values: Values;
  readonly secrets: Map<number, Uint8Array>;
}

/** @throws Refusal CKR_TEMPLATE_INCOMPLETE, CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_… */
export function assemble(making: Making): Draft {
  const given = readTemplate(making.template);
  for (const [type, value] of making.implied ?? []) {
    if (given.has(type) && given.get(type) !== value) {
      return refuse("CKR_TEMPLATE_INCONSISTENT", `${attributeName(type)} is not what the operation makes`);
    }
    given.set(type, value);
  }
  impose(given, making.demanded);
  const policy = policyFor(given);
  checkGiven(given, policy, making);
  const { values, secrets } = split(given, policy, making);
  for (const rule of policy.values()) {
    // C_UnwrapKey, C_EncapsulateKey and C_DecapsulateKey: CKA_EXTRACTABLE is true by default.
    const fallback = rule.type === attr.EXTRACTABLE && making.origin === "unwrap" ? true : rule.fallback;
    if (fallback !== undefined && !values.has(rule.type)) values.set(rule.type, fallback);
  }
  const objectClass = codeIn(values, attr.CLASS)!;
  checkDates(values);
  checkPrivacy(values, objectClass);
  if (values.has(attr.KEY_TYPE) && objectClass !== cls.DOMAIN_PARAMETERS) {
    setHistory(values, objectClass, making);
    completeKey(values, secrets);
  }
  if (objectClass === cls.CERTIFICATE) completeCertificate(values);
  if (objectClass === cls.DOMAIN_PARAMETERS) values.set(attr.LOCAL, making.origin === "generate");
  return { values, secrets };
}

function policyFor(given: Values): Policy {
  const objectClass = codeIn(given, attr.CLASS);
  if (objectClass === undefined) return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_CLASS is missing");
  const type = codeIn(given, attr.KEY_TYPE);
  const typed = isSecretClass(objectClass) || objectClass === cls.PUBLIC_KEY || objectClass === cls.DOMAIN_PARAMETERS;
  if (typed && type === undefined) return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_KEY_TYPE is missing");
  const certificate = codeIn(given, attr.CERTIFICATE_TYPE);
  if (certificate !== undefined && certificate !== 0) {
    return refuse("CKR_ATTRIBUTE_VALUE_INVALID", "only X.509 certificates are stored");
  }
  return (
    policyOf(objectClass, typed ? type : undefined) ??
    refuse("CKR_ATTRIBUTE_VALUE_INVALID", "the token has no objects of this class and key type")
  );
}

function checkGiven(given: Values, policy: Policy, making: Making): void {
  for (const [type, value] of given) {
    const rule = policy.get(type) ?? refuse("CKR_ATTRIBUTE_TYPE_INVALID", attributeName(type));
    const implied = making.implied?.has(type) === true;
    if (!implied && isForbidden(rule, making.origin)) refuse("CKR_ATTRIBUTE_READ_ONLY", attributeName(type));
    // The SO alone may call something trusted (footnote 10).
    if (rule.notes.has("10") && value === true && !making.isSo) refuse("CKR_ATTRIBUTE_READ_ONLY", attributeName(type));
  }
  for (const rule of policy.values()) {
    if (rule.notes.has(NEEDED[making.origin]) && !given.has(rule.type) && making.made?.values.has(rule.type) !== true) {
      refuse("CKR_TEMPLATE_INCOMPLETE", `${attributeName(rule.type)} is missing`);
    }
  }
}

function isForbidden(rule: Rule, origin: Origin): boolean {
  return rule.notes.has("p") || rule.notes.has(FORBIDDEN[origin]);
}

function split(given: Values, policy: Policy, making: Making): Draft {
  const values: Values = new Map();
  const secrets = new Map<number, Uint8Array>(making.made?.secrets ?? []);
  for (const [type, value] of given) {
    if (policy.get(type)!.notes.has("7")) secrets.set(type, value as Uint8Array);
    else values.set(type, value);
  }
  for (const [type, value] of making.made?.values ?? []) values.set(type, value);
  return { values, secrets };
}

/** The standard says what the dates are, and leaves to the application what they are for. */
function checkDates(values: Values): void {
  const [start, end] = [values.get(attr.START_DATE), values.get(attr.END_DATE)] as (Uint8Array | undefined)[];
  if (start === undefined || end === undefined || start.length === 0 || end.length === 0) return;
  if (Buffer.compare(end, start) < 0) refuse("CKR_TEMPLATE_INCONSISTENT", "CKA_END_DATE is before CKA_START_DATE");
}

function checkPrivacy(values: Values, objectClass: number): void {
  if (isSecretClass(objectClass) && values.get(attr.TOKEN) === true && values.get(attr.PRIVATE) !== true) {
    refuse("CKR_TEMPLATE_INCONSISTENT", "a secret or private key in the token with CKA_PRIVATE false");
  }
  if (values.get(attr.ALWAYS_AUTHENTICATE) === true && values.get(attr.PRIVATE) !== true) {
    refuse("CKR_TEMPLATE_INCONSISTENT", "CKA_ALWAYS_AUTHENTICATE with CKA_PRIVATE false");
  }
}

/** Where a key came from and whether its value was ever in the open (4.8 to 4.10). */
function setHistory(values: Values, objectClass: number, making: Making): void {
  const isGenerated = making.origin === "generate";
  values.set(attr.LOCAL, isGenerated);
  values.set(attr.KEY_GEN_MECHANISM, isGenerated ? making.mechanism! : UNAVAILABLE);
  if (!isSecretClass(objectClass)) return;
  const lineage = isGenerated ? { alwaysSensitive: true, neverExtractable: true } : making.lineage;
  values.set(attr.ALWAYS_SENSITIVE, lineage?.alwaysSensitive === true && values.get(attr.SENSITIVE) === true);
  values.set(attr.NEVER_EXTRACTABLE, lineage?.neverExtractable === true && values.get(attr.EXTRACTABLE) === false);
}

function completeCertificate(values: Values): void {
  const value = values.get(attr.VALUE) as Uint8Array;
  const url = values.get(attr.URL) as Uint8Array;
  // 4.6.3: the value may only be left empty when a URL tells where it is.
  if (value.length === 0 && url.length === 0) refuse("CKR_TEMPLATE_INCOMPLETE", "neither CKA_VALUE nor CKA_URL");
  if (value.length > 0) setCheckValue(values, createHash("sha1").update(value).digest().subarray(0, 3));
}
