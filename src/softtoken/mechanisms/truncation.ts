/**
 * Cutting a derived secret to the length that is asked for.
 * @module
 */
import { refuse } from "../refusal.ts";

/**
 * @param keep which end stays: most derivations keep the start, key agreement the end (6.3.19: "the truncation removes
 *   bytes from the leading end")
 * @throws Refusal CKR_KEY_SIZE_RANGE when there is less than that
 */
export function truncated(value: Uint8Array, length: number | undefined, keep: "start" | "end"): Uint8Array {
  if (length === undefined) return value;
  if (length > value.length) return refuse("CKR_KEY_SIZE_RANGE", `${length} bytes of ${value.length}`);
  return keep === "start" ? value.subarray(0, length) : value.subarray(value.length - length);
}
