/**
 * What the token adds to a key, and what it checks, when a key comes in by its parts.
 * @module
 */
import {
  createCipheriv,
  createECDH,
  createHash,
  createPrivateKey,
  createPublicKey,
  timingSafeEqual,
} from "node:crypto";
import { bigintToBytes, bytesToBigint } from "../../codec/bytes.ts";
import type { Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { Pkey } from "../../native/libcrypto/keys.ts";
import { attr, cls, keyType } from "../codes.ts";
import { orRefuse, refuse } from "../refusal.ts";
import type { Values } from "../store/record.ts";
import { curveOfParams, curveParams, encodePoint, pointOf } from "./curves.ts";
import { encodeEcPublic, encodePrivateKey, encodePublicKey, encodeSeed } from "./encodings.ts";
import { parameterSet } from "./pqc.ts";

const RSA_BITS = { least: 2048, most: 8192 } as const;
const AES_LENGTHS: readonly number[] = [16, 24, 32];
const CHECK_VALUE_LENGTH = 3;

type Secrets = Map<number, Uint8Array>;

/**
 * Completes and checks a key: CKA_MODULUS_BITS, CKA_PUBLIC_KEY_INFO, CKA_VALUE_LEN, CKA_CHECK_VALUE, the parts of an
 * RSA key that follow from the others.
 * @throws Refusal CKR_ATTRIBUTE_VALUE_INVALID, CKR_CURVE_NOT_SUPPORTED
 */
export function completeKey(values: Values, secrets: Secrets): void {
  const type = small(values.get(attr.KEY_TYPE) as Ulong);
  const objectClass = values.get(attr.CLASS);
  if (objectClass === cls.SECRET_KEY) completeSecret(type, values, secrets);
  else if (objectClass === cls.PUBLIC_KEY) completePublic(type, values);
  else if (objectClass === cls.PRIVATE_KEY) completePrivate(type, values, secrets);
}

const bad = (detail: string): never => refuse("CKR_ATTRIBUTE_VALUE_INVALID", detail);

function completeSecret(type: number, values: Values, secrets: Secrets): void {
  const value = secrets.get(attr.VALUE) ?? bad("CKA_VALUE is missing");
  if (type === keyType.AES && !AES_LENGTHS.includes(value.length)) bad(`an AES key of ${value.length} bytes`);
  if (value.length === 0) bad("CKA_VALUE is empty");
  values.set(attr.VALUE_LEN, value.length);
  setCheckValue(values, checkValue(type, value));
}

/** Of an AES key the first bytes of a block of zeroes encrypted, of other secrets those of their SHA-1. */
function checkValue(type: number, value: Uint8Array): Uint8Array {
  if (type !== keyType.AES) return createHash("sha1").update(value).digest().subarray(0, CHECK_VALUE_LENGTH);
  const cipher = createCipheriv(`aes-${value.length * 8}-ecb`, value, null).setAutoPadding(false);
  return cipher.update(new Uint8Array(16)).subarray(0, CHECK_VALUE_LENGTH);
}

/** An empty CKA_CHECK_VALUE in the template asks for none; any other must be the right one. */
export function setCheckValue(values: Values, right: Uint8Array): void {
  const given = values.get(attr.CHECK_VALUE);
  if (given instanceof Uint8Array && given.length > 0 && Buffer.compare(given, right) !== 0) {
    bad("CKA_CHECK_VALUE does not belong to the value");
  }
  if (given === undefined) values.set(attr.CHECK_VALUE, Uint8Array.from(right));
}

function completePublic(type: number, values: Values): void {
  const bytes = (of: number) => values.get(of) as Uint8Array;
  if (type === keyType.RSA) {
    values.set(attr.MODULUS, bigintToBytes(bytesToBigint(bytes(attr.MODULUS))));
    values.set(attr.MODULUS_BITS, checkRsaSize(bytes(attr.MODULUS)));
  } else if (values.has(attr.EC_PARAMS)) {
    const curve = curveOfParams(bytes(attr.EC_PARAMS), type);
    values.set(attr.EC_POINT, encodePoint(pointOf(curve, bytes(attr.EC_POINT))));
  }
  const info = encodePublicKey(type, bytes, numberOf(values, attr.PARAMETER_SET));
  orRefuse("CKR_ATTRIBUTE_VALUE_INVALID", "the parts make no public key", () => {
    if (numberOf(values, attr.PARAMETER_SET) === undefined)
      createPublicKey({ key: der(info), format: "der", type: "spki" });
    else Pkey.fromPublic(info).free();
  });
  values.set(attr.PUBLIC_KEY_INFO, info);
}

function numberOf(values: Values, type: number): number | undefined {
  const value = values.get(type);
  return value === undefined ? undefined : small(value as Ulong);
}

function der(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function checkRsaSize(modulus: Uint8Array): number {
  const bits = bytesToBigint(modulus).toString(2).length;
  if (bits < RSA_BITS.least || bits > RSA_BITS.most) bad(`an RSA modulus of ${bits} bits`);
  return bits;
}

function completePrivate(type: number, values: Values, secrets: Secrets): void {
  const given = values.get(attr.PUBLIC_KEY_INFO);
  derivePublic(type, values, secrets);
  // C_CreateObject may give it, and it must belong to the key.
  if (
    given !== undefined &&
    Buffer.compare(given as Uint8Array, values.get(attr.PUBLIC_KEY_INFO) as Uint8Array) !== 0
  ) {
    bad("CKA_PUBLIC_KEY_INFO is of another key");
  }
}

/** CKA_PUBLIC_KEY_INFO, from the parts. */
function derivePublic(type: number, values: Values, secrets: Secrets): void {
  if (type === keyType.RSA) {
    completeRsa(values, secrets);
    const bytes = (of: number) => values.get(of) as Uint8Array;
    values.set(attr.PUBLIC_KEY_INFO, encodePublicKey(type, bytes));
  } else if (values.has(attr.PARAMETER_SET)) {
    completePqc(type, values, secrets);
  } else {
    completeEc(type, values, secrets);
  }
}

/** The parts must fit each other; what follows from the others is computed when it is not given. */
function completeRsa(values: Values, secrets: Secrets): void {
  checkRsaSize(values.get(attr.MODULUS) as Uint8Array);
  const number = (type: number) => bytesToBigint(secrets.get(type) ?? (values.get(type) as Uint8Array));
  const [n, e, d] = [number(attr.MODULUS), number(attr.PUBLIC_EXPONENT), number(attr.PRIVATE_EXPONENT)];
  const [p, q] = [number(attr.PRIME_1), number(attr.PRIME_2)];
  if (p < 3n || q < 3n || p * q !== n) bad("CKA_PRIME_1 times CKA_PRIME_2 is not CKA_MODULUS");
  if ((e * d) % (p - 1n) !== 1n || (e * d) % (q - 1n) !== 1n) bad("CKA_PRIVATE_EXPONENT does not fit the other parts");
  const follows: readonly [number, bigint][] = [
    [attr.EXPONENT_1, d % (p - 1n)],
    [attr.EXPONENT_2, d % (q - 1n)],
    [attr.COEFFICIENT, inverse(q, p)],
  ];
  for (const [type, value] of follows) {
    if (secrets.has(type) && number(type) !== value) bad("an exponent or the coefficient does not fit the primes");
    secrets.set(type, bigintToBytes(value));
  }
  for (const type of [attr.MODULUS, attr.PUBLIC_EXPONENT]) values.set(type, bigintToBytes(number(type)));
}

/** The inverse of `a` modulo `m`, by Euclid's algorithm. */
function inverse(a: bigint, m: bigint): bigint {
  let [r0, r1, t0, t1] = [m, a % m, 0n, 1n];
  while (r1 !== 0n) {
    const quotient = r0 / r1;
    [r0, r1] = [r1, r0 - quotient * r1];
    [t0, t1] = [t1, t0 - quotient * t1];
  }
  return t0 < 0n ? t0 + m : t0;
}

function completeEc(type: number, values: Values, secrets: Secrets): void {
  const curve = curveOfParams(values.get(attr.EC_PARAMS) as Uint8Array, type);
  const value = secrets.get(attr.VALUE) ?? bad("CKA_VALUE is missing");
  if (curve.family === "weierstrass") {
    const scalar = bigintToBytes(bytesToBigint(value), curve.bytes);
    const point = orRefuse("CKR_ATTRIBUTE_VALUE_INVALID", "CKA_VALUE is no private key of the curve", () => {
      const ecdh = createECDH(curve.openssl);
      ecdh.setPrivateKey(scalar);
      return ecdh.getPublicKey();
    });
    secrets.set(attr.VALUE, scalar);
    values.set(attr.PUBLIC_KEY_INFO, encodeEcPublic(curve, point));
    return;
  }
  if (value.length !== curve.bytes) bad(`CKA_VALUE has ${value.length} bytes, expected ${curve.bytes}`);
  values.set(attr.PUBLIC_KEY_INFO, publicOfMontgomeryOrEdwards(curveParams(curve), value));
}

/** PrivateKeyInfo of RFC 8410 7, short enough for one-byte lengths. */
function publicOfMontgomeryOrEdwards(oid: Uint8Array, value: Uint8Array): Uint8Array {
  const key = Buffer.from([0x04, value.length + 2, 0x04, value.length, ...value]);
  const head = [0x02, 0x01, 0x00, 0x30, oid.length, ...oid];
  const info = Buffer.from([0x30, head.length + key.length, ...head, ...key]);
  const publicKey = createPublicKey(createPrivateKey({ key: info, format: "der", type: "pkcs8" }));
  info.fill(0);
  key.fill(0);
  return new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
}

/** The seed gives the expanded key, and the private key the public one. */
function completePqc(type: number, values: Values, secrets: Secrets): void {
  const code = numberOf(values, attr.PARAMETER_SET)!;
  const set = parameterSet(type, code) ?? refuse("CKR_PARAMETER_SET_NOT_SUPPORTED");
  const seed = secrets.get(attr.SEED);
  const value = secrets.get(attr.VALUE);
  if (value !== undefined && value.length !== set.privateLength) bad(`CKA_VALUE is no key of ${set.openssl}`);
  if (value === undefined && seed === undefined) bad("neither CKA_VALUE nor CKA_SEED is there");
  const info = seed === undefined ? encodePrivateKey(type, (of) => secrets.get(of), code) : encodeSeed(set, seed);
  orRefuse("CKR_ATTRIBUTE_VALUE_INVALID", `the parts make no key of ${set.openssl}`, () => {
    const key = Pkey.fromPrivate(info);
    const expanded = key.part("priv", set.privateLength);
    if (value !== undefined && !timingSafeEqual(value, expanded)) bad("CKA_VALUE and CKA_SEED are of different keys");
    secrets.set(attr.VALUE, expanded);
    const parts: Values = new Map([[attr.VALUE, key.part("pub", set.publicLength)]]);
    key.free();
    values.set(
      attr.PUBLIC_KEY_INFO,
      encodePublicKey(type, (of) => parts.get(of) as Uint8Array, code),
    );
  });
  info.fill(0);
}
