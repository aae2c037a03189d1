/**
 * Signing with a key in a token, in the forms that X.509 wants.
 * @module
 */
import { constants, createHash, verify } from "node:crypto";
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
  readTlv,
  TAG,
} from "../codec/der.ts";
import { type Kind, kind } from "../cryptoki/arguments.ts";
import { DIGESTS, type DigestName, ecdsa, eddsa, rsaPkcs1, rsaPss } from "../cryptoki/mechanisms.ts";
import type { Mechanism } from "../cryptoki/port.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { CURVES, type CurveName, curveByName } from "../spec/curves.ts";
import { MECHANISM_FLAGS } from "../spec/flags.ts";
import { mechanismName } from "../spec/mechanisms.ts";
import { X509Error } from "./errors.ts";
import { curveFromParams, publicKeyObject } from "./public-keys.ts";

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

/** A signer with a key in a token. */
export interface TokenSigner extends Signer {
  /** Undefined for Edwards curves, which have none to choose. */
  readonly digest: DigestName | undefined;
  readonly pss: boolean;
}

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
 * A signer for a private key, with a mechanism that the token has and the key allows: one that digests in the token, else
 * one over a digest made here.
 * @throws X509Error for a key that cannot sign (X25519), or where there is no suitable mechanism
 */
export async function signerFor(session: Session, key: TokenObject, options: SignerOptions = {}): Promise<TokenSigner> {
  const read = await key.get("CKA_KEY_TYPE", "CKA_EC_PARAMS", "CKA_ALLOWED_MECHANISMS");
  const { CKA_KEY_TYPE: type, CKA_EC_PARAMS: params, CKA_ALLOWED_MECHANISMS: allowed } = read;
  const choice = new Choice(session, key, allowed ?? []);
  if (type === "CKK_RSA") return rsaSigner(choice, options.digest ?? "SHA-256", options.pss === true);
  const curve = params === undefined ? undefined : curveFromParams(params);
  if (type === "CKK_EC" && curve !== undefined) return ecSigner(choice, curve, options.digest);
  if (type === "CKK_EC_EDWARDS" && curve !== undefined) {
    const algorithm = derSequence(derOid(CURVES[curve].oid));
    return { algorithm, digest: undefined, pss: false, sign: (data) => session.sign(key, eddsa(), data) };
  }
  throw new X509Error(`a key of type ${type ?? "unknown"} cannot sign`);
}

/** A signer in any form that the token and the key allow; undefined when there is none. */
export async function anySignerFor(session: Session, key: TokenObject): Promise<TokenSigner | undefined> {
  const digests = Object.keys(DIGESTS) as DigestName[];
  const forms = [false, true].flatMap((pss) => digests.map((digest) => ({ pss, digest })));
  for (const options of [{}, ...forms]) {
    try {
      return await signerFor(session, key, options);
    } catch (error) {
      if (!(error instanceof X509Error)) throw error;
    }
  }
  return undefined;
}

/**
 * Whether a signature that this signer could have made verifies with a public key, outside the token.
 * @param form `anySalt`: one of another program's too, whose PSS salt is not as long as the digest
 */
export function verifies(
  { digest, pss, anySalt }: Pick<TokenSigner, "digest" | "pss"> & { readonly anySalt?: boolean },
  spki: Uint8Array,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const key = publicKeyObject(spki);
  if (digest === undefined) return verify(null, data, key, signature);
  const { node, bytes } = DIGESTS[digest];
  if (!pss) return verify(node, data, key, signature);
  const saltLength = anySalt === true ? constants.RSA_PSS_SALTLEN_AUTO : bytes;
  return verify(node, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature);
}

/** The digest that fits a curve's size. */
export function digestOfCurve(curve: CurveName): DigestName {
  const { bits } = CURVES[curve];
  return bits <= 256 ? "SHA-256" : bits <= 384 ? "SHA-384" : "SHA-512";
}

/** The digest that fits a public key: its curve's size for EC, SHA-256 for RSA; undefined for Edwards curves. */
export function fittingDigest(spki: Uint8Array): DigestName | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKeyObject(spki);
  if (type === "rsa") return "SHA-256";
  const curve = type === "ec" ? curveByName(details?.namedCurve ?? "") : undefined;
  return curve === undefined ? undefined : digestOfCurve(curve);
}

