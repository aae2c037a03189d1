/**
 * Reading and writing bytes, big-endian, with path and offset in every error.
 * @module
 */
import { CodecError } from "./errors.ts";

/** Reads a byte sequence front to back. Lengths are checked against what is left before anything is taken. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #base: number;
  /** What is being read, for error messages. */
  path: string;
  #at = 0;

  /** @param base where `bytes` starts in the whole input, for error messages */
  constructor(bytes: Uint8Array, path = "", base = 0) {
    this.#bytes = bytes;
    this.path = path;
    this.#base = base;
  }

  /** The offset in the whole input. */
  get offset(): number {
    return this.#base + this.#at;
  }

  /** How many bytes are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  fail(fault: string, offset: number = this.offset): never {
    throw new CodecError(this.path, offset, fault);
  }

  /** The next byte, not taken. */
  peek(): number {
    if (this.left === 0) this.fail("the input ends here");
    return this.#bytes[this.#at]!;
  }

  /** The next `length` bytes, as a view. */
  take(length: number): Uint8Array {
    const at = this.#next(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** A reader over the next `length` bytes; its path is this one's and `name`. */
  sub(length: number, name: string): Reader {
    const base = this.offset;
    return new Reader(this.take(length), this.path === "" ? name : `${this.path}/${name}`, base);
  }

  u8(): number {
    return this.#bytes[this.#next(1)]!;
  }

  u16(): number {
    const at = this.#next(2);
    return this.#bytes[at]! * 0x100 + this.#bytes[at + 1]!;
  }

  u32(): number {
    const b = this.#bytes;
    const at = this.#next(4);
    return b[at]! * 0x1000000 + b[at + 1]! * 0x10000 + b[at + 2]! * 0x100 + b[at + 3]!;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** Refuses bytes that nobody has read. */
  end(): void {
    if (this.left > 0) this.fail(`${this.left} bytes are left over`);
  }

  /** Where the next `length` bytes start, which are taken. */
  #next(length: number): number {
    if (length > this.left) this.fail(`length ${length} exceeds the ${this.left} bytes left`);
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

/** Writes a byte sequence front to back. */
export class Writer {
  #bytes = new Uint8Array(128);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  bytes(part: Uint8Array): this {
    const at = this.#grow(part.length);
    this.#bytes.set(part, at);
    return this;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    const b = this.#bytes;
    b[at] = value >>> 24;
    b[at + 1] = value >>> 16;
    b[at + 2] = value >>> 8;
    b[at + 3] = value;
    return this;
  }

  u64(value: bigint): this {
    return this.u32(Number(value >> 32n)).u32(Number(value & 0xffff_ffffn));
  }

  /** What was written, in memory of its own. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Makes room; answers where it starts. What is outgrown is wiped: it may hold a PIN. */
  #grow(by: number): number {
    const at = this.#length;
    this.#length += by;
    if (this.#length > this.#bytes.length) {
      const old = this.#bytes;
      this.#bytes = new Uint8Array(Math.max(this.#length, old.length * 2));
      this.#bytes.set(old.subarray(0, at));
      old.fill(0);
    }
    return at;
  }
}

/** One array of all the bytes, in order. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Whether two byte sequences are the same. Not for secrets: it stops at the first difference. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** From hexadecimal of either case; undefined if it is not pairs of hexadecimal digits. */
export function fromHex(text: string): Uint8Array | undefined {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(text)) return undefined;
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** UTF-8 bytes of a text. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The text of UTF-8 bytes, all of it: a leading U+FEFF stays. Bytes that are not UTF-8 become U+FFFD. */
export function fromUtf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** Big-endian bytes without leading zeroes, at least `length` long; 0 is one byte. */
export function bigintToBytes(value: bigint, length = 1): Uint8Array {
  const hex = value.toString(16);
  const padded = hex.padStart(Math.max(length * 2, hex.length + (hex.length % 2)), "0");
  return fromHex(padded)!;
}

/** The unsigned number of big-endian bytes. */
export function bytesToBigint(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`);
}
