/**
 * One thing after another, at once where each is answered at once.
 * @module
 */
import { after } from "../cryptoki/awaitable.ts";
import type { Awaitable } from "../cryptoki/port.ts";

/** Does the work for each item, the next when the one before is done. */
export function inSequence<T, R>(items: readonly T[], work: (item: T) => Awaitable<R>): Awaitable<readonly R[]> {
  const done: R[] = [];
  const next = (): Awaitable<readonly R[]> => {
    if (done.length === items.length) return done;
    return after(
      () => work(items[done.length]!),
      (result) => {
        done.push(result);
        return next();
      },
    );
  };
  return next();
}
