/**
 * Signatures: which fields a message has, and how each is read and written. From p11-kit-rpc.md, 2.2.
 * @module
 */
import { type Reader, utf8, type Writer } from "../codec/bytes.ts";
import type { Ulong, Version } from "../cryptoki/port.ts";
import { CALL_NAMES, type CallName, callRow, ERROR_CALL } from "../spec/calls.ts";
import {
  readArray,
  readBytes,
  readUlong,
  readUlongs,
  readVersion,
  type WireBytes,
  type WireUlongs,
  writeArray,
  writeBytes,
  writeUlong,
  writeUlongs,
  writeVersion,
} from "./atoms.ts";
import {
  readAttributes,
  readRequests,
  type WireAttribute,
  type WireRequest,
  writeAttributes,
  writeRequests,
} from "./attributes.ts";
import type { Dialect } from "./dialect.ts";
import {
  readMechanism,
  readUpdate,
  type WireMechanism,
  type WireUpdate,
  writeMechanism,
  writeUpdate,
} from "./mechanisms.ts";

/** The fields of a message, in the order of its signature. */
export type Fields = readonly unknown[];

/** What each atom of a signature is here. */
export interface AtomTypes {
  y: number;
  u: Ulong;
  v: Version;
  /** Exactly as long as the field. */
  s: Uint8Array;
  z: Uint8Array | null;
  ay: WireBytes;
  au: WireUlongs;
  fy: number;
  fu: number;
  aA: readonly WireAttribute[];
  fA: readonly WireRequest[];
  M: WireMechanism;
  P: WireUpdate | undefined;
}

export type Atom = keyof AtomTypes;

export interface AtomCodec<T> {
  read(r: Reader, dialect: Dialect, asked: Asked | undefined): T;
  write(w: Writer, value: T, dialect: Dialect, asked: Asked | undefined): void;
}

/** What of a request says how its answer is written. */
export interface Asked {
  /** The attributes of which the length was asked for. */
  readonly counted?: ReadonlySet<number>;
  /** The type of the mechanism. */
  readonly mechanism?: number;
}

const u32 = { read: (r: Reader) => r.u32(), write: (w: Writer, value: number) => void w.u32(value) };

export const ATOMS: { readonly [A in Atom]: AtomCodec<AtomTypes[A]> } = {
  y: { read: (r) => r.u8(), write: (w, value) => void w.u8(value) },
  u: { read: readUlong, write: writeUlong },
  v: { read: readVersion, write: writeVersion },
  s: { read: (r) => r.take(r.u32()), write: writeArray },
  z: { read: readArray, write: writeArray },
  ay: { read: readBytes, write: writeBytes },
  au: { read: readUlongs, write: writeUlongs },
  fy: u32,
  fu: u32,
  aA: { read: (r, dialect, asked) => readAttributes(r, dialect, asked?.counted), write: writeAttributes },
  fA: { read: (r, dialect) => readRequests(r, dialect), write: writeRequests },
  M: { read: readMechanism, write: writeMechanism },
  P: {
    read: (r, dialect, asked) => readUpdate(r, asked?.mechanism ?? 0, dialect),
    write: (w, value, dialect, asked) => writeUpdate(w, value, asked?.mechanism ?? 0, dialect),
  },
};

/** The atoms of a signature: `uayfy` is `u`, `ay`, `fy`. */
function atomsOf(signature: string): readonly Atom[] {
  return (signature.match(/[af]?[a-zA-Z]/g) ?? []) as Atom[];
}

/** A signature, and the atoms that it has. */
export interface Form {
  readonly signature: Uint8Array;
  readonly atoms: readonly Atom[];
}

function form(signature: string): Form {
  return { signature: utf8(signature), atoms: atomsOf(signature) };
}

interface CallForms {
  readonly number: number;
  readonly request: Form;
  readonly response: Form;
}

/** How a call's messages look. */
export const FORMS = Object.fromEntries(
  CALL_NAMES.map((name) => {
    const [number, request, response] = callRow(name);
    return [name, { number, request: form(request), response: form(response) }];
  }),
) as Readonly<Record<CallName, CallForms>>;

/** The answer that is a return value alone. */
export const ERROR = { number: ERROR_CALL, response: form("u") };
