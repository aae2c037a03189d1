/**
 * The OpenSSL that the running Node itself uses: its symbols, each declared once, when it is first called.
 *
 * For what node:crypto cannot say: signing a digest that is given, PSS and OAEP with a mask hash of their own, CMAC,
 * X9.63 and one-step key derivation, context strings, post-quantum keys. Nothing is loaded before the first call.
 * @module
 */
import { createRequire } from "node:module";
import type * as Koffi from "koffi";

/** An address; koffi gives and takes them as bigints. */
export type Pointer = bigint;

/** What crosses: numbers, addresses, and arrays whose memory the callee reads or fills in place. */
export type NativeValue = number | bigint | string | null | Uint8Array | BigUint64Array;

const DECLARATIONS = {
  ERR_clear_error: "void ERR_clear_error()",
  EVP_get_digestbyname: "void *EVP_get_digestbyname(const char *name)",
  d2i_AutoPrivateKey: "void *d2i_AutoPrivateKey(void *a, void *pp, long length)",
  d2i_PUBKEY: "void *d2i_PUBKEY(void *a, void *pp, long length)",
  EVP_PKEY_free: "void EVP_PKEY_free(void *key)",
  EVP_PKEY_get_size: "int EVP_PKEY_get_size(void *key)",
  EVP_PKEY_get_octet_string_param:
    "int EVP_PKEY_get_octet_string_param(void *key, const char *name, void *buf, size_t max, void *out_len)",
  EVP_PKEY_CTX_new: "void *EVP_PKEY_CTX_new(void *key, void *engine)",
  EVP_PKEY_CTX_new_from_name: "void *EVP_PKEY_CTX_new_from_name(void *libctx, const char *name, void *propq)",
  EVP_PKEY_CTX_free: "void EVP_PKEY_CTX_free(void *ctx)",
  EVP_PKEY_CTX_set_params: "int EVP_PKEY_CTX_set_params(void *ctx, void *params)",
  EVP_PKEY_CTX_set_rsa_padding: "int EVP_PKEY_CTX_set_rsa_padding(void *ctx, int mode)",
  EVP_PKEY_CTX_set_signature_md: "int EVP_PKEY_CTX_set_signature_md(void *ctx, void *md)",
  EVP_PKEY_CTX_set_rsa_mgf1_md: "int EVP_PKEY_CTX_set_rsa_mgf1_md(void *ctx, void *md)",
  EVP_PKEY_CTX_set_rsa_pss_saltlen: "int EVP_PKEY_CTX_set_rsa_pss_saltlen(void *ctx, int length)",
  EVP_PKEY_CTX_set_rsa_oaep_md: "int EVP_PKEY_CTX_set_rsa_oaep_md(void *ctx, void *md)",
  EVP_PKEY_sign_init: "int EVP_PKEY_sign_init(void *ctx)",
  EVP_PKEY_sign: "int EVP_PKEY_sign(void *ctx, void *sig, void *siglen, const void *tbs, size_t tbslen)",
  EVP_PKEY_verify_init: "int EVP_PKEY_verify_init(void *ctx)",
  EVP_PKEY_verify: "int EVP_PKEY_verify(void *ctx, const void *sig, size_t siglen, const void *tbs, size_t tbslen)",
  EVP_PKEY_verify_recover_init: "int EVP_PKEY_verify_recover_init(void *ctx)",
  EVP_PKEY_verify_recover:
    "int EVP_PKEY_verify_recover(void *ctx, void *out, void *outlen, const void *sig, size_t siglen)",
  EVP_PKEY_encrypt_init: "int EVP_PKEY_encrypt_init(void *ctx)",
  EVP_PKEY_encrypt: "int EVP_PKEY_encrypt(void *ctx, void *out, void *outlen, const void *in, size_t inlen)",
  EVP_PKEY_decrypt_init: "int EVP_PKEY_decrypt_init(void *ctx)",
  EVP_PKEY_decrypt: "int EVP_PKEY_decrypt(void *ctx, void *out, void *outlen, const void *in, size_t inlen)",
  EVP_PKEY_derive_init: "int EVP_PKEY_derive_init(void *ctx)",
  EVP_PKEY_derive_set_peer: "int EVP_PKEY_derive_set_peer(void *ctx, void *peer)",
  EVP_PKEY_derive: "int EVP_PKEY_derive(void *ctx, void *key, void *keylen)",
  EVP_PKEY_keygen_init: "int EVP_PKEY_keygen_init(void *ctx)",
  EVP_PKEY_generate: "int EVP_PKEY_generate(void *ctx, void *key)",
  EVP_PKEY_encapsulate_init: "int EVP_PKEY_encapsulate_init(void *ctx, void *params)",
  EVP_PKEY_encapsulate:
    "int EVP_PKEY_encapsulate(void *ctx, void *wrapped, void *wrappedlen, void *secret, void *secretlen)",
  EVP_PKEY_decapsulate_init: "int EVP_PKEY_decapsulate_init(void *ctx, void *params)",
  EVP_PKEY_decapsulate:
    "int EVP_PKEY_decapsulate(void *ctx, void *secret, void *secretlen, const void *wrapped, size_t wrappedlen)",
  EVP_MD_CTX_new: "void *EVP_MD_CTX_new()",
  EVP_MD_CTX_free: "void EVP_MD_CTX_free(void *ctx)",
  EVP_DigestSignInit_ex:
    "int EVP_DigestSignInit_ex(void *ctx, void *pctx, const char *md, void *libctx, const char *props, void *key, void *params)",
  EVP_DigestSign: "int EVP_DigestSign(void *ctx, void *sig, void *siglen, const void *tbs, size_t tbslen)",
  EVP_DigestVerifyInit_ex:
    "int EVP_DigestVerifyInit_ex(void *ctx, void *pctx, const char *md, void *libctx, const char *props, void *key, void *params)",
  EVP_DigestVerify: "int EVP_DigestVerify(void *ctx, const void *sig, size_t siglen, const void *tbs, size_t tbslen)",
  EVP_MAC_fetch: "void *EVP_MAC_fetch(void *libctx, const char *name, const char *props)",
  EVP_MAC_CTX_new: "void *EVP_MAC_CTX_new(void *mac)",
  EVP_MAC_CTX_free: "void EVP_MAC_CTX_free(void *ctx)",
  EVP_MAC_init: "int EVP_MAC_init(void *ctx, const void *key, size_t keylen, void *params)",
  EVP_MAC_update: "int EVP_MAC_update(void *ctx, const void *data, size_t length)",
  EVP_MAC_final: "int EVP_MAC_final(void *ctx, void *out, void *outlen, size_t outsize)",
  EVP_KDF_fetch: "void *EVP_KDF_fetch(void *libctx, const char *name, const char *props)",
  EVP_KDF_CTX_new: "void *EVP_KDF_CTX_new(void *kdf)",
  EVP_KDF_CTX_free: "void EVP_KDF_CTX_free(void *ctx)",
  EVP_KDF_derive: "int EVP_KDF_derive(void *ctx, void *key, size_t keylen, void *params)",
} as const;

