/**
 * Looking names up by code, for every table of this room.
 * @module
 */

/** The edition of PKCS#11 that brought a row, when it is later than 2.40. */
export type Since = "3.0" | "3.1" | "3.2";

/** The first bit of vendor code space in every code space of the standard (CKx_VENDOR_DEFINED). */
export const VENDOR_DEFINED = 0x80000000;

/**
 * A function from code to name; the first row of a code wins, so a table lists its current name before older ones. The
 * table is gone through when it is first asked: most tables never are.
 */
export function namesByCode<T extends Record<string, readonly [code: number, ...unknown[]]>>(
  table: T,
): (code: number) => (keyof T & string) | undefined {
  let names: Map<number, keyof T & string> | undefined;
  return (code) => {
    if (names === undefined) {
      names = new Map();
      for (const name in table) if (!names.has(table[name]![0])) names.set(table[name]![0], name);
    }
    return names.get(code);
  };
}

/** What is printed for a code without a name: `"CKR vendor 0x80000001"` or `"CKR 0x00009999"`. */
export function vendorName(prefix: string, code: number | bigint): string {
  const hex = `0x${code.toString(16).padStart(8, "0")}`;
  return code >= VENDOR_DEFINED ? `${prefix} vendor ${hex}` : `${prefix} ${hex}`;
}
