/**
 * What the doors of the library take: each public function names its arguments and their kinds once, and refuses others
 * before anything is sent to a token. TypeScript callers are told by the compiler; these are for all others.
 * @module
 */
import { KeywrightError } from "./errors.ts";

/** An argument that a function of the library cannot take. */
export class ArgumentError extends KeywrightError {
  override readonly code = "ERR_ARGUMENT";
}

/** Tells what is wrong with a value, in words that follow its name; undefined when nothing is. */
export type Kind = (value: unknown) => string | undefined;

/**
 * Refuses arguments that are not of their kinds.
 * @param fn the function as its caller names it
 * @throws ArgumentError naming the function, the argument, what it is and what was expected
 */
export function requireArguments(
  fn: string,
  given: Readonly<Record<string, readonly [value: unknown, kind: Kind]>>,
): void {
  for (const [name, [value, kind]] of Object.entries(given)) {
    const fault = kind(value);
    if (fault !== undefined) throw new ArgumentError(`${fn}: ${name} ${fault}`);
  }
}

/** The kind of a value, never the value: it may be a PIN. */
export function described(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "object") return `a ${typeof value}`;
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "Object" ? `a ${name}` : "an object";
}

/** A kind by its test and its name. */
export function kind(expected: string, accepts: (value: unknown) => boolean): Kind {
  return (value) => (accepts(value) ? undefined : `is ${described(value)}, not ${expected}`);
}

export const TEXT: Kind = kind("a text", (value) => typeof value === "string");
export const FLAG: Kind = kind("true or false", (value) => typeof value === "boolean");
export const BYTES: Kind = kind("bytes (Uint8Array)", (value) => value instanceof Uint8Array);
export const FUNCTION: Kind = kind("a function", (value) => typeof value === "function");
export const DATE: Kind = kind("a date", (value) => value instanceof Date && !Number.isNaN(value.getTime()));

/** A whole number between bounds; the bounds and the number stand in the error. */
export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER): Kind {
  return (value) => {
    if (typeof value === "bigint" && value >= least) return undefined;
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most) return undefined;
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
    return `is ${typeof value === "number" ? value : described(value)}, not a whole number ${range}`;
  };
}

export function oneOf(...values: readonly string[]): Kind {
  return kind(`one of ${values.join(", ")}`, (value) => typeof value === "string" && values.includes(value));
}

export function optional(inner: Kind): Kind {
  return (value) => (value === undefined ? undefined : inner(value));
}

export function listOf(expected: string, inner: Kind): Kind {
  return kind(
    `a list of ${expected}`,
    (value) => Array.isArray(value) && value.every((one) => inner(one) === undefined),
  );
}

/** A plain object: no array, no bytes, no text. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** An object with these members and no others: a name that is mistyped is refused, not passed over. */
export function members(shape: Readonly<Record<string, Kind>>): Kind {
  const names = Object.keys(shape).join(", ");
  return (value) => {
    if (!isPlain(value)) return `is ${described(value)}, not an object with ${names}`;
    for (const [name, member] of Object.entries(value)) {
      const inner = Object.hasOwn(shape, name) ? shape[name]! : undefined;
      if (inner === undefined) return `has ${JSON.stringify(name)}, which is none of ${names}`;
      const fault = inner(member);
      if (fault !== undefined) return `has ${JSON.stringify(name)} that ${fault}`;
    }
    const missing = Object.keys(shape).find(
      (name) => value[name] === undefined && shape[name]!(undefined) !== undefined,
    );
    return missing === undefined ? undefined : `has no ${JSON.stringify(missing)}`;
  };
}
