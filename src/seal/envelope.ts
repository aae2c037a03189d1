/**
 * Sealed values: AES-256-GCM with a random 96-bit nonce (SP 800-38D 8.2.2), bound to what they belong to.
 * @module
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomFillSync } from "node:crypto";

const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;

/** How many bytes an envelope is longer than its contents. */
export const ENVELOPE_OVERHEAD: number = NONCE_LENGTH + TAG_LENGTH;

/**
 * Seals a value.
 * @param key 32 bytes
 * @param context associated data: opening with any other fails
 * @returns nonce (12 bytes), ciphertext, tag (16)
 */
export function sealEnvelope(key: Uint8Array, value: Uint8Array, context: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(value.length + ENVELOPE_OVERHEAD);
  const nonce = randomFillSync(sealed.subarray(0, NONCE_LENGTH));
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_LENGTH });
  cipher.setAAD(context);
  sealed.set(cipher.update(value), NONCE_LENGTH);
  cipher.final();
  sealed.set(cipher.getAuthTag(), NONCE_LENGTH + value.length);
  return sealed;
}

/** Opens an envelope; undefined if key, context or envelope are not those it was sealed with. */
export function openEnvelope(key: Uint8Array, sealed: Uint8Array, context: Uint8Array): Uint8Array | undefined {
  if (sealed.length < ENVELOPE_OVERHEAD) return undefined;
  const end = sealed.length - TAG_LENGTH;
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_LENGTH), {
    authTagLength: TAG_LENGTH,
  });
  decipher.setAAD(context);
  decipher.setAuthTag(sealed.subarray(end));
  const value = decipher.update(sealed.subarray(NONCE_LENGTH, end));
  try {
    decipher.final();
  } catch {
    value.fill(0);
    return undefined;
  }
  // Not a Buffer, whose slice() would be a view of what the caller wipes.
  return new Uint8Array(value.buffer, value.byteOffset, value.length);
}

/** A key for one purpose, derived from a random key by HKDF-SHA-256 (RFC 5869). 32 bytes. */
export function subkey(key: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", key, new Uint8Array(0), purpose, 32));
}
