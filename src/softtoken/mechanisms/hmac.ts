/**
 * Generic secrets and HMAC. PKCS#11 3.1, 6.8 and 6.18 to 6.26.
 * @module
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import type { Mechanism } from "../../cryptoki/port.ts";
import { keyType, mech } from "../codes.ts";
import { secretOf } from "../keys/material.ts";
import type { TokenObject } from "../objects/object.ts";
import { refuse } from "../refusal.ts";
import { type Definition, type Definitions, noParameter, numberOf } from "./definition.ts";
import { HASHES, type Hash } from "./hashes.ts";
import { signMac, verifyMac } from "./mac.ts";
import { truncated } from "./truncation.ts";

/** Bytes of a generic secret; a bound, so that a length that was meant in bits is noticed. */
const LENGTHS = { least: 1, most: 4096 } as const;
const BITS = [LENGTHS.least * 8, LENGTHS.most * 8] as const;
const BYTES = [LENGTHS.least, LENGTHS.most] as const;

function start(key: TokenObject, { name }: Hash) {
  const mac = createHmac(name, secretOf(key).key);
  return { update: (data: Uint8Array) => void mac.update(data), final: () => mac.digest() };
}

function hmac(hash: Hash, lengthOf: (mechanism: Mechanism) => number): Definition {
  return {
    sizes: BYTES,
    keyTypes: [keyType.GENERIC_SECRET, hash.keyType],
    isSymmetric: true,
    sign: (key, mechanism) => signMac(lengthOf(mechanism), () => start(key, hash)),
    verify: (key, mechanism) => verifyMac(lengthOf(mechanism), () => start(key, hash)),
  };
}

function whole(hash: Hash): Definition {
  return hmac(hash, (mechanism) => {
    noParameter(mechanism);
    return hash.length;
  });
}

/** The parameter says how many bytes of the MAC are wanted. */
function general(hash: Hash): Definition {
  return hmac(hash, (mechanism) => {
    const length = numberOf(mechanism);
    return length >= 1 && length <= hash.length ? length : refuse("CKR_MECHANISM_PARAM_INVALID");
  });
}

/** @param usual the length when none is given; without one it must be */
export function makeSecret(usual?: number): (length: number | undefined) => Uint8Array {
  return (length = usual) => {
    if (length === undefined) return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_VALUE_LEN is missing");
    if (length < LENGTHS.least || length > LENGTHS.most) return refuse("CKR_KEY_SIZE_RANGE", `${length} bytes`);
    return randomBytes(length);
  };
}

/** 6.18.5 and its like: the digest of a key, cut to length. */
function digestOfKey({ name }: Hash): Definition {
  return {
    sizes: BYTES,
    isSymmetric: true,
    derive(base, mechanism, request) {
      noParameter(mechanism);
      const value = createHash(name).update(secretOf(base).bytes).digest();
      return { value: truncated(value, request.length, "start") };
    },
  };
}

export const hmacMechanisms: Definitions = [
  [mech.GENERIC_SECRET_KEY_GEN, { sizes: BITS, generate: { keyType: keyType.GENERIC_SECRET, make: makeSecret() } }],
  ...HASHES.map((hash) => [hash.hmac, whole(hash)] as const),
  ...HASHES.map((hash) => [hash.hmacGeneral, general(hash)] as const),
  ...HASHES.map(
    (hash) =>
      [hash.keyGen, { sizes: BYTES, generate: { keyType: hash.keyType, make: makeSecret(hash.length) } }] as const,
  ),
  ...HASHES.map((hash) => [hash.derivation, digestOfKey(hash)] as const),
];
