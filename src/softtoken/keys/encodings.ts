/**
 * Keys as DER, to and from their attributes: SubjectPublicKeyInfo (RFC 5280 4.1.2.7) and PrivateKeyInfo (RFC 5208,
 * RFC 5958), which is also what is wrapped (PKCS#11 3.1, 6.7).
 * @module
 */
import type { KeyObject } from "node:crypto";
import { bigintToBytes, bytesToBigint, Reader } from "../../codec/bytes.ts";
import {
  der,
  derBitString,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  expectTlv,
  readBitString,
  readInteger,
  readOctetString,
  readOid,
  TAG,
} from "../../codec/der.ts";
import { attr, keyType } from "../codes.ts";
import type { Values } from "../store/record.ts";
import { curveByOid, curveOfParams, curveParams, encodePoint, pointOf, type TokenCurve, tokenCurve } from "./curves.ts";
import { type ParameterSet, parameterSet, parameterSetByOid } from "./pqc.ts";

const OID = { rsa: "1.2.840.113549.1.1.1", ec: "1.2.840.10045.2.1" } as const;

/** A key pair's attributes, those in the open and those to be sealed. */
export interface KeyParts {
  readonly keyType: number;
  readonly values: Values;
  readonly secrets: Map<number, Uint8Array>;
}

/** The attributes that hold an RSA private key, in the order of RSAPrivateKey (RFC 8017 A.1.2). */
const RSA_FIELDS = [
  attr.MODULUS,
  attr.PUBLIC_EXPONENT,
  attr.PRIVATE_EXPONENT,
  attr.PRIME_1,
  attr.PRIME_2,
  attr.EXPONENT_1,
  attr.EXPONENT_2,
  attr.COEFFICIENT,
] as const;

const PUBLIC_RSA_FIELDS = 2;

function algorithm(oid: string, ...parameters: Uint8Array[]): Uint8Array {
  return derSequence(derOid(oid), ...parameters);
}

/** SubjectPublicKeyInfo of the attributes of a public key. */
export function encodePublicKey(type: number, bytes: (type: number) => Uint8Array, set?: number): Uint8Array {
  const int = (of: number) => derInteger(bytesToBigint(bytes(of)));
  if (type === keyType.RSA) {
    const key = derSequence(int(attr.MODULUS), int(attr.PUBLIC_EXPONENT));
    return derSequence(algorithm(OID.rsa, derNull), derBitString(key));
  }
  const named = set === undefined ? undefined : parameterSet(type, set);
  if (named !== undefined) return derSequence(algorithm(named.oid), derBitString(bytes(attr.VALUE)));
  const curve = curveOfParams(bytes(attr.EC_PARAMS), type);
  return encodeEcPublic(curve, pointOf(curve, bytes(attr.EC_POINT)));
}

/** SubjectPublicKeyInfo of a point. */
export function encodeEcPublic(curve: TokenCurve, point: Uint8Array): Uint8Array {
  return derSequence(ecAlgorithm(curve), derBitString(point));
}

function ecAlgorithm(curve: TokenCurve): Uint8Array {
  return curve.family === "weierstrass" ? algorithm(OID.ec, derOid(curve.oid)) : algorithm(curve.oid);
}

/**
 * PrivateKeyInfo of the attributes of a private key.
 * @param bytes gives an attribute's value, sealed ones too
 */
