/**
 * Which mechanisms p11-kit's RPC protocol knows: those without a parameter, and those whose parameter it lays out; that
 * differs by release. From p11-kit-rpc.md, 5.3 and 5.4; the client of a release hides every other mechanism.
 *
 * Names are written without `CKM_`. IBM's codes, which only releases from 0.25.0 know, are numbers here.
 * @module
 */
import { mechanismCode } from "./mechanisms.ts";

/**
 * Releases with one list: `0.24` are 0.23.6 to 0.24.1, `0.25` are 0.25.0 to 0.25.5, `0.26` are 0.25.6 to 0.26.4. By the
 * version that a client offers: 0, 1, 2.
 */
export const RELEASES = ["0.24", "0.25", "0.26"] as const;
export type Release = (typeof RELEASES)[number];

const WITHOUT_0_24 = `
  RSA_PKCS_KEY_PAIR_GEN RSA_PKCS RSA_9796 RSA_X_509 MD2_RSA_PKCS MD5_RSA_PKCS SHA1_RSA_PKCS RIPEMD128_RSA_PKCS
  RIPEMD160_RSA_PKCS RSA_X9_31_KEY_PAIR_GEN RSA_X9_31 SHA1_RSA_X9_31 DSA_KEY_PAIR_GEN DSA DSA_SHA1
  DH_PKCS_KEY_PAIR_GEN X9_42_DH_KEY_PAIR_GEN SHA256_RSA_PKCS SHA384_RSA_PKCS SHA512_RSA_PKCS RC2_KEY_GEN RC2_ECB
  RC2_MAC RC4_KEY_GEN RC4 DES_KEY_GEN DES_ECB DES_MAC DES2_KEY_GEN DES3_KEY_GEN DES3_ECB DES3_MAC CDMF_KEY_GEN
  CDMF_ECB CDMF_MAC MD2 MD2_HMAC MD5 MD5_HMAC SHA_1 SHA_1_HMAC RIPEMD128 RIPEMD128_HMAC RIPEMD160 RIPEMD160_HMAC
  SHA256 SHA256_HMAC SHA384 SHA384_HMAC SHA512 SHA512_HMAC CAST_KEY_GEN CAST_ECB CAST_MAC CAST3_KEY_GEN CAST3_ECB
  CAST3_MAC CAST128_KEY_GEN CAST128_ECB RC5_KEY_GEN RC5_ECB RC5_MAC IDEA_KEY_GEN IDEA_ECB IDEA_MAC
  GENERIC_SECRET_KEY_GEN SSL3_PRE_MASTER_KEY_GEN TLS_PRE_MASTER_KEY_GEN SSL3_MD5_MAC SSL3_SHA1_MAC KEY_WRAP_LYNKS
  SKIPJACK_KEY_GEN SKIPJACK_WRAP KEA_KEY_PAIR_GEN FORTEZZA_TIMESTAMP BATON_KEY_GEN BATON_WRAP EC_KEY_PAIR_GEN
  ECDSA ECDSA_SHA1 JUNIPER_KEY_GEN JUNIPER_WRAP FASTHASH AES_KEY_GEN AES_ECB AES_MAC DSA_PARAMETER_GEN
  DH_PKCS_PARAMETER_GEN X9_42_DH_PARAMETER_GEN
`;
const WITHOUT_0_25 = `
  SHA224_RSA_PKCS SHA512_224 SHA512_224_HMAC SHA512_224_KEY_DERIVATION SHA512_256 SHA512_256_HMAC
  SHA512_256_KEY_DERIVATION SHA512_T SHA512_T_HMAC SHA512_T_KEY_DERIVATION DES3_CMAC SHA224 SHA224_HMAC
  SHA1_KEY_DERIVATION SHA256_KEY_DERIVATION SHA384_KEY_DERIVATION SHA512_KEY_DERIVATION SHA224_KEY_DERIVATION
  ECDSA_SHA224 ECDSA_SHA256 ECDSA_SHA384 ECDSA_SHA512 AES_CMAC
`;
const WITHOUT_IBM = [
  0x80010001, 0x80010002, 0x80010003, 0x80010004, 0x80010007, 0x8001001c, 0x8001001f, 0x80010023, 0x80010025,
  0x80010026, 0x80010027, 0x80010028,
];

/** Each has the parameter that the mechanism table says, as fields; an initialisation vector as bytes. */
const LAID_OUT_0_24 = `
  RSA_PKCS_PSS RSA_PKCS_OAEP
`;
const LAID_OUT_0_25 = `
  SHA1_RSA_PKCS_PSS SHA224_RSA_PKCS_PSS SHA256_RSA_PKCS_PSS SHA384_RSA_PKCS_PSS SHA512_RSA_PKCS_PSS ECDH1_DERIVE
  AES_CBC AES_CBC_PAD AES_OFB AES_CFB1 AES_CFB8 AES_CFB64 AES_CFB128 AES_CTS AES_CTR AES_GCM DES_CBC DES_CBC_PAD
  DES3_CBC DES3_CBC_PAD DES_CFB8 DES_CFB64 DES_OFB64 SHA_1_HMAC_GENERAL SHA224_HMAC_GENERAL SHA256_HMAC_GENERAL
  SHA384_HMAC_GENERAL SHA512_HMAC_GENERAL SHA512_224_HMAC_GENERAL SHA512_256_HMAC_GENERAL AES_MAC_GENERAL
  AES_CMAC_GENERAL DES3_MAC_GENERAL DES3_CMAC_GENERAL DH_PKCS_DERIVE
`;

/**
 * IBM's mechanisms with a parameter: its fields. `ulong` CK_ULONG · `bytes` pointer and length · `byte` CK_BYTE.
 * The first three since 0.25.0, the others since 0.25.6.
 */
export const IBM_PARAMETERS: ReadonlyMap<number, readonly ("ulong" | "bytes" | "byte")[]> = new Map([
  [0x8001001b, ["ulong", "bytes", "bytes"]],
  [0x8001001e, ["ulong", "bytes", "bytes"]],
  [0x80020004, ["ulong"]],
  [0x80010031, ["ulong"]],
  [0x80070001, ["ulong", "ulong", "bytes", "ulong"]],
  [0x80010024, ["ulong", "ulong", "ulong", "byte", "bytes", "bytes", "ulong"]],
]);
const IBM = [...IBM_PARAMETERS.keys()];

function codes(names: string): number[] {
  return names
    .trim()
    .split(/\s+/)
    .map((name) => mechanismCode(`CKM_${name}`)!);
}

const without24 = codes(WITHOUT_0_24);
const without25 = [...without24, ...codes(WITHOUT_0_25), ...WITHOUT_IBM];
const laidOut24 = codes(LAID_OUT_0_24);
const laidOut25 = [...laidOut24, ...codes(LAID_OUT_0_25)];

/** Mechanisms that a release knows to have no parameter. */
export const WITHOUT_PARAMETER: Readonly<Record<Release, ReadonlySet<number>>> = {
  "0.24": new Set(without24),
  "0.25": new Set(without25),
  "0.26": new Set(without25),
};

/** Mechanisms whose parameter a release lays out. */
export const LAID_OUT: Readonly<Record<Release, ReadonlySet<number>>> = {
  "0.24": new Set(laidOut24),
  "0.25": new Set([...laidOut25, ...IBM.slice(0, 3)]),
  "0.26": new Set([...laidOut25, ...IBM]),
};
