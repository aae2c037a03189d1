/**
 * Mechanisms with their parameters (`M`), and what became of a parameter (`P`). From p11-kit-rpc.md, 5.
 * @module
 */
import type { Reader, Writer } from "../codec/bytes.ts";
import type { Ulong } from "../cryptoki/port.ts";
import { parameterKind } from "../spec/mechanisms.ts";
import { PARAMETERS, type ParameterField, type ParameterName } from "../spec/parameters.ts";
import { IBM_PARAMETERS, LAID_OUT, WITHOUT_PARAMETER } from "../spec/wire-mechanisms.ts";
import { NULL, readArray, readBytes, readUlong, type WireBytes, writeArray, writeBytes, writeUlong } from "./atoms.ts";
import type { Dialect } from "./dialect.ts";

/** Fields by name, in the table's order. */
export interface WireFields {
  readonly [field: string]: Ulong | boolean | Uint8Array | null | WireFields;
}

/** A parameter as it travels: fields, one number, or bytes; null where a pointer is NULL. */
export type WireParameter = WireFields | Ulong | Uint8Array | null;

/** A mechanism as it travels; null cancels an operation. */
export type WireMechanism = { readonly type: number; readonly parameter?: WireParameter } | null;

/** What a derivation did to the mechanism's parameter, as it travels. Kyber alone has a `mode`. */
export interface WireUpdate {
  readonly bytes?: WireBytes;
  readonly mode?: number;
}

/** How a mechanism's parameter travels: fields of their kinds, one number, or bytes as the sender's memory has them. */
export type ParameterForm = readonly (readonly [name: string, field: WireField])[] | "ulong" | "bytes";
type WireField = "ulong" | "byte" | "bool" | "bytes" | ParameterForm;

function wireField(field: ParameterField): WireField {
  if (field === "ulong" || field === "bool") return field;
  if (typeof field === "object" && "to" in field) return fieldsOf(field.to as ParameterName);
  return "bytes";
}

function fieldsOf(name: ParameterName): ParameterForm {
  return Object.entries(PARAMETERS[name]).map(([field, kind]) => [field, wireField(kind)] as const);
}

const KYBER = 0x80010024;
const BITCOIN = 0x80070001;

const IBM_FORMS: ReadonlyMap<number, ParameterForm> = new Map(
  [...IBM_PARAMETERS].map(([type, fields]) => [
    type,
    fields.length === 1 ? "ulong" : fields.map((field, i) => [String(i), field] as const),
  ]),
);

const FORMS = Object.fromEntries(
  Object.keys(PARAMETERS).map((name) => [name, fieldsOf(name as ParameterName)]),
) as Record<ParameterName, ParameterForm>;

/** How the parameter of a mechanism travels in a dialect, where it has one. */
export function parameterForm(type: number, { release, extended }: Dialect): ParameterForm {
  const kind = parameterKind(type);
  const isStructure = Object.hasOwn(FORMS, kind);
  if (extended && isStructure) return FORMS[kind as ParameterName];
  if (!LAID_OUT[release].has(type)) return "bytes";
  if (isStructure) return FORMS[kind as ParameterName];
  return IBM_FORMS.get(type) ?? (kind === "ulong" ? "ulong" : "bytes");
}

/** Whether an end that writes so has no place for a parameter of this mechanism. */
export function takesNone(type: number, { release }: Dialect): boolean {
  return WITHOUT_PARAMETER[release].has(type);
}

export function readMechanism(r: Reader, dialect: Dialect): WireMechanism {
  const type = r.u32();
  if (type === NULL) return null;
  const form = parameterForm(type, dialect);
  if (dialect.mechanisms === "marked") {
    if (takesNone(type, dialect)) return { type };
    const start = r.offset;
    const mark = r.u8();
    if (mark > 1) r.fail(`${mark} where 0 or 1 says whether there is a parameter`, start);
    return mark === 0 ? { type } : { type, parameter: readParameter(r, form) };
  }
  const isLaidOut = LAID_OUT[dialect.release].has(type);
  const parameter = readParameter(r, form);
  return parameter === null && !isLaidOut ? { type } : { type, parameter };
}

export function readParameter(r: Reader, form: ParameterForm): WireParameter {
  if (form === "ulong") return readUlong(r);
  if (form === "bytes") return readArray(r);
  const fields: Record<string, Ulong | boolean | Uint8Array | null | WireFields> = {};
  for (const [name, field] of form) fields[name] = readField(r, field);
  return fields;
}

function readField(r: Reader, field: WireField): Ulong | boolean | Uint8Array | null | WireFields {
  if (field === "byte") return r.u8();
  if (field === "bool") return r.u8() !== 0;
  return readParameter(r, field) as Ulong | Uint8Array | null | WireFields;
}

/** The mechanism must fit the dialect: see `toWireMechanism`, which refuses what does not. */
export function writeMechanism(w: Writer, mechanism: WireMechanism, dialect: Dialect): void {
  if (mechanism === null) {
    w.u32(NULL);
    return;
  }
  const { type, parameter } = mechanism;
  w.u32(type);
  if (dialect.mechanisms === "marked") {
    if (takesNone(type, dialect)) return;
    w.u8(parameter === undefined ? 0 : 1);
    if (parameter === undefined) return;
  }
  writeParameter(w, parameter ?? null, parameterForm(type, dialect));
}

export function writeParameter(w: Writer, value: WireParameter, form: ParameterForm): void {
  if (form === "ulong") writeUlong(w, value as Ulong);
  else if (form === "bytes") writeArray(w, value as Uint8Array | null);
  else for (const [name, field] of form) writeField(w, (value as WireFields)[name]!, field);
}

function writeField(w: Writer, value: WireFields[string], field: WireField): void {
  if (field === "byte") w.u8(value as number);
  else if (field === "bool") w.u8(value === true ? 1 : 0);
  else writeParameter(w, value as WireParameter, field);
}

/** What became of the parameter of a mechanism of this type (C_DeriveKey2). Undefined: there was none. */
export function readUpdate(r: Reader, type: number, dialect: Dialect): WireUpdate | undefined {
  if (takesNone(type, dialect) || r.u8() === 0) return undefined;
  if (type === BITCOIN) return { bytes: readBytes(r) };
  if (type !== KYBER) return {};
  const mode = r.u8();
  return mode === 1 ? { mode, bytes: readBytes(r) } : { mode };
}

export function writeUpdate(w: Writer, update: WireUpdate | undefined, type: number, dialect: Dialect): void {
  if (takesNone(type, dialect)) return;
  w.u8(update === undefined ? 0 : 1);
  if (update === undefined) return;
  if (update.mode !== undefined) w.u8(update.mode);
  if (update.bytes !== undefined) writeBytes(w, update.bytes);
}
