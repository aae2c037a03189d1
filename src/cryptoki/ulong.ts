/**
 * CK_ULONG beyond what a number holds.
 * @module
 */
import type { Ulong } from "./port.ts";

/** The one form of a CK_ULONG: a number where it is exact, otherwise a bigint. */
export function ulong(value: bigint): Ulong {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/** A CK_ULONG that must be a plain number, such as a length or a flag word; the low 53 bits otherwise. */
export function small(value: Ulong): number {
  return typeof value === "number" ? value : Number(value & 0x1f_ffff_ffff_ffffn);
}
