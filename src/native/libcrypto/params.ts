/**
 * OSSL_PARAM arrays: named values for contexts. On the platforms served here (64 bits) an entry has 40 bytes: key,
 * type, data, size, returned size.
 * @module
 */
import { addressOf } from "./library.ts";

const TYPE = { integer: 1, unsigned: 2, text: 4, bytes: 5 } as const;
const ENTRY_LENGTH = 40;

export type ParamValue = number | string | Uint8Array;

/** What an array points to, alive as long as the array is. */
const pointees = new WeakMap<Uint8Array, readonly Uint8Array[]>();

/** An array of parameters. Texts are UTF-8, numbers C ints; what is undefined is left out. */
export function params(values: Readonly<Record<string, ParamValue | undefined>>): Uint8Array {
  const given = Object.entries(values).filter((e): e is [string, ParamValue] => e[1] !== undefined);
  const array = Buffer.alloc((given.length + 1) * ENTRY_LENGTH);
  const held: Uint8Array[] = [];
  given.forEach(([name, value], i) => {
    const key = Buffer.from(`${name}\0`);
    const [type, data, size] = encoded(value);
    held.push(key, data);
    const at = i * ENTRY_LENGTH;
    array.writeBigUInt64LE(addressOf(key), at);
    array.writeUInt32LE(type, at + 8);
    array.writeBigUInt64LE(addressOf(data), at + 16);
    array.writeBigUInt64LE(BigInt(size), at + 24);
    // OSSL_PARAM_UNMODIFIED
    array.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, at + 32);
  });
  pointees.set(array, held);
  return array;
}

function encoded(value: ParamValue): [type: number, data: Uint8Array, size: number] {
  if (typeof value === "string") return [TYPE.text, Buffer.from(`${value}\0`), Buffer.byteLength(value)];
  if (typeof value === "number") {
    const data = Buffer.alloc(4);
    data.writeInt32LE(value);
    return [TYPE.integer, data, 4];
  }
  // An empty array has no address of its own.
  return [TYPE.bytes, value.length === 0 ? Buffer.alloc(1) : value, value.length];
}
