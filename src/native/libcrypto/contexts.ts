/**
 * What is done with a key: a context per key, operation and setting, made once and used again.
 * @module
 */
import type { Pkey } from "./keys.ts";
import { attempt, digest, LibcryptoError, must, type Pointer, plain, pointer, type SymbolName } from "./library.ts";
import { params } from "./params.ts";

/** How an RSA input is padded. Digests by OpenSSL's names. EC keys take none of it. */
export type Padding =
  | { readonly type: "none" }
  | { readonly type: "pkcs1"; readonly digest?: string }
  | { readonly type: "pss"; readonly digest: string; readonly mask: string; readonly saltLength: number }
  | { readonly type: "oaep"; readonly digest: string; readonly mask: string; readonly label: Uint8Array };

const PADDING_MODE = { pkcs1: 1, none: 3, oaep: 4, pss: 6 } as const;

/** RSA of 8192 bits is the longest output of these contexts. */
const SCRATCH_LENGTH = 1024;
const scratch = new Uint8Array(SCRATCH_LENGTH);
const length = new BigUint64Array(1);

abstract class Context {
  protected readonly ctx: Pointer;
  #freed = false;

  constructor(key: Pkey, init: SymbolName, padding: Padding | undefined) {
    this.ctx = pointer("EVP_PKEY_CTX_new", key.pointer, null);
    try {
      must(init, this.ctx);
      if (padding !== undefined) this.#pad(padding);
    } catch (error) {
      this.free();
      throw error;
    }
  }

  #pad(padding: Padding): void {
    const { ctx } = this;
    must("EVP_PKEY_CTX_set_rsa_padding", ctx, PADDING_MODE[padding.type]);
    if (padding.type === "pkcs1" && padding.digest !== undefined) {
      must("EVP_PKEY_CTX_set_signature_md", ctx, digest(padding.digest));
    }
    if (padding.type === "pss") {
      must("EVP_PKEY_CTX_set_signature_md", ctx, digest(padding.digest));
      must("EVP_PKEY_CTX_set_rsa_mgf1_md", ctx, digest(padding.mask));
      must("EVP_PKEY_CTX_set_rsa_pss_saltlen", ctx, padding.saltLength);
    }
    if (padding.type === "oaep") {
      must("EVP_PKEY_CTX_set_rsa_oaep_md", ctx, digest(padding.digest));
      must("EVP_PKEY_CTX_set_rsa_mgf1_md", ctx, digest(padding.mask));
      if (padding.label.length > 0) {
        const label = params({ "oaep-label": padding.label });
        must("EVP_PKEY_CTX_set_params", ctx, label);
      }
    }
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    plain("EVP_PKEY_CTX_free", this.ctx);
  }
}

/** Signs a digest, or for RSA without one whatever is to be padded. */
export class Signer extends Context {
  readonly #sign = attempt("EVP_PKEY_sign");

  constructor(key: Pkey, padding?: Padding) {
    super(key, "EVP_PKEY_sign_init", padding);
  }

  /** The signature as OpenSSL writes it: for EC keys DER, to be read at once, since the memory is used again. */
  sign(data: Uint8Array): Uint8Array {
    length[0] = BigInt(SCRATCH_LENGTH);
    if (!this.#sign(this.ctx, scratch, length, data, data.length)) throw new LibcryptoError("EVP_PKEY_sign");
    return scratch.subarray(0, Number(length[0]));
  }
}

/** Verifies a signature over a digest. */
export class Verifier extends Context {
  readonly #verify = attempt("EVP_PKEY_verify");

  constructor(key: Pkey, padding?: Padding) {
    super(key, "EVP_PKEY_verify_init", padding);
  }

  verify(data: Uint8Array, signature: Uint8Array): boolean {
    return this.#verify(this.ctx, signature, signature.length, data, data.length);
  }
}

type Transformation = "EVP_PKEY_verify_recover" | "EVP_PKEY_encrypt" | "EVP_PKEY_decrypt";

/** RSA from bytes to bytes: recovering what was signed, encrypting, decrypting. */
export class Transformer extends Context {
  readonly #run: (...args: Parameters<ReturnType<typeof attempt>>) => boolean;

  constructor(what: "recover" | "encrypt" | "decrypt", key: Pkey, padding: Padding) {
    const name: Transformation = what === "recover" ? "EVP_PKEY_verify_recover" : `EVP_PKEY_${what}`;
    super(key, `${name}_init`, padding);
    this.#run = attempt(name);
  }

