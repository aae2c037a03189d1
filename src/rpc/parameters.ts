/**
 * Mechanisms between the port and the wire.
 * @module
 */
import { described } from "../cryptoki/arguments.ts";
import { isUlong } from "../cryptoki/checks.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import { ULONG_SIZE, ulongFromMemory, ulongToMemory } from "../cryptoki/memory.ts";
import type { FunctionName, Mechanism, ParameterValue, Ulong } from "../cryptoki/port.ts";
import { mechanismName, parameterKind } from "../spec/mechanisms.ts";
import { PARAMETERS, type ParameterField, type ParameterName } from "../spec/parameters.ts";
import type { Dialect } from "./dialect.ts";
import { parameterForm, takesNone, type WireFields, type WireMechanism, type WireParameter } from "./mechanisms.ts";

const CANNOT = "which p11-kit's protocol cannot carry to this peer";

/** What a parameter of a mechanism is refused with. */
class Refusal {
  readonly #fn: FunctionName;
  readonly #type: number;

  constructor(fn: FunctionName, type: number) {
    this.#fn = fn;
    this.#type = type;
  }

  error(fault: string): CryptokiError {
    return new CryptokiError(
      this.#fn,
      "CKR_MECHANISM_PARAM_INVALID",
      `mechanism ${mechanismName(this.#type)} ${fault}`,
    );
  }
}

type Table = Readonly<Record<string, ParameterField>>;

/** The fields of a mechanism's parameter; undefined where it is no structure. */
function tableOf(type: number): Table | undefined {
  const kind = parameterKind(type);
  return Object.hasOwn(PARAMETERS, kind) ? PARAMETERS[kind as ParameterName] : undefined;
}

/**
 * A mechanism as it travels.
 * @throws CryptokiError CKR_MECHANISM_PARAM_INVALID for a parameter that is not of its shape, or that cannot travel
 */
export function toWireMechanism(fn: FunctionName, mechanism: Mechanism | null, dialect: Dialect): WireMechanism {
  if (mechanism === null) return null;
  if (typeof mechanism !== "object" || !isUlong(mechanism.type)) {
    throw new CryptokiError(fn, "CKR_ARGUMENTS_BAD", `mechanism is ${described(mechanism)} without a type`);
  }
  const { type, parameter } = mechanism;
  const refusal = new Refusal(fn, type);
  const form = parameterForm(type, dialect);
  if (parameter === undefined) {
    if (form !== "bytes" && dialect.mechanisms === "legacy") throw refusal.error(`has no parameter, ${CANNOT}`);
    return { type };
  }
  if (takesNone(type, dialect)) {
    if (parameter instanceof Uint8Array && parameter.length === 0) return { type };
    throw refusal.error(`has a parameter, ${CANNOT}`);
  }
  if (form === "ulong") return { type, parameter: toNumber(parameter, refusal) };
  if (form === "bytes") return { type, parameter: toBytes(type, parameter, refusal) };
  const table = tableOf(type);
  if (table === undefined) throw refusal.error(`has a parameter of IBM's, ${CANNOT}`);
  return { type, parameter: toFields(table, parameter, refusal) };
}

function toNumber(parameter: ParameterValue, refusal: Refusal): Ulong {
  if (isUlong(parameter)) return parameter as Ulong;
  if (parameter instanceof Uint8Array && parameter.length === ULONG_SIZE) return ulongFromMemory(parameter);
  throw refusal.error(`has a parameter that is ${described(parameter)}, not a whole number from 0`);
}

function toBytes(type: number, parameter: ParameterValue, refusal: Refusal): Uint8Array {
  if (parameter instanceof Uint8Array) return parameter;
  if (isUlong(parameter)) return ulongToMemory(parameter as Ulong);
  const table = tableOf(type);
  if (table === undefined) throw refusal.error("takes its parameter as bytes");
  if (!isFlat(table)) throw refusal.error(`has a parameter with pointers in it, ${CANNOT}`);
  const fields = toFields(table, parameter, refusal);
  const parts = Object.values(fields).map((value) =>
    value instanceof Uint8Array ? value : ulongToMemory(value as Ulong),
  );
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Whether a structure is numbers and blocks alone: then its bytes are its fields, one after the other. */
function isFlat(table: Table): boolean {
  return Object.values(table).every((field) => field === "ulong" || (typeof field === "object" && "block" in field));
}

function toFields(table: Table, parameter: unknown, refusal: Refusal): WireFields {
  if (typeof parameter !== "object" || parameter === null || parameter instanceof Uint8Array) {
    throw refusal.error(
      `has a parameter that is ${described(parameter)}, not an object with ${Object.keys(table).join(", ")}`,
    );
  }
  const given = parameter as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(table).map(([name, field]) => [name, toField(name, field, given[name], refusal)] as const),
  );
}

