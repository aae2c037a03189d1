/**
 * Mechanisms as people name them, for the signatures and ciphers that are common.
 * @module
 */
import { CKM, type MechanismName } from "../spec/mechanisms.ts";
import { CKG_MGF, CKZ } from "../spec/objects.ts";
import { BYTES, described, FLAG, members, optional, requireArguments, TEXT, whole } from "./arguments.ts";
import { KeywrightError } from "./errors.ts";
import type { Mechanism, ParameterValue } from "./port.ts";

/** A digest, as node:crypto and X.509 people write it. */
export type DigestName = keyof typeof DIGESTS;

/** What PKCS#11 calls each digest: its mechanism, its part in combined mechanisms' names, its MGF, its size in bytes. */
export const DIGESTS = {
  "SHA-1": { mechanism: "CKM_SHA_1", part: "SHA1", mgf: "CKG_MGF1_SHA1", bytes: 20, node: "sha1" },
  "SHA-224": { mechanism: "CKM_SHA224", part: "SHA224", mgf: "CKG_MGF1_SHA224", bytes: 28, node: "sha224" },
  "SHA-256": { mechanism: "CKM_SHA256", part: "SHA256", mgf: "CKG_MGF1_SHA256", bytes: 32, node: "sha256" },
  "SHA-384": { mechanism: "CKM_SHA384", part: "SHA384", mgf: "CKG_MGF1_SHA384", bytes: 48, node: "sha384" },
  "SHA-512": { mechanism: "CKM_SHA512", part: "SHA512", mgf: "CKG_MGF1_SHA512", bytes: 64, node: "sha512" },
  "SHA3-224": { mechanism: "CKM_SHA3_224", part: "SHA3_224", mgf: "CKG_MGF1_SHA3_224", bytes: 28, node: "sha3-224" },
  "SHA3-256": { mechanism: "CKM_SHA3_256", part: "SHA3_256", mgf: "CKG_MGF1_SHA3_256", bytes: 32, node: "sha3-256" },
  "SHA3-384": { mechanism: "CKM_SHA3_384", part: "SHA3_384", mgf: "CKG_MGF1_SHA3_384", bytes: 48, node: "sha3-384" },
  "SHA3-512": { mechanism: "CKM_SHA3_512", part: "SHA3_512", mgf: "CKG_MGF1_SHA3_512", bytes: 64, node: "sha3-512" },
} as const;

/** A digest, mechanism or parameter that is not known here. */
export class MechanismError extends KeywrightError {
  override readonly code = "ERR_MECHANISM";
}

/** A mechanism by name or code, with its parameter. @throws MechanismError for a name that the table does not have */
export function mechanism(name: MechanismName | number, parameter?: ParameterValue): Mechanism {
  requireArguments("mechanism", { name: [name, typeof name === "string" ? TEXT : whole(0)] });
  if (typeof name === "string" && !Object.hasOwn(CKM, name))
    throw new MechanismError(`${name} is not a known mechanism`);
  const type = typeof name === "number" ? name : CKM[name][0];
  return parameter === undefined ? { type } : { type, parameter };
}

/** Finds a digest: `SHA256`, `sha-256` and `SHA-256` are one. */
export function digestByName(name: string): DigestName {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, "");
  const found = (Object.keys(DIGESTS) as DigestName[]).find((digest) => plain(digest) === plain(name));
  if (found === undefined) {
    throw new MechanismError(`${JSON.stringify(name)} is not a known digest`, {
      hints: [`known digests: ${Object.keys(DIGESTS).join(", ")}`],
    });
  }
  return found;
}

/** What PKCS#11 calls a digest. @throws MechanismError for one that is not known by exactly this name */
function digestRow(fn: string, digest: DigestName): (typeof DIGESTS)[DigestName] {
  if (Object.hasOwn(DIGESTS, digest)) return DIGESTS[digest];
  throw new MechanismError(
    `${fn}: ${typeof digest === "string" ? JSON.stringify(digest) : described(digest)} is no digest`,
    {
      hints: [`digests: ${Object.keys(DIGESTS).join(", ")}`],
    },
  );
}

/** ECDSA over a digest that the token computes, or over one computed before (no digest named). */
export function ecdsa(digest?: DigestName): Mechanism {
  return mechanism(
    digest === undefined ? "CKM_ECDSA" : (`CKM_ECDSA_${digestRow("ecdsa", digest).part}` as MechanismName),
  );
}

/** RSASSA-PKCS1-v1_5; without a digest the data is a DigestInfo. */
export function rsaPkcs1(digest?: DigestName): Mechanism {
  return mechanism(
    digest === undefined ? "CKM_RSA_PKCS" : (`CKM_${digestRow("rsaPkcs1", digest).part}_RSA_PKCS` as MechanismName),
  );
}

/**
 * RSASSA-PSS.
 * @param options `saltLength` in bytes, the digest's size by default; `prehashed` when the data is the digest already
 */
export function rsaPss(digest: DigestName, options: { saltLength?: number; prehashed?: boolean } = {}): Mechanism {
  const d = digestRow("rsaPss", digest);
  requireArguments("rsaPss", {
    options: [options, members({ saltLength: optional(whole(0)), prehashed: optional(FLAG) })],
  });
  const name = options.prehashed === true ? "CKM_RSA_PKCS_PSS" : (`CKM_${d.part}_RSA_PKCS_PSS` as MechanismName);
  return mechanism(name, {
    hashAlg: CKM[d.mechanism][0],
    mgf: CKG_MGF[d.mgf][0],
    saltLength: options.saltLength ?? d.bytes,
  });
}

/** RSAES-OAEP. @param label the encoding parameter, empty by default */
export function rsaOaep(digest: DigestName, label: Uint8Array = new Uint8Array()): Mechanism {
  const d = digestRow("rsaOaep", digest);
  requireArguments("rsaOaep", { label: [label, BYTES] });
  return mechanism("CKM_RSA_PKCS_OAEP", {
    hashAlg: CKM[d.mechanism][0],
    mgf: CKG_MGF[d.mgf][0],
    source: CKZ.CKZ_DATA_SPECIFIED[0],
    sourceData: label,
  });
}

/** Ed25519 and Ed448 in their pure form. */
export function eddsa(): Mechanism {
  return mechanism("CKM_EDDSA");
}

/** AES-GCM. @param tagBits the tag's length in bits, 128 by default */
export function aesGcm(iv: Uint8Array, aad: Uint8Array = new Uint8Array(), tagBits = 128): Mechanism {
  requireArguments("aesGcm", { iv: [iv, BYTES], aad: [aad, BYTES], tagBits: [tagBits, whole(0, 128)] });
  return mechanism("CKM_AES_GCM", { iv, ivBits: iv.length * 8, aad, tagBits });
}
