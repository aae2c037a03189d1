/**
 * Object classes, key types and the other small code spaces of PKCS#11 2.40 to 3.2. A row is `[code, edition]`.
 * @module
 */
import { namesByCode, type Since, vendorName } from "./names.ts";

type Codes<P extends string> = Record<`${P}_${string}`, readonly [code: number, since?: Since]>;

/** Object classes. */
export const CKO = {
  CKO_DATA: [0x0000],
  CKO_CERTIFICATE: [0x0001],
  CKO_PUBLIC_KEY: [0x0002],
  CKO_PRIVATE_KEY: [0x0003],
  CKO_SECRET_KEY: [0x0004],
  CKO_HW_FEATURE: [0x0005],
  CKO_DOMAIN_PARAMETERS: [0x0006],
  CKO_MECHANISM: [0x0007],
  CKO_OTP_KEY: [0x0008],
  CKO_PROFILE: [0x0009, "3.0"],
  CKO_VALIDATION: [0x000a, "3.2"],
  CKO_TRUST: [0x000b, "3.2"],
} as const satisfies Codes<"CKO">;

/** Key types. */
export const CKK = {
  CKK_RSA: [0x0000],
  CKK_DSA: [0x0001],
  CKK_DH: [0x0002],
  CKK_EC: [0x0003],
  CKK_ECDSA: [0x0003],
  CKK_X9_42_DH: [0x0004],
  CKK_KEA: [0x0005],
  CKK_GENERIC_SECRET: [0x0010],
  CKK_RC2: [0x0011],
  CKK_RC4: [0x0012],
  CKK_DES: [0x0013],
  CKK_DES2: [0x0014],
  CKK_DES3: [0x0015],
  CKK_CAST: [0x0016],
  CKK_CAST3: [0x0017],
  CKK_CAST128: [0x0018],
  CKK_CAST5: [0x0018],
  CKK_RC5: [0x0019],
  CKK_IDEA: [0x001a],
  CKK_SKIPJACK: [0x001b],
  CKK_BATON: [0x001c],
  CKK_JUNIPER: [0x001d],
  CKK_CDMF: [0x001e],
  CKK_AES: [0x001f],
  CKK_BLOWFISH: [0x0020],
  CKK_TWOFISH: [0x0021],
  CKK_SECURID: [0x0022],
  CKK_HOTP: [0x0023],
  CKK_ACTI: [0x0024],
  CKK_CAMELLIA: [0x0025],
  CKK_ARIA: [0x0026],
  CKK_MD5_HMAC: [0x0027],
  CKK_SHA_1_HMAC: [0x0028],
  CKK_RIPEMD128_HMAC: [0x0029],
  CKK_RIPEMD160_HMAC: [0x002a],
  CKK_SHA256_HMAC: [0x002b],
  CKK_SHA384_HMAC: [0x002c],
  CKK_SHA512_HMAC: [0x002d],
  CKK_SHA224_HMAC: [0x002e],
  CKK_SEED: [0x002f],
  CKK_GOSTR3410: [0x0030],
  CKK_GOSTR3411: [0x0031],
  CKK_GOST28147: [0x0032],
  CKK_CHACHA20: [0x0033, "3.0"],
  CKK_POLY1305: [0x0034, "3.0"],
  CKK_AES_XTS: [0x0035, "3.0"],
  CKK_SHA3_224_HMAC: [0x0036, "3.0"],
  CKK_SHA3_256_HMAC: [0x0037, "3.0"],
  CKK_SHA3_384_HMAC: [0x0038, "3.0"],
  CKK_SHA3_512_HMAC: [0x0039, "3.0"],
  CKK_BLAKE2B_160_HMAC: [0x003a, "3.0"],
  CKK_BLAKE2B_256_HMAC: [0x003b, "3.0"],
  CKK_BLAKE2B_384_HMAC: [0x003c, "3.0"],
  CKK_BLAKE2B_512_HMAC: [0x003d, "3.0"],
  CKK_SALSA20: [0x003e, "3.0"],
  CKK_X2RATCHET: [0x003f, "3.0"],
  CKK_EC_EDWARDS: [0x0040, "3.0"],
  CKK_EC_MONTGOMERY: [0x0041, "3.0"],
  CKK_HKDF: [0x0042, "3.0"],
  CKK_SHA512_224_HMAC: [0x0043, "3.0"],
  CKK_SHA512_256_HMAC: [0x0044, "3.0"],
  CKK_SHA512_T_HMAC: [0x0045, "3.0"],
  CKK_HSS: [0x0046, "3.1"],
  CKK_XMSS: [0x0047, "3.2"],
  CKK_XMSSMT: [0x0048, "3.2"],
  CKK_ML_KEM: [0x0049, "3.2"],
  CKK_ML_DSA: [0x004a, "3.2"],
  CKK_SLH_DSA: [0x004b, "3.2"],
} as const satisfies Codes<"CKK">;

