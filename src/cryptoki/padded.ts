/**
 * Blank-padded texts, as PKCS#11's structures have them.
 * @module
 */
import { fromUtf8, utf8 } from "../codec/bytes.ts";

const BLANK = 0x20;

/** A blank-padded text. Some modules pad with zeros or end with one, which the standard does not allow; it goes too. */
export function fromPadded(bytes: Uint8Array): string {
  const zero = bytes.indexOf(0);
  let end = zero < 0 ? bytes.length : zero;
  while (end > 0 && bytes[end - 1] === BLANK) end--;
  return fromUtf8(bytes.subarray(0, end));
}

/** A text, or its bytes, in exactly `length` bytes: cut, or padded with blanks. */
export function padded(text: string | Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(BLANK);
  bytes.set((typeof text === "string" ? utf8(text) : text).subarray(0, length));
  return bytes;
}
