/**
 * The memory of one call: everything that a C function is given or fills in lies in one block, and pointers between its
 * parts are plain numbers written into it.
 * @module
 */
import koffi from "koffi";
import type { Ulong } from "../../cryptoki/port.ts";
import { UNAVAILABLE_INFORMATION } from "../../spec/structures.ts";
import { POINTER, ULONG } from "./layout.ts";

const HIGH = 0x1_0000_0000;

/** A block of memory that C can see. Its address stays the same for as long as it is referenced. */
export class Arena {
  readonly bytes: Uint8Array;
  /** Where byte 0 is; below 2^48, so exact as a number. */
  readonly address: number;
  readonly #view: DataView;
  #used = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(new ArrayBuffer(capacity));
    this.address = Number(koffi.address(this.bytes));
    this.#view = new DataView(this.bytes.buffer);
  }

  get capacity(): number {
    return this.bytes.length;
  }

  /** Begins a call: the first `fixed` bytes are taken and zero. */
  begin(fixed: number): void {
    this.bytes.fill(0, 0, fixed);
    this.#used = fixed;
  }

  /**
   * Takes `size` bytes at an offset that suits every type. The caller made sure that there is room (see {@link spaceFor});
   * if it did not, that is an error here and not a write of C into somebody else's memory.
   */
  take(size: number): number {
    const at = this.#used;
    this.#used = at + spaceFor(size);
    if (this.#used > this.capacity) throw new RangeError(`${this.#used} bytes in an arena of ${this.capacity}`);
    return at;
  }

  /** Puts a copy of these bytes here and answers their offset. */
  put(bytes: Uint8Array): number {
    const at = this.take(bytes.length);
    this.bytes.set(bytes, at);
    return at;
  }

  /** A copy of a part. */
  copy(at: number, length: number): Uint8Array {
    return this.bytes.slice(at, at + length);
  }

  /** Forgets what was put here from `from` on: PINs, key values, plaintext. */
  wipe(from: number): void {
    if (this.#used > from) this.bytes.fill(0, from, this.#used);
  }

  ulong(at: number): Ulong {
    const low = this.#view.getUint32(at, true);
    if (ULONG === 4) return low === 0xffff_ffff ? UNAVAILABLE_INFORMATION : low;
    const high = this.#view.getUint32(at + 4, true);
    return high <= 0x1f_ffff ? high * HIGH + low : (BigInt(high) << 32n) | BigInt(low);
  }

  setUlong(at: number, value: Ulong): void {
    this.#set(at, value, ULONG);
  }

  /** An address of C, as the number it is; 0 for NULL. */
  pointer(at: number): number {
    return POINTER === 4
      ? this.#view.getUint32(at, true)
      : this.#view.getUint32(at + 4, true) * HIGH + this.#view.getUint32(at, true);
  }

  /** Writes the address of the part of this arena at `target`. */
  setPointer(at: number, target: number): void {
    this.#set(at, this.address + target, POINTER);
  }

  #set(at: number, value: Ulong, size: number): void {
    if (typeof value === "bigint") {
      this.#view.setUint32(at, Number(value & 0xffff_ffffn), true);
      if (size === 8) this.#view.setUint32(at + 4, Number((value >> 32n) & 0xffff_ffffn), true);
    } else {
      this.#view.setUint32(at, value, true);
      if (size === 8) this.#view.setUint32(at + 4, value / HIGH, true);
    }
  }
}

/** How much an arena gives for `size` bytes: the next multiple of 8, and never nothing, so that every part has an address. */
export function spaceFor(size: number): number {
  return size <= 8 ? 8 : Math.ceil(size / 8) * 8;
}

/** Reads memory of C that nobody here owns, such as a function list: `length` bytes at `address`, as a copy. */
export function peek(address: number, length: number): Uint8Array {
  return Uint8Array.from(koffi.decode(BigInt(address), "uint8_t", length) as Iterable<number>);
}
