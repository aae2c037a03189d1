/**
 * DER (ITU-T X.690 2021), as far as keys, signatures, token attributes, certificates and requests need it: strict in,
 * one phrase per refusal.
 * @module
 */
import { bigintToBytes, bytesToBigint, concat, Reader } from "./bytes.ts";

/** Tags of the universal class that are used here. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  visibleString: 0x1a,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One tag-length-value. */
export interface Tlv {
  readonly tag: number;
  /** The contents, as a reader that knows its path. */
  readonly value: Reader;
  /** The whole encoding. */
  readonly whole: Uint8Array;
}

/** One value: tag, length in its shortest form (10.1), contents. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const value = concat(...contents);
  return concat(Uint8Array.of(tag), encodeLength(value.length), value);
}

function encodeLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const bytes = bigintToBytes(BigInt(length));
  return concat(Uint8Array.of(0x80 | bytes.length), bytes);
}

/** Reads the next value, whatever its tag; only one-byte tags occur here. */
export function readTlv(r: Reader, name = "value"): Tlv {
  const start = r.offset;
  const from = r.take(0);
  const tag = r.u8();
  if ((tag & 0x1f) === 0x1f) r.fail("tag longer than one byte", start);
  const length = readLength(r);
  const value = r.sub(length, name);
  return { tag, value, whole: new Uint8Array(from.buffer, from.byteOffset, r.offset - start) };
}

function readLength(r: Reader): number {
  const at = r.offset;
  const first = r.u8();
  if (first < 0x80) return first;
  if (first === 0x80) r.fail("indefinite length", at);
  const bytes = r.take(first & 0x7f);
  if (bytes.length > 4) r.fail("length longer than four bytes", at);
  const length = Number(bytesToBigint(bytes));
  if (bytes[0] === 0 || length < 0x80) r.fail("length not minimal", at);
  return length;
}

/** Reads the next value and refuses any other tag. */
export function expectTlv(r: Reader, tag: number, name: string): Tlv {
  const at = r.offset;
  if (r.left === 0) r.fail(`${name} is missing`);
  const tlv = readTlv(r, name);
  if (tlv.tag !== tag) r.fail(`tag 0x${hex(tlv.tag)} where ${name} has 0x${hex(tag)}`, at);
  return tlv;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** Decodes one value that fills the input. */
export function decodeDer<T>(bytes: Uint8Array, tag: number, name: string, read: (r: Reader) => T): T {
  const r = new Reader(bytes);
  const { value } = expectTlv(r, tag, name);
  const result = read(value);
  value.end();
  r.end();
  return result;
}

/** The only two BOOLEANs of DER (11.1). */
export function derBoolean(value: boolean): Uint8Array {
  return der(TAG.boolean, Uint8Array.of(value ? 0xff : 0));
}

/** INTEGER, not negative. */
export function derInteger(value: bigint): Uint8Array {
  return der(TAG.integer, integerBytes(value));
}

/** The contents of an INTEGER, for those that carry another tag. */
export function integerBytes(value: bigint): Uint8Array {
  const bytes = bigintToBytes(value);
  return bytes[0]! >= 0x80 ? concat(Uint8Array.of(0), bytes) : bytes;
}

export function readInteger(r: Reader, name = "integer"): bigint {
  const { value } = expectTlv(r, TAG.integer, name);
  const bytes = value.take(value.left);
  if (bytes.length === 0) value.fail("integer without contents");
  if (bytes[0]! >= 0x80) value.fail("integer is negative", value.offset - bytes.length);
  if (bytes.length > 1 && bytes[0] === 0 && bytes[1]! < 0x80) {
    value.fail("integer has a leading zero", value.offset - bytes.length);
  }
  return bytesToBigint(bytes);
}

/** Whether a text is an object identifier in dotted form (X.660: the second arc ends at 39 below 0 and 1). */
export function isOid(text: string): boolean {
  return /^(?:[01]\.(?:[1-3]?\d)|2\.(?:0|[1-9]\d*))(?:\.(?:0|[1-9]\d*))*$/.test(text);
}

/** OBJECT IDENTIFIER, from dotted form. */
export function derOid(oid: string): Uint8Array {
  return der(TAG.oid, oidBytes(oid));
}

/** The contents of an OBJECT IDENTIFIER. */
export function oidBytes(oid: string): Uint8Array {
  const [first, second, ...rest] = oid.split(".").map(BigInt);
  const arcs = [first! * 40n + second!, ...rest];
  return concat(...arcs.map(encodeArc));
}

function encodeArc(arc: bigint): Uint8Array {
  const groups = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) groups.unshift(Number(rest & 0x7fn) | 0x80);
  return Uint8Array.from(groups);
}

export function readOid(r: Reader, name = "object identifier"): string {
  const { value } = expectTlv(r, TAG.oid, name);
  if (value.left === 0) value.fail("object identifier without contents");
  const arcs: bigint[] = [];
  while (value.left > 0) {
    if (value.peek() === 0x80) value.fail("object identifier has a leading zero");
    let arc = 0n;
    for (let byte = 0x80; byte & 0x80; ) {
      byte = value.u8();
      arc = (arc << 7n) | BigInt(byte & 0x7f);
    }
    arcs.push(arc);
  }
  const head = arcs[0]!;
  const first = head < 40n ? 0n : head < 80n ? 1n : 2n;
  return [first, head - first * 40n, ...arcs.slice(1)].join(".");
}

/** BIT STRING of whole bytes. */
export function derBitString(bytes: Uint8Array): Uint8Array {
  return der(TAG.bitString, Uint8Array.of(0), bytes);
}

/** BIT STRING with named bits, from bit 0: trailing zeroes are left out (11.2.2). */
export function derNamedBits(bits: readonly number[]): Uint8Array {
  if (bits.length === 0) return der(TAG.bitString, Uint8Array.of(0));
  const last = Math.max(...bits);
  const bytes = new Uint8Array((last >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3]! |= 0x80 >> (bit & 7);
  return der(TAG.bitString, Uint8Array.of(7 - (last & 7)), bytes);
}

export function readBitString(r: Reader, name = "bit string"): Uint8Array {
  const { value } = expectTlv(r, TAG.bitString, name);
  if (value.u8() !== 0) value.fail("bit string is not of whole bytes", value.offset - 1);
  return value.take(value.left);
}

/** OCTET STRING. */
export function derOctetString(bytes: Uint8Array): Uint8Array {
  return der(TAG.octetString, bytes);
}

export function readOctetString(r: Reader, name = "octet string"): Uint8Array {
  const { value } = expectTlv(r, TAG.octetString, name);
  return value.take(value.left);
}

/** SEQUENCE of what was encoded already. */
export function derSequence(...items: readonly Uint8Array[]): Uint8Array {
  return der(TAG.sequence, ...items);
}

/** A value under a context-specific tag that takes the place of its own (IMPLICIT), with bare contents. */
export function derPrimitive(tag: number, contents: Uint8Array): Uint8Array {
  return der(0x80 | tag, contents);
}

/** Values under a context-specific tag: EXPLICIT around one, or IMPLICIT in place of SEQUENCE or SET. */
export function derConstructed(tag: number, ...items: readonly Uint8Array[]): Uint8Array {
  return der(0xa0 | tag, ...items);
}

export const derNull: Uint8Array = der(TAG.null);
