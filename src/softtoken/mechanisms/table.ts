/**
 * Every mechanism of the token, and what C_GetMechanismInfo says of each.
 * @module
 */
import type { Structure } from "../../cryptoki/port.ts";
import { MECHANISM_FLAGS } from "../../spec/flags.ts";
import { refuse } from "../refusal.ts";
import { aesMechanisms } from "./aes.ts";
import type { Definition, Definitions } from "./definition.ts";
import { derivationMechanisms } from "./derivation.ts";
import { digestMechanisms } from "./digest.ts";
import { ecdsaMechanisms } from "./ecdsa.ts";
import { eddsaMechanisms } from "./eddsa.ts";
import { hmacMechanisms } from "./hmac.ts";
import { pqcMechanisms } from "./pqc.ts";
import { rsaMechanisms } from "./rsa.ts";
import { rsaAesMechanisms } from "./rsa-aes.ts";

const FAMILIES: readonly Definitions[] = [
  rsaMechanisms,
  rsaAesMechanisms,
  ecdsaMechanisms,
  eddsaMechanisms,
  aesMechanisms,
  digestMechanisms,
  hmacMechanisms,
  derivationMechanisms,
  pqcMechanisms,
];

const table: ReadonlyMap<number, Definition> = new Map(FAMILIES.flat());

/** The flag of each operation that a definition may have. */
const FLAG_OF = {
  encrypt: MECHANISM_FLAGS.CKF_ENCRYPT[0],
  decrypt: MECHANISM_FLAGS.CKF_DECRYPT[0],
  digest: MECHANISM_FLAGS.CKF_DIGEST[0],
  sign: MECHANISM_FLAGS.CKF_SIGN[0],
  signRecover: MECHANISM_FLAGS.CKF_SIGN_RECOVER[0],
  verify: MECHANISM_FLAGS.CKF_VERIFY[0],
  verifyRecover: MECHANISM_FLAGS.CKF_VERIFY_RECOVER[0],
  generate: MECHANISM_FLAGS.CKF_GENERATE[0],
  generatePair: MECHANISM_FLAGS.CKF_GENERATE_KEY_PAIR[0],
  wrap: MECHANISM_FLAGS.CKF_WRAP[0],
  unwrap: MECHANISM_FLAGS.CKF_UNWRAP[0],
  derive: MECHANISM_FLAGS.CKF_DERIVE[0],
  encapsulate: MECHANISM_FLAGS.CKF_ENCAPSULATE[0],
  decapsulate: MECHANISM_FLAGS.CKF_DECAPSULATE[0],
} as const;

/** An operation that a mechanism may do. */
export type Ability = keyof typeof FLAG_OF;

export function mechanismCodes(): number[] {
  return [...table.keys()].sort((a, b) => a - b);
}

/** @throws Refusal CKR_MECHANISM_INVALID */
export function definitionOf(code: number): Definition {
  return table.get(code) ?? refuse("CKR_MECHANISM_INVALID");
}

/** @throws Refusal CKR_MECHANISM_INVALID */
export function mechanismInfo(code: number): Structure<"mechanismInfo"> {
  const definition = definitionOf(code);
  let flags = definition.flags ?? 0;
  for (const [ability, flag] of Object.entries(FLAG_OF)) {
    if (definition[ability as Ability] !== undefined) flags |= flag;
  }
  return { minKeySize: definition.sizes[0], maxKeySize: definition.sizes[1], flags: flags >>> 0 };
}
