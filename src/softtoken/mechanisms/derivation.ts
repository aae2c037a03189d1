/**
 * Keys from other keys: ECDH, HKDF, concatenation, exclusive or, extraction. PKCS#11 3.1, 6.3.17 to 6.3.20, 6.43, 6.62.
 * @module
 */
import { concat } from "../../codec/bytes.ts";
import type { Mechanism } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { agree } from "../../native/libcrypto/contexts.ts";
import { deriveKey, type Kdf } from "../../native/libcrypto/derivation.ts";
import { Pkey } from "../../native/libcrypto/keys.ts";
import { CALL_FLAGS, MECHANISM_FLAGS } from "../../spec/flags.ts";
import { kdf, keyType, mech } from "../codes.ts";
import { pointOf } from "../keys/curves.ts";
import { encodeEcPublic } from "../keys/encodings.ts";
import { pkeyOf, secretOf } from "../keys/material.ts";
import type { TokenObject } from "../objects/object.ts";
import { refuse } from "../refusal.ts";
import { type Definition, type Definitions, type DeriveRequest, numberOf, structureOf } from "./definition.ts";
import { curveOfKey } from "./ecdsa.ts";
import { HASHES, hashOfMechanism } from "./hashes.ts";
import { makeSecret } from "./hmac.ts";
import { truncated } from "./truncation.ts";

const EC_FLAGS = MECHANISM_FLAGS.CKF_EC_F_P[0] | MECHANISM_FLAGS.CKF_EC_OID[0] | MECHANISM_FLAGS.CKF_EC_UNCOMPRESS[0];

/** The functions that CKD_… name, and their hash. */
const KDFS: ReadonlyMap<number, { readonly function: Kdf; readonly digest: string; readonly length: number }> = new Map(
  HASHES.flatMap(({ name: digest, length, kdf: x963, kdfSp800 }) => {
    if (x963 === undefined || kdfSp800 === undefined) return [];
    return [
      [x963, { function: "X963KDF" as Kdf, digest, length }] as const,
      [kdfSp800, { function: "SSKDF" as Kdf, digest, length }] as const,
    ];
  }),
);

/** Whatever is wrong with the other public key is wrong with the parameter, also what its decoder refuses. */
function orRefuseParameter<T>(work: () => T): T {
  try {
    return work();
  } catch {
    return refuse("CKR_MECHANISM_PARAM_INVALID", "the other public key is not one of this curve");
  }
}

function ecdh(base: TokenObject, mechanism: Mechanism, request: DeriveRequest): Uint8Array {
  const given = structureOf(mechanism, "ecdh1Derive");
  const curve = curveOfKey(base);
  const own = pkeyOf(base);
  const secret = orRefuseParameter(() => {
    const peer = Pkey.fromPublic(encodeEcPublic(curve, pointOf(curve, Uint8Array.from(given.publicData))));
    try {
      return agree(own, peer);
    } finally {
      peer.free();
    }
  });
  const code = small(given.kdf);
  const info = Uint8Array.from(given.sharedData);
  if (code === kdf.NULL) {
    if (info.length > 0) return refuse("CKR_MECHANISM_PARAM_INVALID", "CKD_NULL takes no shared data");
    return truncated(secret, request.length, "end");
  }
  const chosen = KDFS.get(code) ?? refuse("CKR_MECHANISM_PARAM_INVALID", "the key derivation function is not known");
  const key = deriveKey(chosen.function, { digest: chosen.digest, secret, info }, request.length ?? chosen.length);
  secret.fill(0);
  return key;
}

const ecdhDefinition: Definition = {
  sizes: [255, 521],
  flags: EC_FLAGS,
  keyTypes: [keyType.EC, keyType.EC_MONTGOMERY],
  derive: (base, mechanism, request) => ({ value: ecdh(base, mechanism, request) }),
};

/** 6.62.3: extract, expand or both. */
function hkdf(base: TokenObject, mechanism: Mechanism, request: DeriveRequest): Uint8Array {
  const given = structureOf(mechanism, "hkdf");
  const hash = hashOfMechanism(small(given.prfHashMechanism));
  if (!given.extract && !given.expand) return refuse("CKR_MECHANISM_PARAM_INVALID", "neither extract nor expand");
  const both = given.extract && given.expand;
  if (!given.expand && request.length !== undefined && request.length > hash.length) {
    return refuse("CKR_KEY_SIZE_RANGE", `extracting gives ${hash.length} bytes`);
  }
  if (given.expand && (request.length ?? hash.length) > 255 * hash.length) return refuse("CKR_KEY_SIZE_RANGE");
  const derivation = {
    digest: hash.name,
    secret: secretOf(base).bytes,
    info: given.expand ? Uint8Array.from(given.info) : new Uint8Array(0),
    ...(given.extract ? { salt: saltOf(mechanism, request) } : {}),
    ...(both ? {} : ({ part: given.extract ? "extract" : "expand" } as const)),
  };
  const made = deriveKey("HKDF", derivation, given.expand ? (request.length ?? hash.length) : hash.length);
  return truncated(made, request.length, "start");
}

