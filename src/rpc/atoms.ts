/**
 * The smallest parts of a message: numbers, bytes, room. From p11-kit-rpc.md, 2.2 to 2.4.
 * @module
 */
import type { Reader, Writer } from "../codec/bytes.ts";
import type { Ulong, Version } from "../cryptoki/port.ts";

/** The length that stands for NULL, and the number of a mechanism that is NULL. */
export const NULL = 0xffff_ffff;

/** `ay`: bytes; null for a NULL pointer; a number where only a length was sent. */
export type WireBytes = Uint8Array | null | number;

/** `au`: numbers; one number where only their count was sent. */
export type WireUlongs = readonly Ulong[] | number;

const HIGH = 0x1_0000_0000;

/** CK_ULONG. */
export function readUlong(r: Reader): Ulong {
  const high = r.u32();
  const low = r.u32();
  return high < 0x20_0000 ? high * HIGH + low : (BigInt(high) << 32n) | BigInt(low);
}

export function writeUlong(w: Writer, value: Ulong): void {
  if (typeof value === "bigint") w.u64(value);
  else w.u32(Math.floor(value / HIGH)).u32(value % HIGH);
}

/** Length and bytes; null for NULL. */
export function readArray(r: Reader): Uint8Array | null {
  const length = r.u32();
  return length === NULL ? null : r.take(length);
}

export function writeArray(w: Writer, value: Uint8Array | null): void {
  if (value === null) w.u32(NULL);
  else w.u32(value.length).bytes(value);
}

export function readBytes(r: Reader): WireBytes {
  return r.u8() === 0 ? r.u32() : readArray(r);
}

export function writeBytes(w: Writer, value: WireBytes): void {
  if (typeof value === "number") w.u8(0).u32(value);
  else writeArray(w.u8(1), value);
}

/** How many follow, each of at least `size` bytes: more than there can be are refused before memory is taken for them. */
export function readCount(r: Reader, size: number): number {
  const start = r.offset;
  const count = r.u32();
  if (count * size > r.left) r.fail(`${count} elements of at least ${size} bytes; ${r.left} bytes are left`, start);
  return count;
}

export function readUlongList(r: Reader): Ulong[] {
  const count = readCount(r, 8);
  const values: Ulong[] = [];
  for (let i = 0; i < count; i += 1) values.push(readUlong(r));
  return values;
}

export function writeUlongList(w: Writer, values: readonly Ulong[]): void {
  w.u32(values.length);
  for (const value of values) writeUlong(w, value);
}

export function readUlongs(r: Reader): WireUlongs {
  return r.u8() === 0 ? r.u32() : readUlongList(r);
}

export function writeUlongs(w: Writer, value: WireUlongs): void {
  if (typeof value === "number") w.u8(0).u32(value);
  else writeUlongList(w.u8(1), value);
}

export function readVersion(r: Reader): Version {
  return { major: r.u8(), minor: r.u8() };
}

export function writeVersion(w: Writer, { major, minor }: Version): void {
  w.u8(major).u8(minor);
}
