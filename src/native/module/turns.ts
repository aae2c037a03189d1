/**
 * Tasks in turn: one after the other per key, at once when nobody is waiting.
 * @module
 */
import { isPromise } from "../../cryptoki/awaitable.ts";
import type { Awaitable } from "../../cryptoki/port.ts";

/** Orders tasks by key. A task that answers at once, with nobody before it, stays synchronous. */
export class Turns<K> {
  readonly #last = new Map<K, Promise<void>>();
  readonly #loose = new Set<Promise<void>>();

  run<T>(key: K, task: () => Awaitable<T>): Awaitable<T> {
    const before = this.#last.size === 0 ? undefined : this.#last.get(key);
    const answer = before === undefined ? task() : before.then(task);
    if (isPromise(answer)) this.#follow(key, answer);
    return answer;
  }

  #follow(key: K, answer: Promise<unknown>): void {
    const done = () => {
      if (this.#last.get(key) === ended) this.#last.delete(key);
    };
    const ended: Promise<void> = answer.then(done, done);
    this.#last.set(key, ended);
  }

  /** Counts an answer among the tasks under way, in no order. */
  note(answer: Promise<unknown>): void {
    const done = () => {
      this.#loose.delete(ended);
    };
    const ended: Promise<void> = answer.then(done, done);
    this.#loose.add(ended);
  }

  /** When the tasks of these keys, or of all, have ended; undefined if none is under way. */
  ended(keys?: Iterable<K>): Promise<unknown> | undefined {
    const waiting =
      keys === undefined
        ? [...this.#last.values(), ...this.#loose]
        : [...keys].flatMap((key) => this.#last.get(key) ?? []);
    return waiting.length === 0 ? undefined : Promise.all(waiting);
  }
}