function saltOf(mechanism: Mechanism, request: DeriveRequest): Uint8Array {
  const { saltType, salt, saltKey } = structureOf(mechanism, "hkdf");
  switch (small(saltType)) {
    case CALL_FLAGS.CKF_HKDF_SALT_NULL[0]:
      return new Uint8Array(0);
    case CALL_FLAGS.CKF_HKDF_SALT_DATA[0]:
      return Uint8Array.from(salt);
    case CALL_FLAGS.CKF_HKDF_SALT_KEY[0]:
      return secretOf(request.key(saltKey)).bytes;
    default:
      return refuse("CKR_MECHANISM_PARAM_INVALID", "the type of the salt is not known");
  }
}

const hkdfDefinition: Definition = {
  sizes: [1, 4096],
  keyTypes: [keyType.HKDF, keyType.GENERIC_SECRET],
  isSymmetric: true,
  derive: (base, mechanism, request) => ({ value: hkdf(base, mechanism, request) }),
};

/** 6.43: the new key is at least as closed as those it is made of. */
function joined(join: (base: Uint8Array, mechanism: Mechanism, request: DeriveRequest) => JoinedKey): Definition {
  return {
    sizes: [1, 4096],
    isSymmetric: true,
    inheritsSecrecy: true,
    derive(base, mechanism, request) {
      const { value, others } = join(secretOf(base).bytes, mechanism, request);
      return { value: truncated(value, request.length, "start"), others: others ?? [] };
    },
  };
}

interface JoinedKey {
  readonly value: Uint8Array;
  readonly others?: readonly TokenObject[];
}

const dataOf = (mechanism: Mechanism) => structureOf(mechanism, "keyDerivationString").data;

function exclusiveOr(base: Uint8Array, data: Uint8Array): Uint8Array {
  // 6.43.6: as long as the shorter of the two.
  return base.subarray(0, Math.min(base.length, data.length)).map((byte, i) => byte ^ data[i]!);
}

/** 6.43.7: bits from a position, counted from the most significant one, and round again at the end. */
function extract(base: Uint8Array, position: number, length: number | undefined): Uint8Array {
  if (length === undefined) return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_VALUE_LEN is missing");
  if (position >= base.length * 8) return refuse("CKR_MECHANISM_PARAM_INVALID", `the key has ${base.length * 8} bits`);
  if (length > base.length) return refuse("CKR_KEY_SIZE_RANGE", `${length} bytes of ${base.length}`);
  const [from, shift] = [Math.floor(position / 8), position % 8];
  return Uint8Array.from({ length }, (_, i) => {
    const [high, low] = [base[(from + i) % base.length]!, base[(from + i + 1) % base.length]!];
    return ((high << shift) | (low >>> (8 - shift))) & 0xff;
  });
}

export const derivationMechanisms: Definitions = [
  [mech.ECDH1_DERIVE, ecdhDefinition],
  // Every curve here has cofactor 1 in the sense of X9.63.
  [mech.ECDH1_COFACTOR_DERIVE, { ...ecdhDefinition, keyTypes: [keyType.EC] }],
  [mech.HKDF_DERIVE, hkdfDefinition],
  [mech.HKDF_DATA, { ...hkdfDefinition, derivesData: true }],
  [mech.HKDF_KEY_GEN, { sizes: [1, 4096], generate: { keyType: keyType.HKDF, make: makeSecret() } }],
  [
    mech.CONCATENATE_BASE_AND_KEY,
    joined((base, mechanism, request) => {
      const other = request.key(numberOf(mechanism));
      return { value: concat(base, secretOf(other).bytes), others: [other] };
    }),
  ],
  [mech.CONCATENATE_BASE_AND_DATA, joined((base, mechanism) => ({ value: concat(base, dataOf(mechanism)) }))],
  [mech.CONCATENATE_DATA_AND_BASE, joined((base, mechanism) => ({ value: concat(dataOf(mechanism), base) }))],
  [mech.XOR_BASE_AND_DATA, joined((base, mechanism) => ({ value: exclusiveOr(base, dataOf(mechanism)) }))],
  [
    mech.EXTRACT_KEY_FROM_KEY,
    joined((base, mechanism, request) => ({ value: extract(base, numberOf(mechanism), request.length) })),
  ],
];
