/**
 * Reading the structures that functions fill in.
 * @module
 */
import { fromUtf8 } from "../../codec/bytes.ts";
import type { Ulong, Version } from "../../cryptoki/port.ts";
import type { Arena } from "./arena.ts";
import type { StructureLayout } from "./layout.ts";

const BLANK = 0x20;

/** Reads a structure at `at`, by its layout. */
export function readStructure(arena: Arena, at: number, layout: StructureLayout): Record<string, unknown> {
  const result: Record<string, Ulong | Version | string> = {};
  for (const field of layout.fields) {
    const from = at + field.offset;
    result[field.name] =
      field.kind === "ulong"
        ? arena.ulong(from)
        : field.kind === "version"
          ? { major: arena.bytes[from]!, minor: arena.bytes[from + 1]! }
          : readText(arena.bytes.subarray(from, from + field.length));
  }
  return result;
}

/** A blank-padded text. Some modules pad with zeros or end with one, which the standard does not allow; it goes too. */
function readText(bytes: Uint8Array): string {
  const zero = bytes.indexOf(0);
  let end = zero < 0 ? bytes.length : zero;
  while (end > 0 && bytes[end - 1] === BLANK) end--;
  return fromUtf8(bytes.subarray(0, end));
}