export type SymbolName = keyof typeof DECLARATIONS;
type Native = ((...args: NativeValue[]) => unknown) & { async: (...args: unknown[]) => void };

let koffi: typeof Koffi | undefined;
let library: Koffi.LibraryHandle | undefined;
const declared = new Map<SymbolName, Native>();

function load(): typeof Koffi {
  koffi ??= createRequire(import.meta.url)("koffi") as typeof Koffi;
  return koffi;
}

function native(name: SymbolName): Native {
  const known = declared.get(name);
  if (known !== undefined) return known;
  library ??= load().load(null);
  const made = library.func(DECLARATIONS[name]) as unknown as Native;
  declared.set(name, made);
  return made;
}

/** A call of libcrypto that did not succeed. Its error queue is empty again, so that node:crypto does not see it. */
export class LibcryptoError extends Error {
  readonly code = "ERR_LIBCRYPTO";
  readonly symbol: SymbolName;

  constructor(symbol: SymbolName) {
    super(`${symbol} failed`);
    this.name = "LibcryptoError";
    this.symbol = symbol;
  }
}

/** A function that answers 1 for success, as a boolean; the error queue is emptied after a failure. */
export function attempt(name: SymbolName): (...args: NativeValue[]) => boolean {
  const call = native(name);
  return (...args) => {
    if (call(...args) === 1) return true;
    native("ERR_clear_error")();
    return false;
  };
}

/** Calls a function that answers 1 for success. @throws LibcryptoError */
export function must(name: SymbolName, ...args: NativeValue[]): void {
  if (native(name)(...args) === 1) return;
  native("ERR_clear_error")();
  throw new LibcryptoError(name);
}

/** The same on a thread of its own. The caller keeps every buffer referenced until it is done. */
export function mustLater(name: SymbolName, ...args: NativeValue[]): Promise<void> {
  return new Promise((resolve, reject) => {
    native(name).async(...args, (error: unknown, result: unknown) => {
      if (error === null && result === 1) resolve();
      else reject(error ?? new LibcryptoError(name));
    });
  });
}

/** Calls a function that answers an address. @throws LibcryptoError for NULL */
export function pointer(name: SymbolName, ...args: NativeValue[]): Pointer {
  const result = native(name)(...args) as Pointer | null;
  if (result !== null && result !== 0n) return result;
  native("ERR_clear_error")();
  throw new LibcryptoError(name);
}

/** Calls a function without a result worth looking at, such as those that free. */
export function plain(name: SymbolName, ...args: NativeValue[]): unknown {
  return native(name)(...args);
}

/** Where an array's memory is; valid while the array is referenced. */
export function addressOf(array: Uint8Array | BigUint64Array): Pointer {
  return BigInt(load().address(array));
}

let version: number | undefined;

/** OpenSSL's version as major·100 + minor: 300 for 3.0, 305 for 3.5. */
export function opensslVersion(): number {
  if (version === undefined) {
    const [major = "0", minor = "0"] = process.versions.openssl.split(".");
    version = Number(major) * 100 + Number(minor);
  }
  return version;
}

const digests = new Map<string, Pointer>();

/** The EVP_MD of a digest, by OpenSSL's name for it. */
export function digest(name: string): Pointer {
  let md = digests.get(name);
  if (md === undefined) {
    md = pointer("EVP_get_digestbyname", name);
    digests.set(name, md);
  }
  return md;
}
