/**
 * Calls that went out and are still to be answered.
 * @module
 */
import type { FunctionName } from "../cryptoki/port.ts";
import { type AnswerMessage, fromFailure } from "./messages.ts";

interface Waiting {
  readonly fn: FunctionName;
  readonly answer: Promise<unknown>;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: Error) => void;
}

function deferred(): { promise: Promise<unknown> } & Pick<Waiting, "resolve" | "reject"> {
  let ends: Pick<Waiting, "resolve" | "reject"> | undefined;
  const promise = new Promise<unknown>((resolve, reject) => {
    ends = { resolve, reject };
  });
  return { promise, ...ends! };
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
    const { promise: answer, ...ends } = deferred();
    this.#waiting.set(id, { fn, answer, ...ends });
    return { id, answer };
  }

  /** When every call that is unanswered now has been answered. */
  async answered(): Promise<void> {
    await Promise.allSettled([...this.#waiting.values()].map(({ answer }) => answer));
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
