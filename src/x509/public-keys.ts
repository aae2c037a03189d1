/**
 * Public keys: from a token's attributes to SubjectPublicKeyInfo, and from there to JWK and SSH.
 * @module
 */
import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { bytesToBigint, concat, fromUtf8, Reader, utf8 } from "../codec/bytes.ts";
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
  readOid,
  readTlv,
  TAG,
} from "../codec/der.ts";
import { CodecError } from "../codec/errors.ts";
import { encodePem } from "../codec/pem.ts";
import type { AttributesRead, TokenObject } from "../cryptoki/session/objects.ts";
import { CURVES, type Curve, type CurveName, curveByOid, curveNames } from "../spec/curves.ts";
import { X509Error } from "./errors.ts";

const RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY = "1.2.840.10045.2.1";

/** The attributes that a public key is read from. */
export const PUBLIC_KEY_ATTRIBUTES = [
  "CKA_KEY_TYPE",
  "CKA_MODULUS",
  "CKA_PUBLIC_EXPONENT",
  "CKA_EC_PARAMS",
  "CKA_EC_POINT",
] as const;

/** What was read of a public key, or of a private key that carries its public part. */
export type PublicKeyAttributes = AttributesRead<(typeof PUBLIC_KEY_ATTRIBUTES)[number]>;

/** The SubjectPublicKeyInfo of a public key object. @throws X509Error when its attributes do not make one */
export async function publicKeyOf(key: TokenObject): Promise<Uint8Array> {
  const spki = spkiFromAttributes(await key.get(...PUBLIC_KEY_ATTRIBUTES));
  if (spki === undefined) throw new X509Error("the object does not hold a whole public key");
  return spki;
}

/**
 * SubjectPublicKeyInfo (RFC 5280 4.1.2.7) from PKCS#11 attributes; undefined where they do not hold a whole public key,
 * as in an EC private key.
 * @throws X509Error for a curve or point that cannot be read
 */
export function spkiFromAttributes(a: PublicKeyAttributes): Uint8Array | undefined {
  if (a.CKA_MODULUS !== undefined && a.CKA_PUBLIC_EXPONENT !== undefined) {
    if (a.CKA_MODULUS.length === 0 || a.CKA_PUBLIC_EXPONENT.length === 0) return undefined;
    const key = derSequence(derInteger(bytesToBigint(a.CKA_MODULUS)), derInteger(bytesToBigint(a.CKA_PUBLIC_EXPONENT)));
    return derSequence(derSequence(derOid(RSA_ENCRYPTION), derNull), derBitString(key));
  }
  if (a.CKA_EC_PARAMS === undefined || a.CKA_EC_POINT === undefined || a.CKA_EC_POINT.length === 0) return undefined;
  const name = curveFromParams(a.CKA_EC_PARAMS);
  if (name === undefined) return undefined;
  const curve: Curve = CURVES[name];
  const { CKA_EC_POINT: bytes } = a;
  const point = fromToken(() => ecPoint(bytes, curve));
  const algorithm =
    curve.family === "weierstrass"
      ? derSequence(derOid(EC_PUBLIC_KEY), derOid(curve.oid))
      : derSequence(derOid(curve.oid));
  return derSequence(algorithm, derBitString(point));
}

/**
 * The curve that CKA_EC_PARAMS names, by object identifier or by name (PKCS#11 3.0 6.3.5).
 * @throws X509Error for bytes that are not DER
 */
export function curveFromParams(params: Uint8Array): CurveName | undefined {
  return fromToken(() => readCurve(params));
}

/** Tokens hold what their makers wrote: a fault in it is theirs, and foreseen. */
function fromToken<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new X509Error(`the token holds no valid ${error.message}`, { cause: error });
  }
}

function readCurve(params: Uint8Array): CurveName | undefined {
  const r = new Reader(params, "CKA_EC_PARAMS");
  if (r.left > 0 && r.peek() === TAG.oid) return curveByOid(readOid(r));
  const { tag, value } = readTlv(r);
  if (tag !== TAG.printableString) return undefined;
  const text = fromUtf8(value.take(value.left));
  return curveNames().find((curve) => (CURVES[curve] as Curve).curveName === text);
}

/** CKA_EC_PARAMS of a curve. @param form `name` gives Edwards and Montgomery curves as a PrintableString */
export function curveParams(curve: Curve, form: "oid" | "name" = "oid"): Uint8Array {
  return form === "name" && curve.curveName !== undefined
    ? der(TAG.printableString, utf8(curve.curveName))
    : derOid(curve.oid);
}

/**
 * The point of CKA_EC_POINT. Modules give it raw, in an OCTET STRING or in a BIT STRING; which it is follows from the
 * length, never from a trial decode, for 32 random bytes can look like DER.
 */
