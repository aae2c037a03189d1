/**
 * Attribute values from the port to C.
 * @module
 */
import type { Attribute, AttributeValue, Ulong } from "../../cryptoki/port.ts";
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
