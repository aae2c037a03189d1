/**
 * Looking names up by code, for every table of this room.
 * @module
 */

/** The edition of PKCS#11 that brought a row, when it is later than 2.40. */
export type Since = "3.0" | "3.1" | "3.2";

/** The first bit of vendor code space in every code space of the standard (CKx_VENDOR_DEFINED). */
export const VENDOR_DEFINED = 0x80000000;

/** Code to name; the first row of a code wins, so a table lists its current name before older ones. */
export function namesByCode<T extends Record<string, readonly [code: number, ...unknown[]]>>(
  table: T,
): ReadonlyMap<number, keyof T & string> {
  const names = new Map<number, keyof T & string>();
  for (const name of Object.keys(table)) {
    const code = table[name]![0];
    if (!names.has(code)) names.set(code, name);
  }
  return names;
}

/** What is printed for a code without a name: `"CKR vendor 0x80000001"` or `"CKR 0x00009999"`. */
export function vendorName(prefix: string, code: number | bigint): string {
  const hex = `0x${code.toString(16).padStart(8, "0")}`;
  return code >= VENDOR_DEFINED ? `${prefix} vendor ${hex}` : `${prefix} ${hex}`;
}
