/**
 * Finding sealed records without opening them: a truncated HMAC-SHA-256 under a key of its own stands for a value.
 * Equal values are seen to be equal, nothing else is.
 * @module
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** Bytes of an index entry. */
const ENTRY_LENGTH = 16;

/** The index entry of a value in a field. @param context keeps fields and owners apart */
export function blindEntry(key: Uint8Array, context: Uint8Array, value: Uint8Array): Uint8Array {
  const mac = createHmac("sha256", key).update(lengthOf(context)).update(context).update(value).digest();
  return new Uint8Array(mac.buffer, mac.byteOffset, ENTRY_LENGTH);
}

/** The same for records that are not sealed: a truncated SHA-256. */
export function openEntry(context: Uint8Array, value: Uint8Array): Uint8Array {
  const digest = createHash("sha256").update(lengthOf(context)).update(context).update(value).digest();
  return new Uint8Array(digest.buffer, digest.byteOffset, ENTRY_LENGTH);
}

/** HMAC-SHA-256 over parts, each with its length before it, so that no two lists of parts collide. */
export function authenticate(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac("sha256", key);
  for (const part of parts) mac.update(lengthOf(part)).update(part);
  return mac.digest();
}

/** Whether two MACs are the same, in constant time. */
export function sameMac(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function lengthOf(part: Uint8Array): Uint8Array {
  return Uint8Array.of(part.length >>> 24, part.length >>> 16, part.length >>> 8, part.length);
}
