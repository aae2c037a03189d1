/**
 * Lists of attributes: with values (`aA`), and of those to read (`fA`). From p11-kit-rpc.md, 2.4 and 4.
 * @module
 */
import type { Reader, Writer } from "../codec/bytes.ts";
import type { Ulong } from "../cryptoki/port.ts";
import { attributeKind } from "../spec/attributes.ts";
import { type WireKind, wireKind } from "../spec/wire-attributes.ts";
import { readArray, readCount, readUlong, readUlongList, writeArray, writeUlong, writeUlongList } from "./atoms.ts";
import type { Dialect } from "./dialect.ts";
import { MAX_NESTING } from "./limits.ts";

/** A value as it travels; null where there is none, only its length. A list of mechanisms that is only counted is a number. */
export type WireValue = Ulong | Uint8Array | null | readonly WireAttribute[] | readonly Ulong[];

/** An attribute as it travels. Without `declared` it is one that is not available, and has no value. */
export interface WireAttribute {
  readonly type: number;
  /** ulValueLen in bytes, as the sender's platform counts it. */
  readonly declared?: number;
  readonly value?: WireValue;
}

/** An attribute to read: `room` in bytes, 0 asks for its length. */
export interface WireRequest {
  readonly type: number;
  readonly room: number;
  readonly nested?: readonly WireRequest[];
}

/** How an attribute's value travels in this dialect. */
export function kindOf(type: number, { release, extended }: Dialect): WireKind {
  return extended && attributeKind(type) === "template" ? "template" : wireKind(type, release);
}

function deeper(r: Reader, depth: number): number {
  if (depth === MAX_NESTING) r.fail(`attributes are nested deeper than ${MAX_NESTING}`);
  return depth + 1;
}

/**
 * @param counted the types of which only the length was asked for: servers up to 0.26.4 then send the number of a list of
 *   mechanisms, and not the list
 */
export function readAttributes(r: Reader, dialect: Dialect, counted?: ReadonlySet<number>, depth = 0): WireAttribute[] {
  const { path } = r;
  const count = readCount(r, 5);
  const attributes: WireAttribute[] = [];
  for (let i = 0; i < count; i += 1) {
    r.path = `${path}/${i}`;
    const type = r.u32();
    if (r.u8() === 0) {
      attributes.push({ type });
      continue;
    }
    const declared = r.u32();
    attributes.push({ type, declared, value: readValue(r, type, dialect, counted, depth) });
  }
  r.path = path;
  return attributes;
}

function readValue(
  r: Reader,
  type: number,
  dialect: Dialect,
  counted: ReadonlySet<number> | undefined,
  depth: number,
): WireValue {
  switch (kindOf(type, dialect)) {
    case "byte":
      return r.u8();
    case "ulong":
      return readUlong(r);
    case "template":
      return readAttributes(r, dialect, counted, deeper(r, depth));
    case "mechanisms":
      return counted?.has(type) === true ? r.u32() : readUlongList(r);
    case "date":
    case "bytes":
      return readArray(r);
  }
}

export function writeAttributes(w: Writer, attributes: readonly WireAttribute[], dialect: Dialect): void {
  w.u32(attributes.length);
  for (const { type, declared, value } of attributes) {
    w.u32(type);
    if (declared === undefined || value === undefined) {
      w.u8(0);
      continue;
    }
    w.u8(1).u32(declared);
    writeValue(w, kindOf(type, dialect), value, dialect);
  }
}

function writeValue(w: Writer, kind: WireKind, value: WireValue, dialect: Dialect): void {
  if (kind === "byte") w.u8(value as number);
  else if (kind === "ulong") writeUlong(w, value as Ulong);
  else if (kind === "template") writeAttributes(w, value as readonly WireAttribute[], dialect);
  else if (kind === "mechanisms" && typeof value === "number") w.u32(value);
  else if (kind === "mechanisms") writeUlongList(w, value as readonly Ulong[]);
  else writeArray(w, value as Uint8Array | null);
}

function isNested({ type, room }: WireRequest, dialect: Dialect): boolean {
  if (dialect.nesting === "never" || kindOf(type, dialect) !== "template") return false;
  return dialect.nesting === "always" || room > 0;
}

export function readRequests(r: Reader, dialect: Dialect, depth = 0): WireRequest[] {
  const { path } = r;
  const count = readCount(r, 8);
  const requests: WireRequest[] = [];
  for (let i = 0; i < count; i += 1) {
    r.path = `${path}/${i}`;
    const request = { type: r.u32(), room: r.u32() };
    requests.push(
      isNested(request, dialect) ? { ...request, nested: readRequests(r, dialect, deeper(r, depth)) } : request,
    );
  }
  r.path = path;
  return requests;
}

export function writeRequests(w: Writer, requests: readonly WireRequest[]): void {
  w.u32(requests.length);
  for (const { type, room, nested } of requests) {
    w.u32(type).u32(room);
    if (nested !== undefined) writeRequests(w, nested);
  }
}
