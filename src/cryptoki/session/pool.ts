/**
 * The PKCS#11 sessions of one Session: the main one, where objects are made (session objects die with it), those of
 * operations that run at the same time, and those of searches.
 * @module
 */
import type { FunctionName } from "../../spec/functions.ts";
import { CryptokiError, failedWith } from "../errors.ts";
import type { Module } from "../module.ts";
import type { Args, Awaitable, Reply, Ulong } from "../port.ts";
import { isGone } from "./lost.ts";

/** How many PKCS#11 sessions one Session opens at most for operations. */
const LIMIT = 8;

/** An operation: its calls go to the pool, with the handle. */
export type OperationUse<T> = (handle: Ulong, pool: SessionPool) => Awaitable<T>;

export class SessionPool {
  readonly main: Ulong;
  readonly #module: Module;
  readonly #slot: Ulong;
  readonly #flags: number;
  /** Every one that is open. */
  readonly #open: Set<Ulong>;
  readonly #idle: Ulong[];
  readonly #waiting: { resolve: (handle: Ulong) => void; reject: (error: unknown) => void }[] = [];
  /** How many are for operations, and how many may be. */
  #pooled = 1;
  #limit = LIMIT;
  /** The error of what comes now; undefined as long as something may come. */
  #ended: ((fn: FunctionName) => CryptokiError) | undefined;
  #isGone = false;

  constructor(module: Module, main: Ulong, { slot, flags }: { slot: Ulong; flags: number }) {
    this.main = main;
    this.#module = module;
    this.#slot = slot;
    this.#flags = flags;
    this.#open = new Set([main]);
    this.#idle = [main];
    module.ownSession(main, this);
  }

  /** A call of the port in one of these sessions. @throws CryptokiError once this pool has ended */
  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    if (this.#ended !== undefined) throw this.#ended(fn);
    return this.#module.call(fn, args);
  }

  /**
   * Runs `use` with a PKCS#11 session that nothing else uses meanwhile. After an error in the middle of an operation
   * (data that broke off, a PIN that was missing) the operation is still active there, so the session is not used again:
   * it is closed, and the main one, in which objects live, is kept for those alone.
   */
  async exclusive<T>(use: OperationUse<T>): Promise<T> {
    const handle = this.#idle.pop() ?? (await this.#another());
    if (this.#ended !== undefined) throw this.#ended("C_OpenSession");
    try {
      const answer = await use(handle, this);
      this.#giveBack(handle);
      return answer;
    } catch (error) {
      if (hasNotBegun(error)) this.#giveBack(handle);
      else await this.#discard(handle);
      throw error;
    }
  }

  #giveBack(handle: Ulong): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(handle);
    else next.resolve(handle);
  }

  async #discard(handle: Ulong): Promise<void> {
    this.#pooled -= 1;
    if (handle !== this.main) await this.close(handle);
    const next = this.#waiting.shift();
    if (next !== undefined) this.#another().then(next.resolve, next.reject);
  }

  async #another(): Promise<Ulong> {
    if (this.#pooled < this.#limit) {
      this.#pooled += 1;
      try {
        return await this.open();
      } catch (error) {
        this.#pooled -= 1;
        if (!failedWith(error, "CKR_SESSION_COUNT")) throw error;
        if (this.#pooled === 0) {
          // The token has no other: better the main one, where the operation may have ended by itself.
          this.#pooled = 1;
          return this.main;
        }
        this.#limit = this.#pooled;
      }
    }
    return this.#idle.pop() ?? new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** A session beside the main one; it is closed with this pool at the latest. */
  async open(): Promise<Ulong> {
    const { session } = await this.#besideMain(() =>
      this.call("C_OpenSession", { slot: this.#slot, flags: this.#flags }),
    );
    if (this.#ended !== undefined) {
      await this.#closeHandle(session);
      throw this.#ended("C_OpenSession");
    }
    this.#open.add(session);
    this.#module.ownSession(session, this);
    try {
      // A peer or a process that has begun anew opens sessions too; there the handles of objects are those of others.
      await this.call("C_GetSessionInfo", { session: this.main });
    } catch (error) {
      await this.close(session);
      throw error;
    }
    return session;
  }

  /** What the main session says tells more of a token that is gone. */
  async #besideMain<T>(use: () => Awaitable<T>): Promise<T> {
    try {
      return await use();
    } catch (error) {
      if (this.#ended === undefined) await this.call("C_GetSessionInfo", { session: this.main });
      throw error;
    }
  }

  async close(handle: Ulong): Promise<void> {
    if (!this.#open.delete(handle)) return;
    this.#module.disownSession(handle, this);
    await this.#closeHandle(handle);
  }

  async #closeHandle(session: Ulong): Promise<void> {
    try {
      await this.#module.call("C_CloseSession", { session });
    } catch (error) {
      // Gone already: the token was removed or initialised, or the module's process died.
      if (!isGone(error) && !failedWith(error, "CKR_DEVICE_ERROR")) throw error;
    }
  }

  /** Whether the module has closed one of them and given its handle to a session of another pool. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Nothing may be done any more with a handle that another session has now; nor with the others, which went with it. */
  lose(handle: Ulong): void {
    this.#open.delete(handle);
    this.#isGone = true;
    if (this.#ended !== undefined) return;
    this.end((fn) => new CryptokiError(fn, "CKR_SESSION_HANDLE_INVALID", `session ${handle} was closed by the module`));
  }

  /** Lets nothing begin any more, and refuses what waits. @param why the error of what comes now */
  end(why: (fn: FunctionName) => CryptokiError): void {
    this.#ended = why;
    for (const { reject } of this.#waiting.splice(0)) reject(why("C_OpenSession"));
  }

  /** Closes every session, those too in which an operation or a search is still under way. */
  async closeAll(): Promise<void> {
    for (const session of [...this.#open]) await this.close(session);
  }
}

/** Whether an operation failed before it was active: its Init was refused, and not for another that is still active. */
function hasNotBegun(error: unknown): boolean {
  return (
    error instanceof CryptokiError &&
    error.function.endsWith("Init") &&
    !error.is("CKR_OPERATION_ACTIVE") &&
    !isGone(error)
  );
}
