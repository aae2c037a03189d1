/**
 * Waiting for a store that another process is writing to, without blocking: first come, first served within the process.
 * @module
 */
import type { Awaitable } from "../../cryptoki/port.ts";
import { refuse } from "../refusal.ts";
import { Busy, type Database } from "./database.ts";

/** How long a write waits for its turn, in ms. */
const LIMIT = 30_000;

/** Pauses between attempts, in ms; the last one repeats. */
const PAUSES = [0, 1, 1, 2, 3, 5, 8, 13] as const;

export class Patience {
  readonly db: Database;
  readonly #queue: (() => void)[] = [];
  #waiting = false;

  constructor(db: Database) {
    this.db = db;
  }

  /**
   * Runs work that may throw {@link Busy} before it has changed anything; at once when nobody waits and the store is
   * free, else as often as needed. Only Busy is waited for.
   * @throws Refusal CKR_FUNCTION_FAILED when the store stays busy for 30 seconds
   */
  write<T>(work: () => Awaitable<T>): Awaitable<T> {
    if (!this.#waiting) {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof Busy)) throw error;
      }
    }
    return this.#inTurn(work);
  }

  async #inTurn<T>(work: () => Awaitable<T>): Promise<T> {
    if (this.#waiting) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#waiting = true;
    try {
      const until = Date.now() + LIMIT;
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await work();
        } catch (error) {
          if (!(error instanceof Busy)) throw error;
          if (Date.now() > until) return refuse("CKR_FUNCTION_FAILED", `the store stayed busy for ${LIMIT / 1000} s`);
        }
        const pause = PAUSES[Math.min(attempt, PAUSES.length - 1)]!;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#waiting = false;
      else next();
    }
  }
}
