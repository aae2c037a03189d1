/**
 * ECDSA and the generation of EC keys. PKCS#11 3.1, 6.3.
 *
 * The digest goes to libcrypto as it is: node:crypto's `sign(null, digest, ecKey)` would hash it again.
 * @module
 */
import { createECDH, generateKeyPairSync } from "node:crypto";
import { MECHANISM_FLAGS } from "../../spec/flags.ts";
import { attr, keyType, mech } from "../codes.ts";
import { curveOfParams, encodePoint, type TokenCurve } from "../keys/curves.ts";
import { exportPair } from "../keys/encodings.ts";
import { signerOf, verifierOf } from "../keys/material.ts";
import type { TokenObject } from "../objects/object.ts";
import type { SignWork, VerifyWork } from "../operations/state.ts";
import { refuse } from "../refusal.ts";
import type { Values } from "../store/record.ts";
import { type Definition, type Definitions, noParameter, type PairParts } from "./definition.ts";
import { HASHES } from "./hashes.ts";
import { signHashed, verifyHashed } from "./hashing.ts";

const SIZES = [256, 521] as const;
const FLAGS =
  MECHANISM_FLAGS.CKF_EC_F_P[0] |
  MECHANISM_FLAGS.CKF_EC_OID[0] |
  MECHANISM_FLAGS.CKF_EC_UNCOMPRESS[0] |
  MECHANISM_FLAGS.CKF_EC_COMPRESS[0];

/** Bytes of r and of s: those of the group's order (6.3.1). */
function halfLength(curve: TokenCurve): number {
  return Math.ceil(curve.bits / 8);
}

export function curveOfKey(key: TokenObject): TokenCurve {
  return curveOfParams(key.bytes(attr.EC_PARAMS)!, key.keyType!);
}

function signDigest(key: TokenObject, half: number): (digest: Uint8Array) => Uint8Array {
  return (digest) => fromDer(signerOf(key, "ecdsa").sign(digest), half);
}

function verifyDigest(key: TokenObject, half: number): (digest: Uint8Array, signature: Uint8Array) => void {
  return (digest, signature) => {
    if (signature.length !== 2 * half) refuse("CKR_SIGNATURE_LEN_RANGE", `${2 * half} bytes expected`);
    if (!verifierOf(key, "ecdsa").verify(digest, toDer(signature, half))) refuse("CKR_SIGNATURE_INVALID");
  };
}

/** r and s of a fixed length, of OpenSSL's DER: SEQUENCE, INTEGER, INTEGER. */
function fromDer(der: Uint8Array, half: number): Uint8Array {
  const signature = new Uint8Array(2 * half);
  // A sequence of up to 141 bytes has a length of one or two bytes.
  let at = der[1]! < 0x80 ? 2 : 3;
  for (let end = half; end <= 2 * half; end += half) {
    let length = der[at + 1]!;
    at += 2;
    // The zero before a high bit.
    if (length > half) {
      at += length - half;
      length = half;
    }
    signature.set(der.subarray(at, at + length), end - length);
    at += length;
  }
  return signature;
}

function toDer(signature: Uint8Array, half: number): Uint8Array {
  const integers = [signature.subarray(0, half), signature.subarray(half)].map((part) => {
    let start = 0;
    while (start < half - 1 && part[start] === 0) start += 1;
    const value = part.subarray(start);
    return value[0]! >= 0x80 ? [2, value.length + 1, 0, ...value] : [2, value.length, ...value];
  });
  const contents = integers.flat();
  const head = contents.length < 0x80 ? [0x30, contents.length] : [0x30, 0x81, contents.length];
  return Uint8Array.from([...head, ...contents]);
}

const raw: Definition = {
  sizes: SIZES,
  flags: FLAGS,
  keyTypes: [keyType.EC],
  sign(key, mechanism): SignWork {
    noParameter(mechanism);
    const half = halfLength(curveOfKey(key));
    return { length: 2 * half, once: signDigest(key, half) };
  },
  verify(key, mechanism): VerifyWork {
    noParameter(mechanism);
    return { once: verifyDigest(key, halfLength(curveOfKey(key))) };
  },
};

function hashed(hash: string): Definition {
  return {
    ...raw,
    sign(key, mechanism) {
      noParameter(mechanism);
      const half = halfLength(curveOfKey(key));
      return signHashed(hash, 2 * half, signDigest(key, half));
    },
    verify(key, mechanism) {
      noParameter(mechanism);
      return verifyHashed(hash, verifyDigest(key, halfLength(curveOfKey(key))));
    },
  };
}

/** A quarter of the time that generateKeyPairSync takes, which also makes and unmakes key objects. */
function weierstrassPair(curve: TokenCurve): PairParts {
  const ecdh = createECDH(curve.openssl);
  const point = new Uint8Array(ecdh.generateKeys());
  const scalar = ecdh.getPrivateKey();
  const value = new Uint8Array(halfLength(curve));
  value.set(scalar, value.length - scalar.length);
  scalar.fill(0);
  return {
    publicKey: { keyType: curve.keyType, values: new Map([[attr.EC_POINT, encodePoint(point)]]), secrets: new Map() },
    privateKey: { keyType: curve.keyType, values: new Map(), secrets: new Map([[attr.VALUE, value]]) },
  };
}

function otherPair(curve: TokenCurve): PairParts {
  // node's types know each of these by a literal of its own.
  const pair = generateKeyPairSync(curve.openssl as "ed25519");
  return exportPair(pair.publicKey, pair.privateKey);
}

/** A new key pair on the curve that the public template names. */
function generateOnCurve(type: number, publicTemplate: Values): PairParts {
  const params = publicTemplate.get(attr.EC_PARAMS);
  if (!(params instanceof Uint8Array)) return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_EC_PARAMS is missing");
  const curve = curveOfParams(params, type);
  const parts = curve.family === "weierstrass" ? weierstrassPair(curve) : otherPair(curve);
  // The curve goes by the name that the caller gave it.
  parts.publicKey.values.set(attr.EC_PARAMS, params);
  parts.privateKey.values.set(attr.EC_PARAMS, params);
  return parts;
}

export function pairOnCurve(type: number): Definition["generatePair"] {
  return { keyType: type, make: (publicTemplate) => generateOnCurve(type, publicTemplate) };
}

export const ecdsaMechanisms: Definitions = [
  [mech.EC_KEY_PAIR_GEN, { sizes: SIZES, flags: FLAGS, generatePair: pairOnCurve(keyType.EC)! }],
  [mech.ECDSA, raw],
  ...HASHES.flatMap(({ ecdsa, name }) => (ecdsa === undefined ? [] : [[ecdsa, hashed(name)] as const])),
];