export function ecPoint(bytes: Uint8Array, curve: Curve): Uint8Array {
  const lengths = curve.family === "weierstrass" ? [2 * curve.bytes + 1, curve.bytes + 1] : [curve.bytes];
  if (lengths.includes(bytes.length)) return bytes;
  const wrapped = new Reader(bytes, "CKA_EC_POINT");
  const point =
    wrapped.peek() === TAG.bitString
      ? readBitString(wrapped, "point")
      : (({ value }) => value.take(value.left))(expectTlv(wrapped, TAG.octetString, "point"));
  wrapped.end();
  if (!lengths.includes(point.length)) {
    throw new X509Error(`CKA_EC_POINT holds ${point.length} bytes, not the ${lengths.join(" or ")} of the curve`);
  }
  return point;
}

/** node:crypto's public key of a SubjectPublicKeyInfo. */
export function publicKeyObject(spki: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
}

/** PEM, `PUBLIC KEY`. */
export function publicKeyPem(spki: Uint8Array): string {
  return encodePem("PUBLIC KEY", spki);
}

/** JSON Web Key (RFC 7517, RFC 8037). @throws X509Error for a curve that JOSE does not name */
export function publicKeyJwk(spki: Uint8Array): JsonWebKey {
  try {
    return publicKeyObject(spki).export({ format: "jwk" });
  } catch (cause) {
    throw new X509Error("JSON Web Key has no form for this kind of key", { cause });
  }
}

/**
 * A line for authorized_keys (RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4).
 * @param comment without control characters: a line end would begin another key's line
 * @throws X509Error for a key that SSH does not know, and for such a comment
 */
export function publicKeySsh(spki: Uint8Array, comment = ""): string {
  if (/\p{Cc}/u.test(comment)) {
    throw new X509Error(`a comment in authorized_keys has no control characters: ${JSON.stringify(comment)}`);
  }
  const jwk = sshJwk(spki);
  const bytes = (text: string | undefined) => new Uint8Array(Buffer.from(text ?? "", "base64url"));
  const fields = sshFields(jwk, bytes);
  const blob = concat(...fields.map(sshString));
  return [fromUtf8(fields[0]!), Buffer.from(blob).toString("base64"), comment].filter((part) => part !== "").join(" ");
}

/** JOSE names every curve that SSH does. */
function sshJwk(spki: Uint8Array): JsonWebKey {
  try {
    return publicKeyObject(spki).export({ format: "jwk" });
  } catch (cause) {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKeyObject(spki);
    throw noSsh(details?.namedCurve ?? type ?? "this kind", cause);
  }
}

function noSsh(kind: string, cause?: unknown): X509Error {
  return new X509Error(`SSH has no form for a key on ${kind}`, {
    cause,
    hints: ["it has RSA, P-256, P-384, P-521, Ed25519 and Ed448"],
  });
}

function sshFields(jwk: JsonWebKey, bytes: (text: string | undefined) => Uint8Array): Uint8Array[] {
  if (jwk.kty === "RSA") return [utf8("ssh-rsa"), mpint(bytes(jwk.e)), mpint(bytes(jwk.n))];
  const curves: Record<string, string> = { "P-256": "nistp256", "P-384": "nistp384", "P-521": "nistp521" };
  const curve = curves[jwk.crv ?? ""];
  if (jwk.kty === "EC" && curve !== undefined) {
    return [utf8(`ecdsa-sha2-${curve}`), utf8(curve), concat(Uint8Array.of(4), bytes(jwk.x), bytes(jwk.y))];
  }
  const edwards: Record<string, string> = { Ed25519: "ssh-ed25519", Ed448: "ssh-ed448" };
  const name = edwards[jwk.crv ?? ""];
  if (name !== undefined) return [utf8(name), bytes(jwk.x)];
  throw noSsh(jwk.crv ?? jwk.kty ?? "this kind");
}

function sshString(bytes: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return concat(length, bytes);
}

/** RFC 4251 section 5: two's complement, so a leading bit that is set needs a zero byte before it. */
function mpint(bytes: Uint8Array): Uint8Array {
  return bytes[0]! >= 0x80 ? concat(Uint8Array.of(0), bytes) : bytes;
}

/** The key identifier of RFC 5280 4.2.1.2 (1): SHA-1 of the public key's bits. */
export function keyIdentifier(spki: Uint8Array): Uint8Array {
  const r = new Reader(spki, "public key");
  const { value } = expectTlv(r, TAG.sequence, "SubjectPublicKeyInfo");
  expectTlv(value, TAG.sequence, "algorithm");
  return new Uint8Array(createHash("sha1").update(readBitString(value)).digest());
}

/** Refuses bytes that cannot be a SubjectPublicKeyInfo, before they are signed. @throws CodecError */
export function requireSpki(bytes: Uint8Array): void {
  const r = new Reader(bytes, "public key");
  const { value } = expectTlv(r, TAG.sequence, "SubjectPublicKeyInfo");
  r.end();
  expectTlv(value, TAG.sequence, "algorithm");
  readBitString(value, "subjectPublicKey");
  value.end();
}

/** CKA_EC_POINT of a SubjectPublicKeyInfo: its bits in an OCTET STRING (PKCS#11 3.1 6.3.3). */
export function ecPointOf(spki: Uint8Array): Uint8Array {
  const { value } = expectTlv(new Reader(spki, "public key"), TAG.sequence, "SubjectPublicKeyInfo");
  expectTlv(value, TAG.sequence, "algorithm");
  return derOctetString(readBitString(value));
}