/** Certificate types. */
export const CKC = {
  CKC_X_509: [0x0000],
  CKC_X_509_ATTR_CERT: [0x0001],
  CKC_WTLS: [0x0002],
} as const satisfies Codes<"CKC">;

/** Hardware feature types (2.40). */
export const CKH = {
  CKH_MONOTONIC_COUNTER: [0x0001],
  CKH_CLOCK: [0x0002],
  CKH_USER_INTERFACE: [0x0003],
} as const satisfies Codes<"CKH">;

/** Hedging of ML-DSA and SLH-DSA signatures (3.2). */
export const CKH_HEDGE = {
  CKH_HEDGE_PREFERRED: [0x0000, "3.2"],
  CKH_HEDGE_REQUIRED: [0x0001, "3.2"],
  CKH_DETERMINISTIC_REQUIRED: [0x0002, "3.2"],
} as const satisfies Codes<"CKH">;

/** Profiles (3.0 and 3.1). */
export const CKP = {
  CKP_INVALID_ID: [0x0000, "3.0"],
  CKP_BASELINE_PROVIDER: [0x0001, "3.0"],
  CKP_EXTENDED_PROVIDER: [0x0002, "3.0"],
  CKP_AUTHENTICATION_TOKEN: [0x0003, "3.0"],
  CKP_PUBLIC_CERTIFICATES_TOKEN: [0x0004, "3.0"],
  CKP_COMPLETE_PROVIDER: [0x0005, "3.1"],
  CKP_HKDF_TLS_TOKEN: [0x0006, "3.1"],
} as const satisfies Codes<"CKP">;

/** Parameter sets of ML-DSA (3.2). */
export const CKP_ML_DSA = {
  CKP_ML_DSA_44: [0x0001, "3.2"],
  CKP_ML_DSA_65: [0x0002, "3.2"],
  CKP_ML_DSA_87: [0x0003, "3.2"],
} as const satisfies Codes<"CKP">;

/** Parameter sets of ML-KEM (3.2). */
export const CKP_ML_KEM = {
  CKP_ML_KEM_512: [0x0001, "3.2"],
  CKP_ML_KEM_768: [0x0002, "3.2"],
  CKP_ML_KEM_1024: [0x0003, "3.2"],
} as const satisfies Codes<"CKP">;

/** Parameter sets of SLH-DSA (3.2). */
export const CKP_SLH_DSA = {
  CKP_SLH_DSA_SHA2_128S: [0x0001, "3.2"],
  CKP_SLH_DSA_SHAKE_128S: [0x0002, "3.2"],
  CKP_SLH_DSA_SHA2_128F: [0x0003, "3.2"],
  CKP_SLH_DSA_SHAKE_128F: [0x0004, "3.2"],
  CKP_SLH_DSA_SHA2_192S: [0x0005, "3.2"],
  CKP_SLH_DSA_SHAKE_192S: [0x0006, "3.2"],
  CKP_SLH_DSA_SHA2_192F: [0x0007, "3.2"],
  CKP_SLH_DSA_SHAKE_192F: [0x0008, "3.2"],
  CKP_SLH_DSA_SHA2_256S: [0x0009, "3.2"],
  CKP_SLH_DSA_SHAKE_256S: [0x000a, "3.2"],
  CKP_SLH_DSA_SHA2_256F: [0x000b, "3.2"],
  CKP_SLH_DSA_SHAKE_256F: [0x000c, "3.2"],
} as const satisfies Codes<"CKP">;

/** Pseudo-random functions of PBKDF2. */
export const CKP_PKCS5 = {
  CKP_PKCS5_PBKD2_HMAC_SHA1: [0x0001],
  CKP_PKCS5_PBKD2_HMAC_GOSTR3411: [0x0002],
  CKP_PKCS5_PBKD2_HMAC_SHA224: [0x0003],
  CKP_PKCS5_PBKD2_HMAC_SHA256: [0x0004],
  CKP_PKCS5_PBKD2_HMAC_SHA384: [0x0005],
  CKP_PKCS5_PBKD2_HMAC_SHA512: [0x0006],
  CKP_PKCS5_PBKD2_HMAC_SHA512_224: [0x0007],
  CKP_PKCS5_PBKD2_HMAC_SHA512_256: [0x0008],
} as const satisfies Codes<"CKP">;

/** Sources of OAEP and PBKDF2 parameters. */
export const CKZ = {
  CKZ_DATA_SPECIFIED: [0x0001],
  CKZ_SALT_SPECIFIED: [0x0001],
} as const satisfies Codes<"CKZ">;