export function encodePrivateKey(
  type: number,
  bytes: (type: number) => Uint8Array | undefined,
  set?: number,
): Uint8Array {
  if (type === keyType.RSA) {
    const fields = RSA_FIELDS.map((field) => derInteger(bytesToBigint(bytes(field)!)));
    return privateKeyInfo(algorithm(OID.rsa, derNull), derSequence(derInteger(0n), ...fields));
  }
  const named = set === undefined ? undefined : parameterSet(type, set);
  if (named !== undefined) {
    return privateKeyInfo(algorithm(named.oid), encodePqcPrivate(named, bytes(attr.VALUE)!, bytes(attr.SEED)));
  }
  const curve = curveOfParams(bytes(attr.EC_PARAMS)!, type);
  const value = bytes(attr.VALUE)!;
  if (curve.family !== "weierstrass") return privateKeyInfo(ecAlgorithm(curve), derOctetString(value));
  const scalar = bigintToBytes(bytesToBigint(value), curve.bytes);
  return privateKeyInfo(ecAlgorithm(curve), derSequence(derInteger(1n), derOctetString(scalar)));
}

/** ML-DSA and ML-KEM: both seed and expanded key where there is a seed (RFC 9881 6, RFC 9935 6); SLH-DSA: bare. */
function encodePqcPrivate(set: ParameterSet, value: Uint8Array, seed: Uint8Array | undefined): Uint8Array {
  if (!set.hasSeed) return value;
  return seed === undefined ? derOctetString(value) : derSequence(derOctetString(seed), derOctetString(value));
}

function privateKeyInfo(of: Uint8Array, key: Uint8Array): Uint8Array {
  return derSequence(derInteger(0n), of, derOctetString(key));
}

/** The attributes of a SubjectPublicKeyInfo. @throws CodecError, or Refusal for a curve the token does not have */
function decodePublicKey(spki: Uint8Array): KeyParts | undefined {
  const r = new Reader(spki, "SubjectPublicKeyInfo");
  const { value } = expectTlv(r, TAG.sequence, "SubjectPublicKeyInfo");
  const kind = readAlgorithm(value);
  const key = readBitString(value, "subjectPublicKey");
  if (kind.type === "rsa") {
    const numbers = expectTlv(new Reader(key, "RSAPublicKey"), TAG.sequence, "RSAPublicKey").value;
    const values: Values = new Map();
    for (const field of RSA_FIELDS.slice(0, PUBLIC_RSA_FIELDS)) values.set(field, bigintToBytes(readInteger(numbers)));
    return { keyType: keyType.RSA, values, secrets: new Map() };
  }
  if (kind.type === "pqc") {
    const values: Values = new Map<number, number | Uint8Array>([
      [attr.PARAMETER_SET, kind.set.code],
      [attr.VALUE, key],
    ]);
    return { keyType: kind.set.keyType, values, secrets: new Map() };
  }
  if (kind.type === "none") return undefined;
  const values: Values = new Map([
    [attr.EC_PARAMS, curveParams(kind.curve)],
    [attr.EC_POINT, encodePoint(key)],
  ]);
  return { keyType: kind.curve.keyType, values, secrets: new Map() };
}

/** The attributes of a PrivateKeyInfo; undefined for a kind of key that the token does not have. @throws CodecError */
export function decodePrivateKey(pkcs8: Uint8Array): KeyParts | undefined {
  const r = new Reader(pkcs8, "PrivateKeyInfo");
  const { value } = expectTlv(r, TAG.sequence, "PrivateKeyInfo");
  r.end();
  readInteger(value, "version");
  const kind = readAlgorithm(value);
  const key = readOctetString(value, "privateKey");
  switch (kind.type) {
    case "rsa":
      return decodeRsaPrivate(key);
    case "pqc":
      return decodePqcPrivate(kind.set, key);
    case "curve":
      return decodeEcPrivate(kind.curve, key);
    case "none":
      return undefined;
  }
}

/** The attributes of a key pair that node:crypto made. */
export function exportPair(publicKey: KeyObject, privateKey: KeyObject): { publicKey: KeyParts; privateKey: KeyParts } {
  const info = privateKey.export({ type: "pkcs8", format: "der" });
  try {
    return {
      publicKey: decodePublicKey(publicKey.export({ type: "spki", format: "der" }))!,
      privateKey: decodePrivateKey(info)!,
    };
  } finally {
    info.fill(0);
  }
}

