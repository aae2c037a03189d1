/**
 * Signing with a key in a token, in the forms that X.509 wants.
 * @module
 */
import { createHash } from "node:crypto";
import { bytesToBigint, Reader } from "../codec/bytes.ts";
import {
  der,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  expectTlv,
  readOid,
  TAG,
} from "../codec/der.ts";
import { type Kind, kind } from "../cryptoki/arguments.ts";
import { DIGESTS, type DigestName, ecdsa, eddsa, rsaPkcs1, rsaPss } from "../cryptoki/mechanisms.ts";
import type { Mechanism } from "../cryptoki/port.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { CURVES, type CurveName } from "../spec/curves.ts";
import { MECHANISM_FLAGS } from "../spec/flags.ts";
import { X509Error } from "./errors.ts";
import { curveFromParams } from "./public-keys.ts";

/** What signs a certificate or a request. */
export interface Signer {
  /** AlgorithmIdentifier, in DER. */
  readonly algorithm: Uint8Array;
  /** @param data what is signed, whole @returns the signature as X.509 carries it */
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** What Signer is, for callers without types; a class may implement it. */
export const SIGNER: Kind = kind(
  "a signer (signerFor gives one)",
  (value) =>
    typeof value === "object" &&
    value !== null &&
    (value as Partial<Signer>).algorithm instanceof Uint8Array &&
    typeof (value as Partial<Signer>).sign === "function",
);

export interface SignerOptions {
  /** Absent: the curve's own size for EC, SHA-256 for RSA. Edwards curves have none to choose. */
  readonly digest?: DigestName | undefined;
  /** RSASSA-PSS instead of PKCS#1 v1.5. */
  readonly pss?: boolean;
}

const RSA_OIDS: Readonly<Record<DigestName, string>> = {
  "SHA-1": "1.2.840.113549.1.1.5",
  "SHA-224": "1.2.840.113549.1.1.14",
  "SHA-256": "1.2.840.113549.1.1.11",
  "SHA-384": "1.2.840.113549.1.1.12",
  "SHA-512": "1.2.840.113549.1.1.13",
  "SHA3-224": "2.16.840.1.101.3.4.3.13",
  "SHA3-256": "2.16.840.1.101.3.4.3.14",
  "SHA3-384": "2.16.840.1.101.3.4.3.15",
  "SHA3-512": "2.16.840.1.101.3.4.3.16",
};
const ECDSA_OIDS: Readonly<Record<DigestName, string>> = {
  "SHA-1": "1.2.840.10045.4.1",
  "SHA-224": "1.2.840.10045.4.3.1",
  "SHA-256": "1.2.840.10045.4.3.2",
  "SHA-384": "1.2.840.10045.4.3.3",
  "SHA-512": "1.2.840.10045.4.3.4",
  "SHA3-224": "2.16.840.1.101.3.4.3.9",
  "SHA3-256": "2.16.840.1.101.3.4.3.10",
  "SHA3-384": "2.16.840.1.101.3.4.3.11",
  "SHA3-512": "2.16.840.1.101.3.4.3.12",
};
/** The digests themselves, for PSS parameters and DigestInfo. */
const DIGEST_OIDS: Readonly<Record<DigestName, string>> = {
  "SHA-1": "1.3.14.3.2.26",
  "SHA-224": "2.16.840.1.101.3.4.2.4",
  "SHA-256": "2.16.840.1.101.3.4.2.1",
  "SHA-384": "2.16.840.1.101.3.4.2.2",
  "SHA-512": "2.16.840.1.101.3.4.2.3",
  "SHA3-224": "2.16.840.1.101.3.4.2.7",
  "SHA3-256": "2.16.840.1.101.3.4.2.8",
  "SHA3-384": "2.16.840.1.101.3.4.2.9",
  "SHA3-512": "2.16.840.1.101.3.4.2.10",
};
const RSASSA_PSS = "1.2.840.113549.1.1.10";
const MGF1 = "1.2.840.113549.1.1.8";

/**
 * A signer for a private key, with the mechanism that the token has: one that digests in the token, else one over a digest
 * made here.
 * @throws X509Error for a key that cannot sign (X25519) or a token without a suitable mechanism
 */
export async function signerFor(session: Session, key: TokenObject, options: SignerOptions = {}): Promise<Signer> {
  const { CKA_KEY_TYPE: type, CKA_EC_PARAMS: params } = await key.get("CKA_KEY_TYPE", "CKA_EC_PARAMS");
  if (type === "CKK_RSA") return rsaSigner(session, key, options.digest ?? "SHA-256", options.pss === true);
  const curve = params === undefined ? undefined : curveFromParams(params);
  if (type === "CKK_EC" && curve !== undefined) return ecSigner(session, key, curve, options.digest);
  if (type === "CKK_EC_EDWARDS" && curve !== undefined) {
    const algorithm = derSequence(derOid(CURVES[curve].oid));
    return { algorithm, sign: (data) => session.sign(key, eddsa(), data) };
  }
  throw new X509Error(`a key of type ${type ?? "unknown"} cannot sign`);
}

/** The digest that fits a curve's size. */
export function digestOfCurve(curve: CurveName): DigestName {
  const { bits } = CURVES[curve];
  return bits <= 256 ? "SHA-256" : bits <= 384 ? "SHA-384" : "SHA-512";
}

async function ecSigner(session: Session, key: TokenObject, curve: CurveName, wanted?: DigestName): Promise<Signer> {
  const digest = wanted ?? digestOfCurve(curve);
  const algorithm = derSequence(derOid(ECDSA_OIDS[digest]));
  const [mechanism, prepare] = await choose(session, digest, ecdsa(digest), ecdsa(), (hash) => hash);
  return {
    algorithm,
    sign: async (data) => ecdsaToDer(await session.sign(key, mechanism, prepare(data))),
  };
}

async function rsaSigner(session: Session, key: TokenObject, digest: DigestName, pss: boolean): Promise<Signer> {
  if (pss) {
    const [mechanism, prepare] = await choose(
      session,
      digest,
      rsaPss(digest),
      rsaPss(digest, { prehashed: true }),
      (h) => h,
    );
    return { algorithm: pssAlgorithm(digest), sign: (data) => session.sign(key, mechanism, prepare(data)) };
  }
  const algorithm = derSequence(derOid(RSA_OIDS[digest]), derNull);
  const [mechanism, prepare] = await choose(session, digest, rsaPkcs1(digest), rsaPkcs1(), (hash) =>
    digestInfo(digest, hash),
  );
  return { algorithm, sign: (data) => session.sign(key, mechanism, prepare(data)) };
}

/** DigestInfo (RFC 8017 9.2). */
export function digestInfo(digest: DigestName, hash: Uint8Array): Uint8Array {
  return derSequence(derSequence(derOid(DIGEST_OIDS[digest]), derNull), derOctetString(hash));
}

/** RSASSA-PSS-params (RFC 4055 3.1), the salt as long as the digest. */
function pssAlgorithm(digest: DigestName): Uint8Array {
  const hash = derSequence(derOid(DIGEST_OIDS[digest]), derNull);
  const tagged = (tag: number, content: Uint8Array) => der(0xa0 | tag, content);
  return derSequence(
    derOid(RSASSA_PSS),
    derSequence(
      tagged(0, hash),
      tagged(1, derSequence(derOid(MGF1), hash)),
      tagged(2, derInteger(BigInt(DIGESTS[digest].bytes))),
    ),
  );
}

type Chosen = [mechanism: Mechanism, prepare: (data: Uint8Array) => Uint8Array];

async function choose(
  session: Session,
  digest: DigestName,
  whole: Mechanism,
  hashed: Mechanism,
  fromHash: (hash: Uint8Array) => Uint8Array,
): Promise<Chosen> {
  const { module, slot } = session.token;
  const sign = MECHANISM_FLAGS.CKF_SIGN[0];
  if (await module.canDo(slot, whole, sign)) return [whole, (data) => data];
  if (await module.canDo(slot, hashed, sign)) {
    const hash = (data: Uint8Array) => new Uint8Array(createHash(DIGESTS[digest].node).update(data).digest());
    return [hashed, (data) => fromHash(hash(data))];
  }
  throw new X509Error(`the token ${session.token.uri} cannot sign with ${digest} and this kind of key`);
}

/** ECDSA: PKCS#11 gives r and s side by side, X.509 (RFC 3279 2.2.3) wants a SEQUENCE of two integers. */
export function ecdsaToDer(signature: Uint8Array): Uint8Array {
  const half = signature.length / 2;
  const [r, s] = [signature.subarray(0, half), signature.subarray(half)];
  return derSequence(derInteger(bytesToBigint(r)), derInteger(bytesToBigint(s)));
}

/** The digest of a signature algorithm's identifier; undefined for those without one to choose (Ed25519, Ed448). */
export function digestOfSignature(oid: string): DigestName | undefined {
  const names = Object.keys(DIGESTS) as DigestName[];
  return names.find((digest) => RSA_OIDS[digest] === oid || ECDSA_OIDS[digest] === oid);
}

/** The name of a signature algorithm's digest for node:crypto; null for one that has none to choose. */
export function digestOfSignatureAlgorithm(algorithm: Uint8Array): string | null {
  const { value } = expectTlv(new Reader(algorithm, "algorithm"), TAG.sequence, "AlgorithmIdentifier");
  const digest = digestOfSignature(readOid(value));
  return digest === undefined ? null : DIGESTS[digest].node;
}