  /** The output, a copy; undefined if the input does not decode. */
  run(data: Uint8Array): Uint8Array | undefined {
    length[0] = BigInt(SCRATCH_LENGTH);
    if (!this.#run(this.ctx, scratch, length, data, data.length)) return undefined;
    const result = scratch.slice(0, Number(length[0]));
    scratch.fill(0, 0, result.length);
    return result;
  }
}

/** The secret that two keys agree on (ECDH, X25519, X448). @throws LibcryptoError */
export function agree(own: Pkey, peer: Pkey): Uint8Array {
  const ctx = pointer("EVP_PKEY_CTX_new", own.pointer, null);
  try {
    must("EVP_PKEY_derive_init", ctx);
    must("EVP_PKEY_derive_set_peer", ctx, peer.pointer);
    length[0] = BigInt(SCRATCH_LENGTH);
    must("EVP_PKEY_derive", ctx, scratch, length);
    const secret = scratch.slice(0, Number(length[0]));
    scratch.fill(0, 0, secret.length);
    return secret;
  } finally {
    plain("EVP_PKEY_CTX_free", ctx);
  }
}

/** ML-KEM: a fresh secret and its encapsulation for a public key. @throws LibcryptoError */
export function encapsulate(key: Pkey, cipherLength: number): { secret: Uint8Array; ciphertext: Uint8Array } {
  const ctx = pointer("EVP_PKEY_CTX_new", key.pointer, null);
  const ciphertext = new Uint8Array(cipherLength);
  const secret = new Uint8Array(KEM_SECRET_LENGTH);
  try {
    must("EVP_PKEY_encapsulate_init", ctx, null);
    const lengths = [BigUint64Array.of(BigInt(cipherLength)), BigUint64Array.of(BigInt(secret.length))] as const;
    must("EVP_PKEY_encapsulate", ctx, ciphertext, lengths[0], secret, lengths[1]);
    return { secret, ciphertext };
  } finally {
    plain("EVP_PKEY_CTX_free", ctx);
  }
}

const KEM_SECRET_LENGTH = 32;

/** ML-KEM: the secret of an encapsulation. @throws LibcryptoError */
export function decapsulate(key: Pkey, ciphertext: Uint8Array): Uint8Array {
  const ctx = pointer("EVP_PKEY_CTX_new", key.pointer, null);
  const secret = new Uint8Array(KEM_SECRET_LENGTH);
  try {
    must("EVP_PKEY_decapsulate_init", ctx, null);
    must("EVP_PKEY_decapsulate", ctx, secret, BigUint64Array.of(32n), ciphertext, ciphertext.length);
    return secret;
  } finally {
    plain("EVP_PKEY_CTX_free", ctx);
  }
}

/**
 * Settings of a signature over a whole message, by OpenSSL's names: `instance` (Ed25519ph …), `context-string`,
 * `deterministic`, `message-encoding`.
 */
export type MessageSettings = Readonly<Record<string, number | string | Uint8Array | undefined>>;

/** Signs a message with an algorithm that hashes by itself: EdDSA, ML-DSA, SLH-DSA. @throws LibcryptoError */
export function signMessage(key: Pkey, message: Uint8Array, settings: MessageSettings): Uint8Array {
  const ctx = pointer("EVP_MD_CTX_new");
  const set = params(settings);
  try {
    must("EVP_DigestSignInit_ex", ctx, null, null, null, null, key.pointer, set);
    const signature = new Uint8Array(key.size);
    const size = BigUint64Array.of(BigInt(key.size));
    must("EVP_DigestSign", ctx, signature, size, message, message.length);
    return signature.subarray(0, Number(size[0]));
  } finally {
    plain("EVP_MD_CTX_free", ctx);
  }
}

/** Verifies what {@link signMessage} makes. @throws LibcryptoError if the settings are not taken */
export function verifyMessage(
  key: Pkey,
  message: Uint8Array,
  signature: Uint8Array,
  settings: MessageSettings,
): boolean {
  const ctx = pointer("EVP_MD_CTX_new");
  const set = params(settings);
  try {
    must("EVP_DigestVerifyInit_ex", ctx, null, null, null, null, key.pointer, set);
    return attempt("EVP_DigestVerify")(ctx, signature, signature.length, message, message.length);
  } finally {
    plain("EVP_MD_CTX_free", ctx);
  }
}