type Algorithm =
  | { readonly type: "rsa" }
  | { readonly type: "curve"; readonly curve: TokenCurve }
  | { readonly type: "pqc"; readonly set: ParameterSet }
  | { readonly type: "none" };

function readAlgorithm(r: Reader): Algorithm {
  const { value } = expectTlv(r, TAG.sequence, "algorithm");
  const oid = readOid(value, "algorithm");
  if (oid === OID.rsa) return { type: "rsa" };
  const set = parameterSetByOid(oid);
  if (set !== undefined) return { type: "pqc", set };
  // Explicit curve parameters are a SEQUENCE; only named curves are taken.
  const named = oid === OID.ec ? (value.left > 0 && value.peek() === TAG.oid ? readOid(value, "curve") : "") : oid;
  const curve = tokenCurve(curveByOid(named));
  return curve === undefined ? { type: "none" } : { type: "curve", curve };
}

function decodeRsaPrivate(key: Uint8Array): KeyParts {
  const numbers = expectTlv(new Reader(key, "RSAPrivateKey"), TAG.sequence, "RSAPrivateKey").value;
  readInteger(numbers, "version");
  const values: Values = new Map();
  const secrets = new Map<number, Uint8Array>();
  RSA_FIELDS.forEach((field, i) => {
    const number = bigintToBytes(readInteger(numbers));
    if (i < PUBLIC_RSA_FIELDS) values.set(field, number);
    else secrets.set(field, number);
  });
  return { keyType: keyType.RSA, values, secrets };
}

function decodeEcPrivate(curve: TokenCurve, key: Uint8Array): KeyParts {
  const values: Values = new Map([[attr.EC_PARAMS, curveParams(curve)]]);
  const r = new Reader(key, "ECPrivateKey");
  if (curve.family !== "weierstrass") {
    const value = readOctetString(r, "private key");
    return { keyType: curve.keyType, values, secrets: new Map([[attr.VALUE, new Uint8Array(value)]]) };
  }
  const fields = expectTlv(r, TAG.sequence, "ECPrivateKey").value;
  readInteger(fields, "version");
  const scalar = bytesToBigint(readOctetString(fields, "private key"));
  return {
    keyType: curve.keyType,
    values,
    secrets: new Map([[attr.VALUE, bigintToBytes(scalar, curve.bytes)]]),
  };
}

const SEED_TAG = 0x80;

function decodePqcPrivate(set: ParameterSet, key: Uint8Array): KeyParts {
  const values: Values = new Map([[attr.PARAMETER_SET, set.code]]);
  const secrets = new Map<number, Uint8Array>();
  if (!set.hasSeed) {
    secrets.set(attr.VALUE, new Uint8Array(key));
    return { keyType: set.keyType, values, secrets };
  }
  const r = new Reader(key, "private key");
  if (r.peek() === SEED_TAG) {
    secrets.set(attr.SEED, expectSeed(r));
  } else if (r.peek() === TAG.sequence) {
    const both = expectTlv(r, TAG.sequence, "both").value;
    secrets.set(attr.SEED, new Uint8Array(readOctetString(both, "seed")));
    secrets.set(attr.VALUE, new Uint8Array(readOctetString(both, "expanded key")));
  } else {
    secrets.set(attr.VALUE, new Uint8Array(readOctetString(r, "expanded key")));
  }
  return { keyType: set.keyType, values, secrets };
}

function expectSeed(r: Reader): Uint8Array {
  const { value } = expectTlv(r, SEED_TAG, "seed");
  return new Uint8Array(value.take(value.left));
}

/** An ECPrivateKey or RSAPrivateKey needs its algorithm when it is given alone: PrivateKeyInfo of a seed only. */
export function encodeSeed(set: ParameterSet, seed: Uint8Array): Uint8Array {
  return privateKeyInfo(algorithm(set.oid), der(SEED_TAG, seed));
}
