/**
 * What crosses a thread or process boundary: one message per call, one per answer.
 *
 * Messages go through structured clone. A PIN is in a message and nowhere else.
 * @module
 */
import { CryptokiError } from "../cryptoki/errors.ts";
import type { FunctionName } from "../cryptoki/port.ts";
import { ModuleError } from "../native/module/index.ts";

/** A call: its number, its application's number, the function and its arguments. */
export type CallMessage = readonly [id: number, application: number, fn: FunctionName, args: unknown];

/** An answer to the call of that number: the reply, or why not. */
export type AnswerMessage = readonly [id: number, reply: unknown, failure?: Failure];

/** The number of the answer that says whether the library was loaded. */
export const LOADED = 0;

/** An error, as plain data. */
export type Failure =
  | {
      readonly kind: "cryptoki";
      readonly fn: FunctionName;
      readonly rv: number;
      readonly detail: string;
      readonly hints: readonly string[];
    }
  | { readonly kind: "module"; readonly path: string; readonly fault: string; readonly hints: readonly string[] }
  | { readonly kind: "other"; readonly message: string };

export function toFailure(error: unknown): Failure {
  if (error instanceof CryptokiError) {
    const { function: fn, rv, detail, hints } = error;
    return { kind: "cryptoki", fn, rv, detail, hints };
  }
  if (error instanceof ModuleError) {
    const { path, fault, hints } = error;
    return { kind: "module", path, fault, hints };
  }
  return { kind: "other", message: error instanceof Error ? error.message : String(error) };
}

export function fromFailure(failure: Failure): Error {
  switch (failure.kind) {
    case "cryptoki":
      return new CryptokiError(failure.fn, failure.rv, failure.detail, { hints: [...failure.hints] });
    case "module":
      return new ModuleError(failure.path, failure.fault, { hints: failure.hints });
    case "other":
      return new Error(failure.message);
  }
}

/**
 * The same value with every byte array in memory of its own. Structured clone copies the whole memory behind a view, and
 * behind a small Buffer is a pool that others use too.
 */
export function compact(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return value.byteLength === value.buffer.byteLength ? value : new Uint8Array(value);
  if (Array.isArray(value)) return value.map(compact);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, compact(part)]));
}
