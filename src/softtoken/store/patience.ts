/**
 * Waiting for a store that another process is writing to, without blocking: first come, first served within the process.
 * @module
 */
import type { Awaitable } from "../../cryptoki/port.ts";
import { refuse } from "../refusal.ts";
import type { Database } from "./database.ts";
import { Busy } from "./errors.ts";

/** How long a write waits for its turn, in ms. */
const LIMIT = 30_000;

/** Pauses between attempts, in ms; the last one repeats. */
const PAUSES = [0, 1, 1, 2, 3, 5, 8, 13] as const;

export class Patience {
  readonly db: Database;
  readonly #queue: (() => void)[] = [];
  #isWaiting = false;

  constructor(db: Database) {
    this.db = db;
  }

  /**
   * Runs work that may throw {@link Busy} before it has changed anything; at once when nobody waits and the store is
   * free, else when its turn comes and as often as needed. A turn is what `work` does at once: if it answers with a
   * promise, what comes later waits by itself.
   * @throws Refusal CKR_FUNCTION_FAILED when the store stays busy for 30 seconds
   */
  write<T>(work: () => Awaitable<T>): Awaitable<T> {
    if (!this.#isWaiting) {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof Busy)) throw error;
      }
    }
    return this.#inTurn(work);
  }

  async #inTurn<T>(work: () => Awaitable<T>): Promise<T> {
    if (this.#isWaiting) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#wait(true);
    try {
      const until = Date.now() + LIMIT;
      for (let attempt = 0; ; attempt += 1) {
        try {
          this.db.mustQueue = false;
          // Not awaited here: whoever needs the store in the meantime would wait for this turn to end.
          return work();
        } catch (error) {
          if (!(error instanceof Busy)) throw error;
          if (Date.now() > until) return refuse("CKR_FUNCTION_FAILED", `the store stayed busy for ${LIMIT / 1000} s`);
        } finally {
          this.db.mustQueue = true;
        }
        const pause = PAUSES[Math.min(attempt, PAUSES.length - 1)]!;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#wait(false);
      else next();
    }
  }

  /** While somebody waits, nobody else of this process writes. */
  #wait(isWaiting: boolean): void {
    this.#isWaiting = isWaiting;
    this.db.mustQueue = isWaiting;
  }
}
