/**
 * CK_MECHANISM and its parameter between the port and C.
 * @module
 */

import { sameBytes } from "../../codec/bytes.ts";
import { described } from "../../cryptoki/arguments.ts";
import { isUlong, shown } from "../../cryptoki/checks.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { FunctionName, Mechanism, ParameterValue, Ulong } from "../../cryptoki/port.ts";
import { CKM, mechanismName } from "../../spec/mechanisms.ts";
import { PARAMETERS, type ParameterField, type ParameterName } from "../../spec/parameters.ts";
import { type Arena, spaceFor } from "./arena.ts";
import { layOut, POINTER, TRIPLE, ULONG } from "./layout.ts";

type FieldPlan =
  | { readonly name: string; readonly at: number; readonly kind: "ulong" | "bool" }
  | { readonly name: string; readonly at: number; readonly kind: "bytes"; readonly length: number }
  | { readonly name: string; readonly at: number; readonly kind: "block"; readonly size: number }
  | { readonly name: string; readonly at: number; readonly kind: "to"; readonly plan: StructurePlan };

interface StructurePlan {
  readonly size: number;
  readonly fields: readonly FieldPlan[];
}

/** A parameter given as a structure. */
type Fields = Readonly<Record<string, unknown>>;

type CField = readonly [size: number, alignment: number];
const ulong: CField = [ULONG, ULONG];
const pointer: CField = [POINTER, POINTER];

function cFields(field: ParameterField): readonly CField[] {
  if (field === "ulong") return [ulong];
  if (field === "bool") return [[1, 1]];
  if (field === "bytes") return [pointer, ulong];
  if (field === "lengthBytes") return [ulong, pointer];
  return "block" in field ? [[field.block, 1]] : [pointer];
}

function structurePlan(name: ParameterName): StructurePlan {
  const rows = Object.entries(PARAMETERS[name]) as [string, ParameterField][];
  const { offsets, size } = layOut(rows.flatMap(([, field]) => cFields(field)));
  let next = 0;
  const fields = rows.map(([field, kind]): FieldPlan => {
    const at = offsets[next]!;
    const second = offsets[next + 1]!;
    next += cFields(kind).length;
    if (kind === "ulong" || kind === "bool") return { name: field, at, kind };
    if (kind === "bytes") return { name: field, at, kind: "bytes", length: second };
    if (kind === "lengthBytes") return { name: field, at: second, kind: "bytes", length: at };
    if ("block" in kind) return { name: field, at, kind: "block", size: kind.block };
    return { name: field, at, kind: "to", plan: PLANS[kind.to as ParameterName] };
  });
  return { size, fields };
}

// In the order of the table, where a structure comes before those that point to it.
const PLANS = {} as Record<ParameterName, StructurePlan>;
for (const name of Object.keys(PARAMETERS) as ParameterName[]) PLANS[name] = structurePlan(name);

const BY_MECHANISM: ReadonlyMap<number, StructurePlan> = new Map(
  Object.values(CKM).flatMap(([code, kind]) => (kind in PLANS ? [[code, PLANS[kind as ParameterName]] as const] : [])),
);

/** Where the fields of a parameter structure lie, and the lengths of those that have one. */
export function parameterLayout(name: ParameterName): {
  readonly size: number;
  readonly fields: readonly { readonly name: string; readonly at: number; readonly length?: number }[];
} {
  return PLANS[name];
}

function isStructure(parameter: ParameterValue): parameter is Exclude<ParameterValue, Uint8Array | Ulong> {
  return typeof parameter === "object" && !(parameter instanceof Uint8Array);
}

/**
 * How much space an arena needs for what CK_MECHANISM points to.
 * @throws CryptokiError CKR_ARGUMENTS_BAD for what is no mechanism, CKR_MECHANISM_PARAM_INVALID for a parameter that is
 *   not of the mechanism's shape
 */
export function parameterSpace(fn: FunctionName, mechanism: Mechanism): number {
  if (typeof mechanism !== "object" || !isUlong(mechanism.type)) {
    throw new CryptokiError(fn, "CKR_ARGUMENTS_BAD", `mechanism is ${described(mechanism)} without a type`);
  }
  const { type, parameter } = mechanism;
  if (parameter === undefined) return 0;
  if (parameter instanceof Uint8Array) return spaceFor(parameter.length);
  if (isUlong(parameter)) return 8;
  const refuse = (fault: string) =>
    new CryptokiError(fn, "CKR_MECHANISM_PARAM_INVALID", `mechanism ${mechanismName(type)} ${fault}`);
  if (parameter === null) throw refuse("has the parameter null: leave it out where there is none");
  if (typeof parameter !== "object") throw refuse(`has a parameter that is ${shown(parameter)}`);
  const plan = BY_MECHANISM.get(type);
  if (plan === undefined) throw refuse("takes its parameter as bytes");
  return structureSpace(plan, parameter as Fields, refuse);
}

