/**
 * Templates for key pairs and certificates.
 * @module
 */
import type { Attributes } from "../cryptoki/attributes.ts";
import { mechanism } from "../cryptoki/mechanisms.ts";
import type { Mechanism } from "../cryptoki/port.ts";
import type { Family } from "../families/families.ts";
import { CURVES, type Curve } from "../spec/curves.ts";
import type { MechanismName } from "../spec/mechanisms.ts";
import { curveParams } from "../x509/public-keys.ts";
import type { CertificateFacts } from "../x509/read.ts";
import type { KeyDeclaration, Usage } from "./declaration.ts";
import type { Identity } from "./identities.ts";
import type { KeyType } from "./values.ts";

/** What C_GenerateKeyPair is given. */
export interface KeyPairTemplates {
  readonly mechanism: Mechanism;
  readonly publicKey: Attributes;
  readonly privateKey: Attributes;
}

export interface KeyPairWish {
  readonly type: KeyType;
  readonly identity: Identity;
  readonly usage: readonly Usage[];
  readonly attributes?: KeyDeclaration["attributes"];
}

const GENERATORS = {
  RSA: ["CKM_RSA_PKCS_KEY_PAIR_GEN", "CKK_RSA"],
  EC: ["CKM_EC_KEY_PAIR_GEN", "CKK_EC"],
  Edwards: ["CKM_EC_EDWARDS_KEY_PAIR_GEN", "CKK_EC_EDWARDS"],
  Montgomery: ["CKM_EC_MONTGOMERY_KEY_PAIR_GEN", "CKK_EC_MONTGOMERY"],
} as const;

/** The templates of a key pair that stays in the token. */
export function keyPairTemplates({ type, identity, usage, attributes }: KeyPairWish, family: Family): KeyPairTemplates {
  const [generator, keyType] = GENERATORS[type.algorithm];
  const named: Attributes = {
    CKA_TOKEN: true,
    CKA_ID: Buffer.from(identity.id, "hex"),
    ...(family.labels ? { CKA_LABEL: identity.label } : {}),
  };
  const may = (use: Usage) => usage.includes(use);
  const full = {
    mechanism: mechanism(generator),
    publicKey: {
      CKA_CLASS: "CKO_PUBLIC_KEY",
      CKA_KEY_TYPE: keyType,
      ...named,
      CKA_PRIVATE: false,
      CKA_VERIFY: may("sign"),
      ...(type.algorithm === "RSA" ? { CKA_ENCRYPT: may("decrypt"), CKA_WRAP: may("wrap") } : {}),
      ...(may("derive") ? { CKA_DERIVE: true } : {}),
      ...parameters(type, family),
    },
    privateKey: {
      CKA_CLASS: "CKO_PRIVATE_KEY",
      CKA_KEY_TYPE: keyType,
      ...named,
      CKA_PRIVATE: true,
      CKA_SENSITIVE: true,
      CKA_EXTRACTABLE: attributes?.extractable ?? false,
      CKA_SIGN: may("sign"),
      ...(type.algorithm === "RSA" ? { CKA_DECRYPT: may("decrypt"), CKA_UNWRAP: may("wrap") } : {}),
      ...(type.algorithm === "RSA" ? {} : { CKA_DERIVE: may("derive") }),
      CKA_ALWAYS_AUTHENTICATE: attributes?.alwaysAuthenticate === true ? true : undefined,
      CKA_WRAP_WITH_TRUSTED: attributes?.wrapWithTrusted,
      CKA_MODIFIABLE: attributes?.modifiable,
      CKA_COPYABLE: attributes?.copyable,
      CKA_ALLOWED_MECHANISMS: attributes?.allowedMechanisms as MechanismName[] | undefined,
    },
  } as const;
  if (!family.omitsFalse) return full;
  return { ...full, publicKey: withoutUnused(full.publicKey), privateKey: withoutUnused(full.privateKey) };
}

/** Without the usages that are not wanted. */
function withoutUnused(attributes: Attributes): Attributes {
  const usages = /^CKA_(?:SIGN|VERIFY|ENCRYPT|DECRYPT|WRAP|UNWRAP|DERIVE)$/;
  return Object.fromEntries(
    Object.entries(attributes).filter(([name, value]) => value !== false || !usages.test(name)),
  );
}

function parameters(type: KeyType, family: Family): Attributes {
  if (type.algorithm === "RSA") {
    return { CKA_MODULUS_BITS: type.bits, CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1) };
  }
  return { CKA_EC_PARAMS: curveParams(CURVES[type.curve] as Curve, family.curveParams) };
}

/** The object that a certificate becomes (PKCS#11 3.1, 4.6.3). */
export function certificateTemplate(facts: CertificateFacts, identity: Identity, family: Family): Attributes {
  return {
    CKA_CLASS: "CKO_CERTIFICATE",
    CKA_CERTIFICATE_TYPE: "CKC_X_509",
    CKA_TOKEN: true,
    CKA_PRIVATE: false,
    CKA_ID: Buffer.from(identity.id, "hex"),
    ...(family.labels ? { CKA_LABEL: identity.label } : {}),
    CKA_SUBJECT: facts.raw.subject,
    CKA_ISSUER: facts.raw.issuer,
    CKA_SERIAL_NUMBER: facts.raw.serial,
    CKA_VALUE: facts.der,
  };
}

/** What a token cannot do without; everything else is left to its own defaults. */
const NEEDED = [
  "CKA_CLASS",
  "CKA_KEY_TYPE",
  "CKA_TOKEN",
  "CKA_PRIVATE",
  "CKA_ID",
  "CKA_LABEL",
  "CKA_MODULUS_BITS",
  "CKA_PUBLIC_EXPONENT",
  "CKA_EC_PARAMS",
  "CKA_SENSITIVE",
  "CKA_EXTRACTABLE",
];

/** The same key pair with as few attributes as can be, and the names of those that were left out. */
export function minimalTemplates(full: KeyPairTemplates): { templates: KeyPairTemplates; left: string[] } {
  const keep = (attributes: Attributes): Attributes =>
    Object.fromEntries(Object.entries(attributes).filter(([name]) => NEEDED.includes(name)));
  const left = [full.publicKey, full.privateKey]
    .flatMap((attributes) => Object.entries(attributes))
    .filter(([name, value]) => value !== undefined && !NEEDED.includes(name))
    .map(([name]) => name);
  return {
    templates: { mechanism: full.mechanism, publicKey: keep(full.publicKey), privateKey: keep(full.privateKey) },
    left: [...new Set(left)],
  };
}
