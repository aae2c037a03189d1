/**
 * Where a key in a token differs from its declaration, attribute by attribute.
 * @module
 */
import type { KeyDeclaration, Usage } from "../declaration.ts";
import { typeOf } from "../declaration.ts";
import type { SeenObject } from "../observation.ts";

/** The attribute of the private key that each usage is. */
export const USAGE_ATTRIBUTES: Readonly<Record<Usage, "CKA_SIGN" | "CKA_DERIVE" | "CKA_DECRYPT" | "CKA_UNWRAP">> = {
  sign: "CKA_SIGN",
  derive: "CKA_DERIVE",
  decrypt: "CKA_DECRYPT",
  wrap: "CKA_UNWRAP",
};

/** One line for each difference; a key's nature cannot be changed in place. */
export function drift(key: KeyDeclaration, seen: SeenObject): string[] {
  const lines: string[] = [];
  if (seen.type !== undefined && seen.type !== typeOf(key))
    lines.push(`type: ${seen.type} in the token, ${typeOf(key)} declared`);
  const flags = seen.flags ?? {};
  const compare = (attribute: string, wanted: boolean) => {
    const actual = flags[attribute];
    if (actual !== undefined && actual !== wanted)
      lines.push(`${attribute}: ${actual} in the token, ${wanted} declared`);
  };
  // More usage than declared is no drift: tokens add some on their own (SoftHSM2 and TPM2 keys sign and decrypt).
  for (const usage of key.usage) compare(USAGE_ATTRIBUTES[usage], true);
  compare("CKA_EXTRACTABLE", key.attributes?.extractable ?? false);
  const { alwaysAuthenticate, wrapWithTrusted, modifiable, copyable } = key.attributes ?? {};
  if (alwaysAuthenticate !== undefined) compare("CKA_ALWAYS_AUTHENTICATE", alwaysAuthenticate);
  if (wrapWithTrusted !== undefined) compare("CKA_WRAP_WITH_TRUSTED", wrapWithTrusted);
  if (modifiable !== undefined) compare("CKA_MODIFIABLE", modifiable);
  if (copyable !== undefined) compare("CKA_COPYABLE", copyable);
  const declared = [...(key.attributes?.allowedMechanisms ?? [])].sort().join(", ");
  const actual = [...(seen.allowedMechanisms ?? [])].sort().join(", ");
  if (key.attributes?.allowedMechanisms !== undefined && declared !== actual) {
    lines.push(`CKA_ALLOWED_MECHANISMS: ${actual || "any"} in the token, ${declared} declared`);
  }
  return lines;
}
