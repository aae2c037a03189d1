/**
 * Calls that went out and are still to be answered.
 * @module
 */
import type { FunctionName } from "../cryptoki/port.ts";
import { type AnswerMessage, fromFailure } from "./messages.ts";

interface Waiting {
  readonly fn: FunctionName;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Numbers calls and matches answers to them. */
export class Calls {
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  /** How many are unanswered. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Takes the next number and answers a promise for what comes back to it. */
  add(fn: FunctionName): { id: number; answer: Promise<unknown> } {
    const id = ++this.#last;
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { fn, resolve, reject }));
    return { id, answer };
  }

  settle([id, reply, failure]: AnswerMessage): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (failure === undefined) waiting?.resolve(reply);
    else waiting?.reject(fromFailure(failure));
  }

  /** Fails every call that is unanswered. */
  failAll(error: (fn: FunctionName) => Error): void {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { fn, reject } of all) reject(error(fn));
  }
}
