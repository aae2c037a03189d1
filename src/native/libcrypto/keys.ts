/**
 * Keys as libcrypto holds them.
 * @module
 */
import { addressOf, must, mustLater, type Pointer, plain, pointer } from "./library.ts";

/** An EVP_PKEY; whoever made it frees it. */
export class Pkey {
  readonly pointer: Pointer;
  /** The longest signature, ciphertext or secret, in bytes. */
  readonly size: number;
  #freed = false;

  private constructor(key: Pointer) {
    this.pointer = key;
    this.size = plain("EVP_PKEY_get_size", key) as number;
  }

  /** From PrivateKeyInfo. @throws LibcryptoError if it is not a key that OpenSSL takes */
  static fromPrivate(pkcs8: Uint8Array): Pkey {
    return Pkey.#decode("d2i_AutoPrivateKey", pkcs8);
  }

  /** From SubjectPublicKeyInfo. @throws LibcryptoError */
  static fromPublic(spki: Uint8Array): Pkey {
    return Pkey.#decode("d2i_PUBKEY", spki);
  }

  static #decode(name: "d2i_AutoPrivateKey" | "d2i_PUBKEY", der: Uint8Array): Pkey {
    const cursor = BigUint64Array.of(addressOf(der));
    return new Pkey(pointer(name, null, cursor, der.length));
  }

  /** A new key pair of an algorithm, by OpenSSL's name such as `ML-DSA-65`. @throws LibcryptoError */
  static generate(name: string): Pkey {
    const [ctx, out] = Pkey.#generator(name);
    try {
      must("EVP_PKEY_generate", ctx, out);
      return new Pkey(out[0]!);
    } finally {
      plain("EVP_PKEY_CTX_free", ctx);
    }
  }

  /** The same on a thread of its own. */
  static async generateLater(name: string): Promise<Pkey> {
    const [ctx, out] = Pkey.#generator(name);
    try {
      await mustLater("EVP_PKEY_generate", ctx, out);
      return new Pkey(out[0]!);
    } finally {
      plain("EVP_PKEY_CTX_free", ctx);
    }
  }

  static #generator(name: string): [Pointer, BigUint64Array] {
    const ctx = pointer("EVP_PKEY_CTX_new_from_name", null, name, null);
    must("EVP_PKEY_keygen_init", ctx);
    return [ctx, new BigUint64Array(1)];
  }

  /** A part of the key, by OpenSSL's name: `pub`, `priv`, `seed`. @param most its greatest length, in bytes */
  part(name: string, most: number): Uint8Array {
    const buffer = new Uint8Array(most);
    const length = new BigUint64Array(1);
    must("EVP_PKEY_get_octet_string_param", this.pointer, name, buffer, most, length);
    return buffer.slice(0, Number(length[0]));
  }

  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    plain("EVP_PKEY_free", this.pointer);
  }
}
