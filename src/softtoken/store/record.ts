/**
 * How the attributes of an object are laid out in its row.
 * @module
 */
import { Reader, Writer } from "../../codec/bytes.ts";
import type { Attribute, AttributeValue, Ulong } from "../../cryptoki/port.ts";
import { ulong } from "../../cryptoki/ulong.ts";

/** Attributes by their codes. */
export type Values = Map<number, AttributeValue>;

const SHAPE = { bool: 0, ulong: 1, bytes: 2, template: 3, ulongs: 4 } as const;

/** All attributes, each as code (8 bytes), shape (1), length (4), value. */
export function encodeValues(values: Values): Uint8Array {
  const w = new Writer();
  for (const [type, value] of values) encodeAttribute(w, type, value);
  return w.finish();
}

export function decodeValues(bytes: Uint8Array): Values {
  const r = new Reader(bytes, "attributes");
  const values: Values = new Map();
  while (r.left > 0) {
    const { type, value } = decodeAttribute(r);
    values.set(type, value);
  }
  return values;
}

function encodeAttribute(w: Writer, type: number, value: AttributeValue): void {
  w.u64(BigInt(type));
  if (typeof value === "boolean") w.u8(SHAPE.bool).u32(1).u8(Number(value));
  else if (typeof value === "number" || typeof value === "bigint") w.u8(SHAPE.ulong).u32(8).u64(BigInt(value));
  else if (value instanceof Uint8Array) w.u8(SHAPE.bytes).u32(value.length).bytes(value);
  else if (isTemplate(value)) {
    const nested = new Writer();
    for (const item of value) encodeAttribute(nested, item.type, item.value);
    w.u8(SHAPE.template).u32(nested.length).bytes(nested.finish());
  } else {
    w.u8(SHAPE.ulongs).u32(value.length * 8);
    for (const item of value) w.u64(BigInt(item));
  }
}

function decodeAttribute(r: Reader): Attribute {
  const type = Number(r.u64());
  const at = r.offset;
  const shape = r.u8();
  const value = r.sub(r.u32(), `0x${type.toString(16)}`);
  switch (shape) {
    case SHAPE.bool:
      return { type, value: value.u8() !== 0 };
    case SHAPE.ulong:
      return { type, value: ulong(value.u64()) };
    case SHAPE.bytes:
      return { type, value: value.take(value.left) };
    case SHAPE.template: {
      const items: Attribute[] = [];
      while (value.left > 0) items.push(decodeAttribute(value));
      return { type, value: items };
    }
    case SHAPE.ulongs: {
      const items: Ulong[] = [];
      while (value.left > 0) items.push(ulong(value.u64()));
      return { type, value: items };
    }
    default:
      return r.fail(`shape ${shape} is not known`, at);
  }
}

/** An empty list counts as a list of numbers. */
export function isTemplate(value: readonly Attribute[] | readonly Ulong[]): value is readonly Attribute[] {
  return typeof value[0] === "object";
}

/** Sealed attributes by their codes: each as code (8 bytes), length (4), envelope. */
export function encodeSealed(sealed: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const w = new Writer();
  for (const [type, envelope] of sealed) w.u64(BigInt(type)).u32(envelope.length).bytes(envelope);
  return w.finish();
}

export function decodeSealed(bytes: Uint8Array): Map<number, Uint8Array> {
  const r = new Reader(bytes, "secrets");
  const sealed = new Map<number, Uint8Array>();
  while (r.left > 0) {
    const type = Number(r.u64());
    sealed.set(type, r.take(r.u32()));
  }
  return sealed;
}
