/**
 * The hash functions, and every code that the standard derives from each.
 * @module
 */
import { kdf, keyType, mech, mgf } from "../codes.ts";
import { refuse } from "../refusal.ts";

export interface Hash {
  /** OpenSSL's name. */
  readonly name: string;
  /** Bytes of a digest. */
  readonly length: number;
  /** CKM_… of the bare digest. */
  readonly digest: number;
  readonly mgf?: number;
  readonly rsa?: number;
  readonly pss?: number;
  readonly ecdsa?: number;
  readonly hmac: number;
  readonly hmacGeneral: number;
  readonly keyGen: number;
  readonly keyType: number;
  /** CKD_… with X9.63 and with SP 800-56A. */
  readonly kdf?: number;
  readonly kdfSp800?: number;
  /** The hashing of CKM_…_KEY_DERIVATION. */
  readonly derivation: number;
}

export const HASHES: readonly Hash[] = [
  {
    name: "sha1",
    length: 20,
    digest: mech.SHA_1,
    mgf: mgf.SHA1,
    rsa: mech.SHA1_RSA_PKCS,
    pss: mech.SHA1_RSA_PKCS_PSS,
    ecdsa: mech.ECDSA_SHA1,
    hmac: mech.SHA_1_HMAC,
    hmacGeneral: mech.SHA_1_HMAC_GENERAL,
    keyGen: mech.SHA_1_KEY_GEN,
    keyType: keyType.SHA_1_HMAC,
    kdf: kdf.SHA1_KDF,
    kdfSp800: kdf.SHA1_KDF_SP800,
    derivation: mech.SHA1_KEY_DERIVATION,
  },
  ...(["224", "256", "384", "512"] as const).map((bits) => ({
    name: `sha${bits}`,
    length: Number(bits) / 8,
    digest: mech[`SHA${bits}`],
    mgf: mgf[`SHA${bits}`],
    rsa: mech[`SHA${bits}_RSA_PKCS`],
    pss: mech[`SHA${bits}_RSA_PKCS_PSS`],
    ecdsa: mech[`ECDSA_SHA${bits}`],
    hmac: mech[`SHA${bits}_HMAC`],
    hmacGeneral: mech[`SHA${bits}_HMAC_GENERAL`],
    keyGen: mech[`SHA${bits}_KEY_GEN`],
    keyType: keyType[`SHA${bits}_HMAC`],
    kdf: kdf[`SHA${bits}_KDF`],
    kdfSp800: kdf[`SHA${bits}_KDF_SP800`],
    derivation: mech[`SHA${bits}_KEY_DERIVATION`],
  })),
  ...(["224", "256", "384", "512"] as const).map((bits) => ({
    name: `sha3-${bits}`,
    length: Number(bits) / 8,
    digest: mech[`SHA3_${bits}`],
    mgf: mgf[`SHA3_${bits}`],
    rsa: mech[`SHA3_${bits}_RSA_PKCS`],
    pss: mech[`SHA3_${bits}_RSA_PKCS_PSS`],
    ecdsa: mech[`ECDSA_SHA3_${bits}`],
    hmac: mech[`SHA3_${bits}_HMAC`],
    hmacGeneral: mech[`SHA3_${bits}_HMAC_GENERAL`],
    keyGen: mech[`SHA3_${bits}_KEY_GEN`],
    keyType: keyType[`SHA3_${bits}_HMAC`],
    kdf: kdf[`SHA3_${bits}_KDF`],
    kdfSp800: kdf[`SHA3_${bits}_KDF_SP800`],
    derivation: mech[`SHA3_${bits}_KEY_DERIVATION`],
  })),
  ...(["224", "256"] as const).map((bits) => ({
    name: `sha512-${bits}`,
    length: Number(bits) / 8,
    digest: mech[`SHA512_${bits}`],
    hmac: mech[`SHA512_${bits}_HMAC`],
    hmacGeneral: mech[`SHA512_${bits}_HMAC_GENERAL`],
    keyGen: mech[`SHA512_${bits}_KEY_GEN`],
    keyType: keyType[`SHA512_${bits}_HMAC`],
    derivation: mech[`SHA512_${bits}_KEY_DERIVATION`],
  })),
];

const byDigest = new Map(HASHES.map((hash) => [hash.digest, hash]));
const byMgf = new Map(HASHES.flatMap((hash) => (hash.mgf === undefined ? [] : [[hash.mgf, hash] as const])));

/** The hash that a parameter names by its mechanism. @throws Refusal CKR_MECHANISM_PARAM_INVALID */
export function hashOfMechanism(code: number): Hash {
  return byDigest.get(code) ?? refuse("CKR_MECHANISM_PARAM_INVALID", "the hash is not known");
}

/** The hash of a mask generation function. @throws Refusal CKR_MECHANISM_PARAM_INVALID */
export function hashOfMask(code: number): Hash {
  return byMgf.get(code) ?? refuse("CKR_MECHANISM_PARAM_INVALID", "the mask generation function is not known");
}
