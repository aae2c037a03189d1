/**
 * Working with answers that may or may not be there yet.
 * @module
 */
import type { Awaitable } from "./port.ts";

/** Whether an answer is still to come. */
export function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/**
 * Runs `start`, then `ok` with its answer or `fail` with what it threw or rejected with. Stays synchronous when `start`
 * answers at once. An error thrown by `ok` is not given to `fail`. Without `fail` errors pass through.
 */
export function after<T, R>(
  start: () => Awaitable<T>,
  ok: (value: T) => Awaitable<R>,
  fail?: (error: unknown) => Awaitable<R>,
): Awaitable<R> {
  let value: Awaitable<T>;
  try {
    value = start();
  } catch (error) {
    if (fail === undefined) throw error;
    return fail(error);
  }
  return isPromise(value) ? value.then(ok, fail) : ok(value);
}
