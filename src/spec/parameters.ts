/**
 * The parameters of mechanisms: fields in C order. From PKCS#11 3.2, chapter 6.
 *
 * On the port a parameter is an object with these fields; `iv`, `raw` and unknown ones are bytes, `ulong` and `handle`
 * a number, `none` is absent.
 *
 * Field kinds: `ulong` CK_ULONG, also codes (mechanism, MGF, KDF) and handles · `bool` CK_BBOOL · `bytes` pointer, then
 * CK_ULONG length · `lengthBytes` CK_ULONG length, then pointer · `string` pointer, then CK_ULONG length · `{ block: n }`
 * n bytes in place · `bits` the CK_ULONG that gives the length of the field before it in bits · `{ to: kind }` pointer to
 * another parameter structure.
 * @module
 */

export type ParameterField =
  | "ulong"
  | "bool"
  | "bytes"
  | "lengthBytes"
  | { readonly block: number }
  | { readonly to: string };

/** @see the module's text for what each kind of field is. */
export const PARAMETERS = {
  /** CK_RSA_PKCS_PSS_PARAMS */
  rsaPkcsPss: { hashAlg: "ulong", mgf: "ulong", saltLength: "ulong" },
  /** CK_RSA_PKCS_OAEP_PARAMS */
  rsaPkcsOaep: { hashAlg: "ulong", mgf: "ulong", source: "ulong", sourceData: "bytes" },
  /** CK_RSA_AES_KEY_WRAP_PARAMS */
  rsaAesKeyWrap: { aesKeyBits: "ulong", oaep: { to: "rsaPkcsOaep" } },
  /** CK_ECDH1_DERIVE_PARAMS */
  ecdh1Derive: { kdf: "ulong", sharedData: "lengthBytes", publicData: "lengthBytes" },
  /** CK_ECDH_AES_KEY_WRAP_PARAMS */
  ecdhAesKeyWrap: { aesKeyBits: "ulong", kdf: "ulong", sharedData: "lengthBytes" },
  /** CK_EDDSA_PARAMS */
  eddsa: { phFlag: "bool", contextData: "lengthBytes" },
  /** CK_XEDDSA_PARAMS */
  xeddsa: { hash: "ulong" },
  /** CK_GCM_PARAMS; ulIvBits follows ulIvLen and is computed */
  gcm: { iv: "bytes", ivBits: "ulong", aad: "bytes", tagBits: "ulong" },
  /** CK_CCM_PARAMS */
  ccm: { dataLength: "ulong", nonce: "bytes", aad: "bytes", macLength: "ulong" },
  /** CK_AES_CTR_PARAMS */
  aesCtr: { counterBits: "ulong", counterBlock: { block: 16 } },
  /** CK_CAMELLIA_CTR_PARAMS */
  camelliaCtr: { counterBits: "ulong", counterBlock: { block: 16 } },
  /** CK_CHACHA20_PARAMS is laid out by the caller: its lengths are in bits. */
  /** CK_SALSA20_CHACHA20_POLY1305_PARAMS */
  chacha20Poly1305: { nonce: "bytes", aad: "bytes" },
  /** CK_KEY_DERIVATION_STRING_DATA */
  keyDerivationString: { data: "bytes" },
  /** CK_AES_CBC_ENCRYPT_DATA_PARAMS and its like */
  cbcEncryptData16: { iv: { block: 16 }, data: "bytes" },
  /** CK_DES_CBC_ENCRYPT_DATA_PARAMS */
  cbcEncryptData8: { iv: { block: 8 }, data: "bytes" },
  /** CK_HKDF_PARAMS */
  hkdf: {
    extract: "bool",
    expand: "bool",
    prfHashMechanism: "ulong",
    saltType: "ulong",
    salt: "bytes",
    saltKey: "ulong",
    info: "bytes",
  },
  /** CK_SIGN_ADDITIONAL_CONTEXT */
  signAdditionalContext: { hedgeVariant: "ulong", context: "bytes" },
  /** CK_HASH_SIGN_ADDITIONAL_CONTEXT */
  hashSignAdditionalContext: { hedgeVariant: "ulong", context: "bytes", hash: "ulong" },
} as const satisfies Record<string, Readonly<Record<string, ParameterField>>>;

/** The name of a parameter structure. */
export type ParameterName = keyof typeof PARAMETERS;

/**
 * How a mechanism's parameter is given: a structure of {@link PARAMETERS}, `none`, `iv` and `raw` bytes as they are, or
 * one CK_ULONG: `ulong`, or a key's `handle`.
 */
export type ParameterKind = ParameterName | "none" | "iv" | "raw" | "ulong" | "handle";
