/**
 * Attribute values between the port and C.
 * @module
 */
import type { Attribute, AttributeValue, Ulong } from "../../cryptoki/port.ts";
import { attributeKind, type ValueKind } from "../../spec/attributes.ts";
import { UNAVAILABLE_INFORMATION } from "../../spec/structures.ts";
import { type Arena, spaceFor } from "./arena.ts";
import { TRIPLE, ULONG } from "./layout.ts";

type List = readonly Attribute[] | readonly Ulong[];

function isTemplate(list: List): list is readonly Attribute[] {
  return typeof list[0] === "object";
}

/** How much space an arena needs for a template, its values included. */
export function templateSpace(template: readonly Attribute[]): number {
  let space = spaceFor(template.length * TRIPLE.size);
  for (const { value } of template) space += valueSpace(value);
  return space;
}

function valueSpace(value: AttributeValue): number {
  if (typeof value !== "object") return 8;
  if (value instanceof Uint8Array) return spaceFor(value.length);
  return isTemplate(value) ? templateSpace(value) : spaceFor(value.length * ULONG);
}

/** Writes an array of CK_ATTRIBUTE and answers its offset. What a value is told by its JavaScript type alone. */
export function putTemplate(arena: Arena, template: readonly Attribute[]): number {
  const at = arena.take(template.length * TRIPLE.size);
  let row = at;
  for (const { type, value } of template) {
    arena.setUlong(row + TRIPLE.type, type);
    putValue(arena, row, value);
    row += TRIPLE.size;
  }
  return at;
}

function putValue(arena: Arena, row: number, value: AttributeValue): void {
  let at: number;
  let length: number;
  if (typeof value === "boolean") {
    at = arena.take(1);
    length = 1;
    arena.bytes[at] = value ? 1 : 0;
  } else if (typeof value !== "object") {
    at = arena.take(ULONG);
    length = ULONG;
    arena.setUlong(at, value);
  } else if (value instanceof Uint8Array) {
    at = arena.put(value);
    length = value.length;
  } else if (isTemplate(value)) {
    at = putTemplate(arena, value);
    length = value.length * TRIPLE.size;
  } else {
    length = value.length * ULONG;
    at = arena.take(length);
    for (const [i, item] of value.entries()) arena.setUlong(at + i * ULONG, item);
  }
  arena.setPointer(row + TRIPLE.pointer, at);
  arena.setUlong(row + TRIPLE.length, length);
}

/**
 * How many bytes are offered for a value whose length nobody knows yet. Only what is larger costs another call: a
 * certificate chain, a post-quantum key.
 */
const FIRST_ROOM: Readonly<Record<ValueKind, number>> = {
  bool: ULONG, // some modules give a CK_BBOOL as a CK_ULONG
  ulong: ULONG,
  class: ULONG,
  keyType: ULONG,
  certificateType: ULONG,
  mechanism: ULONG,
  hardwareFeature: ULONG,
  profile: ULONG,
  text: 256,
  bytes: 2048,
  bigint: 1024,
  der: 1024,
  date: 8,
  version: 2,
  template: 0,
  mechanisms: 64 * ULONG,
  ulongs: 64 * ULONG,
};

/** How many bytes to offer for a first try at this attribute. */
export function firstRoom(type: number): number {
  return FIRST_ROOM[attributeKind(type)];
}

/** Whether a value of this kind always has the same length, so that a first try cannot have been too small. */
export function hasFixedSize(type: number): boolean {
  const room = firstRoom(type);
  return room > 0 && room <= ULONG;
}

/**
 * The value that a module wrote for an attribute. A length that does not suit the kind is read where that is
 * unambiguous - a CK_ULONG of 1, 2 or 4 bytes, a CK_BBOOL as wide as a CK_ULONG - and is given as raw bytes otherwise.
 */
export function readValue(arena: Arena, type: number, at: number, length: number): AttributeValue {
  const kind = attributeKind(type);
  switch (kind) {
    case "bool":
      return readBool(arena.copy(at, length));
    case "ulong":
    case "class":
    case "keyType":
    case "certificateType":
    case "mechanism":
    case "hardwareFeature":
    case "profile":
      return length === ULONG ? arena.ulong(at) : readNarrow(arena.copy(at, length));
    case "mechanisms":
    case "ulongs":
      if (length % ULONG !== 0) return arena.copy(at, length);
      return Array.from({ length: length / ULONG }, (_, i) => arena.ulong(at + i * ULONG));
    case "template":
    case "text":
    case "bytes":
    case "bigint":
    case "der":
    case "date":
    case "version":
      return arena.copy(at, length);
  }
}

function readBool(bytes: Uint8Array): boolean | Uint8Array {
  const suits = bytes.length === 1 || bytes.length === 4 || bytes.length === 8;
  return suits && bytes.subarray(1).every((byte) => byte === 0) ? bytes[0] !== 0 : bytes;
}

function readNarrow(bytes: Uint8Array): Ulong | Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (bytes.length) {
    case 1:
      return view.getUint8(0);
    case 2:
      return view.getUint16(0, true);
    case 4: {
      const value = view.getUint32(0, true);
      return value === 0xffff_ffff ? UNAVAILABLE_INFORMATION : value;
    }
    default:
      return bytes;
  }
}
