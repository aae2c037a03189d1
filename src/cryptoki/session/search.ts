/**
 * Searches (PKCS#11 3.1, 5.7.7 to 5.7.9).
 * @module
 */
import type { Attribute, Ulong } from "../port.ts";
import type { LastingSession } from "./lasting.ts";
import { isGone } from "./lost.ts";
import type { SessionPool } from "./pool.ts";

/** How many handles one C_FindObjects asks for. */
const BATCH = 128;

/** A search, on a PKCS#11 session of its own. */
export class Search {
  readonly #pool: SessionPool;
  readonly #own: Ulong;
  /** Which making of the session its handles are of. */
  readonly making: number;

  private constructor(pool: SessionPool, own: Ulong, making: number) {
    this.#pool = pool;
    this.#own = own;
    this.making = making;
  }

  static async begin({ pool, making }: LastingSession, template: readonly Attribute[]): Promise<Search> {
    const own = await pool.open();
    try {
      await pool.call("C_FindObjectsInit", { session: own, template });
    } catch (error) {
      await pool.close(own);
      throw error;
    }
    return new Search(pool, own, making);
  }

  /** The next handles; none at the end. */
  async next(): Promise<readonly Ulong[]> {
    return (await this.#pool.call("C_FindObjects", { session: this.#own, max: BATCH })).objects;
  }

  async end(): Promise<void> {
    try {
      await this.#pool.call("C_FindObjectsFinal", { session: this.#own });
    } catch (error) {
      // Closed already, and the search with it.
      if (!isGone(error)) throw error;
    } finally {
      await this.#pool.close(this.#own);
    }
  }

  /** Every handle. */
  static async all(session: LastingSession, template: readonly Attribute[]): Promise<Ulong[]> {
    const search = await Search.begin(session, template);
    try {
      const found: Ulong[] = [];
      for (let batch = await search.next(); batch.length > 0; batch = await search.next()) found.push(...batch);
      return found;
    } finally {
      await search.end();
    }
  }
}
