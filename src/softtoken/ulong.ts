/**
 * What a caller gives as a CK_ULONG.
 * @module
 */

const LARGEST = 0xffff_ffff_ffff_ffffn;

/** Whether a value is a CK_ULONG: a whole number, not negative, of at most 64 bits. */
export function isUlong(value: unknown): value is number | bigint {
  if (typeof value === "bigint") return value >= 0n && value <= LARGEST;
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