/** Key derivation functions of ECDH. */
export const CKD = {
  CKD_NULL: [0x0001],
  CKD_SHA1_KDF: [0x0002],
  CKD_SHA1_KDF_ASN1: [0x0003],
  CKD_SHA1_KDF_CONCATENATE: [0x0004],
  CKD_SHA224_KDF: [0x0005],
  CKD_SHA256_KDF: [0x0006],
  CKD_SHA384_KDF: [0x0007],
  CKD_SHA512_KDF: [0x0008],
  CKD_CPDIVERSIFY_KDF: [0x0009],
  CKD_SHA3_224_KDF: [0x000a, "3.0"],
  CKD_SHA3_256_KDF: [0x000b, "3.0"],
  CKD_SHA3_384_KDF: [0x000c, "3.0"],
  CKD_SHA3_512_KDF: [0x000d, "3.0"],
  CKD_SHA1_KDF_SP800: [0x000e, "3.0"],
  CKD_SHA224_KDF_SP800: [0x000f, "3.0"],
  CKD_SHA256_KDF_SP800: [0x0010, "3.0"],
  CKD_SHA384_KDF_SP800: [0x0011, "3.0"],
  CKD_SHA512_KDF_SP800: [0x0012, "3.0"],
  CKD_SHA3_224_KDF_SP800: [0x0013, "3.0"],
  CKD_SHA3_256_KDF_SP800: [0x0014, "3.0"],
  CKD_SHA3_384_KDF_SP800: [0x0015, "3.0"],
  CKD_SHA3_512_KDF_SP800: [0x0016, "3.0"],
  CKD_BLAKE2B_160_KDF: [0x0017, "3.0"],
  CKD_BLAKE2B_256_KDF: [0x0018, "3.0"],
  CKD_BLAKE2B_384_KDF: [0x0019, "3.0"],
  CKD_BLAKE2B_512_KDF: [0x001a, "3.0"],
} as const satisfies Codes<"CKD">;

/** Mask generation functions. */
export const CKG_MGF = {
  CKG_MGF1_SHA1: [0x0001],
  CKG_MGF1_SHA256: [0x0002],
  CKG_MGF1_SHA384: [0x0003],
  CKG_MGF1_SHA512: [0x0004],
  CKG_MGF1_SHA224: [0x0005],
  CKG_MGF1_SHA3_224: [0x0006, "3.0"],
  CKG_MGF1_SHA3_256: [0x0007, "3.0"],
  CKG_MGF1_SHA3_384: [0x0008, "3.0"],
  CKG_MGF1_SHA3_512: [0x0009, "3.0"],
} as const satisfies Codes<"CKG">;

/** Generators of message initialisation vectors (3.0). */
export const CKG = {
  CKG_NO_GENERATE: [0x0000, "3.0"],
  CKG_GENERATE: [0x0001, "3.0"],
  CKG_GENERATE_COUNTER: [0x0002, "3.0"],
  CKG_GENERATE_RANDOM: [0x0003, "3.0"],
  CKG_GENERATE_COUNTER_XOR: [0x0004, "3.1"],
} as const satisfies Codes<"CKG">;

/** Who logs in. */
export const CKU = {
  CKU_SO: [0x0000],
  CKU_USER: [0x0001],
  CKU_CONTEXT_SPECIFIC: [0x0002],
} as const satisfies Codes<"CKU">;

/** Session states. */
export const CKS = {
  CKS_RO_PUBLIC_SESSION: [0x0000],
  CKS_RO_USER_FUNCTIONS: [0x0001],
  CKS_RW_PUBLIC_SESSION: [0x0002],
  CKS_RW_USER_FUNCTIONS: [0x0003],
  CKS_RW_SO_FUNCTIONS: [0x0004],
} as const satisfies Codes<"CKS">;

/** Trust of a certificate for a purpose (3.2). */
export const CKT = {
  CKT_TRUST_UNKNOWN: [0x0000, "3.2"],
  CKT_TRUSTED: [0x0001, "3.2"],
  CKT_TRUST_ANCHOR: [0x0002, "3.2"],
  CKT_NOT_TRUSTED: [0x0003, "3.2"],
  CKT_TRUST_MUST_VERIFY_TRUST: [0x0004, "3.2"],
} as const satisfies Codes<"CKT">;

/** Codes and names that every table of this file answers to, for printing. */
export const objectClassName: (code: number) => string = namer("CKO", CKO);
export const keyTypeName: (code: number) => string = namer("CKK", CKK);
export const certificateTypeName: (code: number) => string = namer("CKC", CKC);
export const hardwareFeatureName: (code: number) => string = namer("CKH", CKH);
export const profileName: (code: number) => string = namer("CKP", CKP);
export const sessionStateName: (code: number) => string = namer("CKS", CKS);
export const userName: (code: number) => string = namer("CKU", CKU);

function namer(prefix: string, table: Record<string, readonly [number, Since?]>): (code: number) => string {
  const nameOf = namesByCode(table);
  return (code) => nameOf(code) ?? vendorName(prefix, code);
}
