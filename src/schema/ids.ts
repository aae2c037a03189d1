/**
 * Ids of keys, as people write them.
 * @module
 */

/**
 * A key's CKA_ID, as lower-case hexadecimal: from an integer (big-endian, as few bytes as it takes; 0 is one) or from
 * `0x` and pairs of digits, whose leading zeroes are kept.
 * @param source how it was written: YAML reads 0x01 as the integer 1 and would lose its zero
 * @throws Error for anything else; for a bare digit string, with both readings
 */
export function parseId(value: unknown, source: string): string {
  if (/^0x/i.test(source) || (typeof value === "string" && /^0x/i.test(value))) {
    const digits = (typeof value === "string" ? value : source).slice(2);
    if (!/^(?:[0-9a-f]{2})+$/i.test(digits))
      throw new Error(`${source} is not whole bytes: write two hexadecimal digits for each`);
    if (digits.length > 510) throw new Error("an id has at most 255 bytes");
    return digits.toLowerCase();
  }
  if (typeof value === "bigint" && value >= 0n) return integerId(value);
  if (typeof value === "string" && /^[0-9a-f]+$/i.test(value)) {
    const even = value.padStart(value.length + (value.length % 2), "0");
    const integer = /^\d+$/.test(value)
      ? `the integer ${value} (without quotes, the bytes 0x${integerId(BigInt(value))}) or `
      : "";
    throw new Error(
      `the id ${JSON.stringify(value)} could mean ${integer}the bytes "0x${even}": write the one that is meant`,
    );
  }
  throw new Error(`an id is an integer, or "0x" and hexadecimal bytes, here is ${source}`);
}

function integerId(value: bigint): string {
  const hex = value.toString(16);
  return hex.padStart(hex.length + (hex.length % 2), "0");
}
