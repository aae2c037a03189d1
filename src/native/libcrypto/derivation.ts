/**
 * CMAC and the key derivation functions that node:crypto does not have.
 * @module
 */
import { must, type Pointer, plain, pointer } from "./library.ts";
import { params } from "./params.ts";

const CMAC_LENGTH = 16;
let cmac: Pointer | undefined;

/** AES-CMAC (SP 800-38B) of a message in pieces. */
export class Cmac {
  readonly #ctx: Pointer;

  /** @param key 16, 24 or 32 bytes */
  constructor(key: Uint8Array) {
    cmac ??= pointer("EVP_MAC_fetch", null, "CMAC", null);
    this.#ctx = pointer("EVP_MAC_CTX_new", cmac);
    const cipher = params({ cipher: `AES-${key.length * 8}-CBC` });
    must("EVP_MAC_init", this.#ctx, key, key.length, cipher);
  }

  update(data: Uint8Array): void {
    must("EVP_MAC_update", this.#ctx, data, data.length);
  }

  /** The 16 bytes of the MAC. */
  final(): Uint8Array {
    const out = new Uint8Array(CMAC_LENGTH);
    must("EVP_MAC_final", this.#ctx, out, new BigUint64Array(1), CMAC_LENGTH);
    return out;
  }

  free(): void {
    plain("EVP_MAC_CTX_free", this.#ctx);
  }
}

/** `X963KDF` is ANSI X9.63's, `SSKDF` the one-step function of SP 800-56C, `HKDF` RFC 5869. */
export type Kdf = "X963KDF" | "SSKDF" | "HKDF";
const fetched = new Map<Kdf, Pointer>();

export interface Derivation {
  /** OpenSSL's name of the hash. */
  readonly digest: string;
  readonly secret: Uint8Array;
  readonly info: Uint8Array;
  readonly salt?: Uint8Array;
  /** Which part of HKDF; both by default. */
  readonly part?: "extract" | "expand";
}

const HKDF_MODE = { extract: 1, expand: 2 } as const;

/** Derives a key from a shared secret. @throws LibcryptoError */
export function deriveKey(kdf: Kdf, given: Derivation, keyLength: number): Uint8Array {
  let type = fetched.get(kdf);
  if (type === undefined) {
    type = pointer("EVP_KDF_fetch", null, kdf, null);
    fetched.set(kdf, type);
  }
  const ctx = pointer("EVP_KDF_CTX_new", type);
  const key = new Uint8Array(keyLength);
  const some = (bytes: Uint8Array | undefined) => (bytes === undefined || bytes.length === 0 ? undefined : bytes);
  const set = params({
    mode: given.part && HKDF_MODE[given.part],
    digest: given.digest,
    key: given.secret,
    salt: some(given.salt),
    info: some(given.info),
  });
  try {
    must("EVP_KDF_derive", ctx, key, keyLength, set);
    return key;
  } finally {
    plain("EVP_KDF_CTX_free", ctx);
  }
}
