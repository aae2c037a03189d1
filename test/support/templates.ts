/** Templates of an EC key pair, for tests that put objects into a token by hand. */
import { FAMILIES } from "../../src/families/families.ts";
import { type KeyPairTemplates, keyPairTemplates } from "../../src/lifecycle/templates.ts";
import { parseKeyType } from "../../src/lifecycle/values.ts";

export function templatesOfTest(id: string, label: string): KeyPairTemplates {
  return keyPairTemplates(
    { type: parseKeyType("EC:secp256r1"), identity: { id, label }, usage: ["sign"] },
    FAMILIES[0]!,
  );
}