type Refuse = (fault: string) => CryptokiError;

function structureSpace(plan: StructurePlan, value: Fields, refuse: Refuse): number {
  let space = spaceFor(plan.size);
  for (const field of plan.fields) {
    const given = value[field.name];
    const expected = fieldFault(field, given);
    if (expected !== undefined) throw refuse(`has ${field.name} that is ${shown(given)}, not ${expected}`);
    if (field.kind === "bytes") space += spaceFor((given as Uint8Array).length);
    if (field.kind === "to") space += structureSpace(field.plan, given as Fields, refuse);
  }
  return space;
}

/** What a field should be; undefined when it is. */
function fieldFault(field: FieldPlan, given: unknown): string | undefined {
  switch (field.kind) {
    case "ulong":
      return isUlong(given) ? undefined : "a whole number from 0";
    case "bool":
      return typeof given === "boolean" ? undefined : "true or false";
    case "bytes":
      return given instanceof Uint8Array ? undefined : "bytes (Uint8Array); empty where there are none";
    case "block":
      return given instanceof Uint8Array && given.length === field.size ? undefined : `${field.size} bytes`;
    case "to":
      return typeof given === "object" && given !== null ? undefined : "a structure";
  }
}

/** Writes CK_MECHANISM at `at` and what it points to behind everything else. */
export function putMechanism(arena: Arena, at: number, { type, parameter }: Mechanism): void {
  arena.setUlong(at + TRIPLE.type, type);
  if (parameter === undefined) return;
  let target: number;
  let length: number;
  if (isStructure(parameter)) {
    const plan = BY_MECHANISM.get(type)!;
    target = putStructure(arena, plan, parameter as Fields);
    length = plan.size;
  } else if (parameter instanceof Uint8Array) {
    if (parameter.length === 0) return;
    target = arena.put(parameter);
    length = parameter.length;
  } else {
    target = arena.take(ULONG);
    arena.setUlong(target, parameter);
    length = ULONG;
  }
  arena.setPointer(at + TRIPLE.pointer, target);
  arena.setUlong(at + TRIPLE.length, length);
}

function putStructure(arena: Arena, plan: StructurePlan, value: Fields): number {
  const at = arena.take(plan.size);
  arena.bytes.fill(0, at, at + plan.size);
  for (const field of plan.fields) {
    const given = value[field.name];
    switch (field.kind) {
      case "ulong":
        arena.setUlong(at + field.at, given as Ulong);
        break;
      case "bool":
        arena.bytes[at + field.at] = given === true ? 1 : 0;
        break;
      case "block":
        arena.bytes.set(given as Uint8Array, at + field.at);
        break;
      case "bytes": {
        // An absent part is NULL with length 0; several modules refuse a pointer to nothing (SoftHSM's OAEP source).
        const bytes = given as Uint8Array;
        if (bytes.length > 0) arena.setPointer(at + field.at, arena.put(bytes));
        arena.setUlong(at + field.length, bytes.length);
        break;
      }
      case "to":
        arena.setPointer(at + field.at, putStructure(arena, field.plan, given as Fields));
        break;
    }
  }
  return at;
}

/**
 * The parameter as the module left it, if that is not how it was given: a generated initialisation vector.
 * @param at where {@link putMechanism} wrote CK_MECHANISM
 */
export function changedParameter(arena: Arena, at: number, mechanism: Mechanism): ParameterValue | undefined {
  const { type, parameter } = mechanism;
  if (typeof parameter !== "object") return undefined;
  const target = arena.pointer(at + TRIPLE.pointer) - arena.address;
  if (!isStructure(parameter)) return parameter.length === 0 ? undefined : changedBytes(arena, target, parameter);
  return changedFields(arena, target, BY_MECHANISM.get(type)!, parameter as Fields) as ParameterValue | undefined;
}

/** What these bytes of the arena are now, if that is not what was given. */
export function changedBytes(arena: Arena, at: number, given: Uint8Array): Uint8Array | undefined {
  // A module may have put a pointer of its own here; that memory is not ours to read.
  if (at < 0 || at + given.length > arena.capacity) return undefined;
  const now = arena.bytes.subarray(at, at + given.length);
  return sameBytes(now, given) ? undefined : now.slice();
}

function changedFields(arena: Arena, at: number, plan: StructurePlan, given: Fields): Fields | undefined {
  let changed: Record<string, unknown> | undefined;
  for (const field of plan.fields) {
    if (field.kind !== "bytes" && field.kind !== "block") continue;
    const before = given[field.name] as Uint8Array;
    if (before.length === 0) continue;
    const from = field.kind === "block" ? at + field.at : arena.pointer(at + field.at) - arena.address;
    const now = changedBytes(arena, from, before);
    if (now !== undefined) changed = { ...(changed ?? given), [field.name]: now };
  }
  return changed;
}
