/**
 * Reading the structures that functions fill in.
 * @module
 */
import { fromPadded } from "../../cryptoki/padded.ts";
import type { Ulong, Version } from "../../cryptoki/port.ts";
import type { Arena } from "./arena.ts";
import type { StructureLayout } from "./layout.ts";

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
          : fromPadded(arena.bytes.subarray(from, from + field.length));
  }
  return result;
}