async function ecSigner(choice: Choice, curve: CurveName, wanted?: DigestName): Promise<TokenSigner> {
  const digest = wanted ?? digestOfCurve(curve);
  const algorithm = derSequence(derOid(ECDSA_OIDS[digest]));
  const sign = await choice.sign(digest, ecdsa(digest), ecdsa(), (hash) => hash);
  return { algorithm, digest, pss: false, sign: async (data) => ecdsaToDer(await sign(data)) };
}

async function rsaSigner(choice: Choice, digest: DigestName, pss: boolean): Promise<TokenSigner> {
  if (pss) {
    const sign = await choice.sign(digest, rsaPss(digest), rsaPss(digest, { prehashed: true }), (hash) => hash);
    return { algorithm: pssAlgorithm(digest), digest, pss, sign };
  }
  const algorithm = derSequence(derOid(RSA_OIDS[digest]), derNull);
  const sign = await choice.sign(digest, rsaPkcs1(digest), rsaPkcs1(), (hash) => digestInfo(digest, hash));
  return { algorithm, digest, pss, sign };
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

/** Which mechanism a key signs with. */
class Choice {
  readonly #session: Session;
  readonly #key: TokenObject;
  /** CKA_ALLOWED_MECHANISMS; empty: every mechanism. */
  readonly #allowed: readonly (string | number)[];

  constructor(session: Session, key: TokenObject, allowed: readonly (string | number)[]) {
    this.#session = session;
    this.#key = key;
    this.#allowed = allowed;
  }

  /** Signing with the mechanism that digests, else with the one over a digest. */
  async sign(
    digest: DigestName,
    whole: Mechanism,
    hashed: Mechanism,
    fromHash: (hash: Uint8Array) => Uint8Array,
  ): Promise<Signer["sign"]> {
    const session = this.#session;
    if (await this.#can(whole)) return (data) => session.sign(this.#key, whole, data);
    if (await this.#can(hashed)) {
      return (data) => {
        const hash = createHash(DIGESTS[digest].node).update(data).digest();
        return session.sign(this.#key, hashed, fromHash(new Uint8Array(hash)));
      };
    }
    const only = this.#allowed.length === 0 ? "" : `, which allows ${this.#allowed.map(String).join(", ")}`;
    throw new X509Error(`the token ${session.token.uri} cannot sign with ${digest} and this kind of key${only}`);
  }

  async #can(mechanism: Mechanism): Promise<boolean> {
    const { module, slot } = this.#session.token;
    if (this.#allowed.length > 0 && !this.#allowed.includes(mechanismName(mechanism.type))) return false;
    return module.canDo(slot, mechanism, MECHANISM_FLAGS.CKF_SIGN[0]);
  }
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

/**
 * The digest and padding of an AlgorithmIdentifier; undefined for a signature without them to choose (Edwards curves), or
 * of another kind.
 */
export function signatureForm(algorithm: Uint8Array): { digest: DigestName; pss: boolean; rsa: boolean } | undefined {
  const { value } = expectTlv(new Reader(algorithm, "algorithm"), TAG.sequence, "AlgorithmIdentifier");
  const oid = readOid(value);
  const pss = oid === RSASSA_PSS;
  const digest = pss ? pssDigest(value) : digestOfSignature(oid);
  return digest === undefined ? undefined : { digest, pss, rsa: pss || RSA_OIDS[digest] === oid };
}

/** RSASSA-PSS-params (RFC 4055 3.1): SHA-1 where none is named. */
function pssDigest(r: Reader): DigestName | undefined {
  const { value } = expectTlv(r, TAG.sequence, "RSASSA-PSS-params");
  if (value.left === 0 || value.peek() !== 0xa0) return "SHA-1";
  const oid = readOid(expectTlv(readTlv(value, "hashAlgorithm").value, TAG.sequence, "AlgorithmIdentifier").value);
  return (Object.keys(DIGEST_OIDS) as DigestName[]).find((name) => DIGEST_OIDS[name] === oid);
}