function toField(name: string, field: ParameterField, value: unknown, refusal: Refusal): WireFields[string] {
  const wrong = (expected: string) => refusal.error(`has ${name} that is ${described(value)}, not ${expected}`);
  if (field === "ulong") {
    if (!isUlong(value)) throw wrong("a whole number from 0");
    return value as Ulong;
  }
  if (field === "bool") {
    if (typeof value !== "boolean") throw wrong("true or false");
    return value;
  }
  if (typeof field === "object" && "to" in field)
    return toFields(PARAMETERS[field.to as ParameterName], value, refusal);
  if (!(value instanceof Uint8Array)) throw wrong("bytes (Uint8Array)");
  if (typeof field === "object") {
    if (value.length !== field.block) throw refusal.error(`has ${name} of ${value.length} bytes, not ${field.block}`);
    return value;
  }
  return value.length === 0 ? null : value;
}

/**
 * A mechanism that arrived.
 * @throws CryptokiError CKR_MECHANISM_PARAM_INVALID for a parameter that cannot have arrived whole
 */
export function fromWireMechanism(fn: FunctionName, wire: WireMechanism, dialect: Dialect): Mechanism | null {
  if (wire === null) return null;
  const { type, parameter } = wire;
  if (parameter === undefined) return { type };
  const refusal = new Refusal(fn, type);
  const form = parameterForm(type, dialect);
  if (form === "ulong") return { type, parameter: parameter as Ulong };
  if (form === "bytes") return fromBytes(type, parameter as Uint8Array | null, refusal);
  const table = tableOf(type);
  if (table === undefined) throw refusal.error("has a parameter of IBM's, which is not known here");
  return { type, parameter: fromFields(table, parameter as WireFields, refusal) as ParameterValue };
}

function fromBytes(type: number, bytes: Uint8Array | null, refusal: Refusal): Mechanism {
  if (bytes === null) return { type };
  const kind = parameterKind(type);
  if ((kind === "ulong" || kind === "handle") && bytes.length === ULONG_SIZE) {
    return { type, parameter: ulongFromMemory(bytes) };
  }
  const table = tableOf(type);
  if (table === undefined) return { type, parameter: bytes.slice() };
  if (!isFlat(table)) throw refusal.error("has a parameter with pointers of another process in it");
  return { type, parameter: fromFields(table, cut(table, bytes, refusal), refusal) as ParameterValue };
}

function cut(table: Table, bytes: Uint8Array, refusal: Refusal): WireFields {
  const fields: Record<string, Ulong | Uint8Array> = {};
  let at = 0;
  for (const [name, field] of Object.entries(table)) {
    const size = typeof field === "object" && "block" in field ? field.block : ULONG_SIZE;
    if (at + size > bytes.length)
      throw refusal.error(`has a parameter of ${bytes.length} bytes, which ends in ${name}`);
    fields[name] = field === "ulong" ? ulongFromMemory(bytes, at) : bytes.slice(at, at + size);
    at += size;
  }
  if (at !== bytes.length) throw refusal.error(`has a parameter of ${bytes.length} bytes, not ${at}`);
  return fields;
}

function fromFields(table: Table, wire: WireFields, refusal: Refusal): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(table).map(([name, field]) => [name, fromField(name, field, wire[name]!, refusal)] as const),
  );
}

function fromField(name: string, field: ParameterField, value: WireFields[string], refusal: Refusal): unknown {
  if (field === "ulong" || field === "bool") return value;
  if (typeof field === "object" && "to" in field) {
    return fromFields(PARAMETERS[field.to as ParameterName], value as WireFields, refusal);
  }
  const bytes = ((value as WireParameter | null) ?? new Uint8Array()) as Uint8Array;
  if (typeof field === "object" && bytes.length !== field.block) {
    throw refusal.error(`has ${name} of ${bytes.length} bytes, not ${field.block}`);
  }
  return bytes.slice();
}
