/**
 * Errors of this room.
 * @module
 */
import type { FunctionName } from "../spec/functions.ts";
import { CKR, explainReturn, type ReturnName, returnName } from "../spec/returns.ts";

/**
 * Any failure that the project foresees. The message is for people: thing, fault, what was received; lower case, no full
 * stop. What to do next stands in `hints`, a line each.
 */
export abstract class KeywrightError extends Error {
  abstract readonly code: `ERR_${string}`;
  readonly hints: readonly string[];

  constructor(message: string, options: { cause?: unknown; hints?: readonly string[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.hints = options.hints ?? [];
  }
}

/** A PKCS#11 function that did not answer CKR_OK. */
export class CryptokiError extends KeywrightError {
  override readonly code = "ERR_CRYPTOKI";
  readonly function: FunctionName;
  /** The return value, such as 0xa0 (CKR_PIN_INCORRECT). */
  readonly rv: number;
  /** What was asked for, and of which object; may be empty. */
  readonly detail: string;

  /**
   * @param fn the function that was called
   * @param rv what it answered: a name or a number
   * @param detail what was asked for, and of which object: `"label www, slot 3"`
   */
  constructor(
    fn: FunctionName,
    rv: ReturnName | number,
    detail = "",
    options: { cause?: unknown; hints?: string[] } = {},
  ) {
    const code = typeof rv === "number" ? rv : CKR[rv][0];
    const { meaning, next } = explainReturn(code);
    const said = [returnName(code), meaning].filter((part) => part !== "").join(", ");
    super(`${fn}: ${said}${detail === "" ? "" : `: ${detail}`}`, {
      ...options,
      hints: options.hints ?? (next === "" ? [] : [next]),
    });
    this.function = fn;
    this.rv = code;
    this.detail = detail;
  }

  /** Whether the return value is one of these: `error.is("CKR_PIN_INCORRECT", "CKR_PIN_LOCKED")`. */
  is(...names: ReturnName[]): boolean {
    return names.some((name) => CKR[name][0] === this.rv);
  }

  /** Whether a PIN was refused, is locked or is withheld. */
  get isPin(): boolean {
    return this.is("CKR_PIN_INCORRECT", "CKR_PIN_LOCKED", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_EXPIRED");
  }
}

/** Whether an unknown value is a CryptokiError with one of these return values. */
export function failedWith(error: unknown, ...names: ReturnName[]): error is CryptokiError {
  return error instanceof CryptokiError && error.is(...names);
}
