/**
 * What is below the verbs of a Session: PKCS#11 sessions that are made anew when the token, its daemon or the library's
 * process was gone, and calls that are repeated then or are not.
 * @module
 */
import type { FunctionName } from "../../spec/functions.ts";
import { CryptokiError } from "../errors.ts";
import type { Role } from "../logins.ts";
import type { PinSupply } from "../pin.ts";
import type { Args, Awaitable, Reply, Structure, Ulong } from "../port.ts";
import type { Token } from "../token.ts";
import { isGone, isTokenGone, mayBeGone, notMadeAnew, notRepeated } from "./lost.ts";
import { type OperationUse, SessionPool } from "./pool.ts";

/** An object, as far as it outlives its handle. */
interface LastingObject {
  readonly session: LastingSession;
  readonly isCurrent: boolean;
  findAgain(): Promise<void>;
}

/** How a session is made, and made anew. */
interface Making {
  readonly flags: number;
  /** Who is logged in; undefined for nobody. */
  readonly user: Role | undefined;
  readonly pin: PinSupply | undefined;
  readonly reconnects: boolean;
}

const NOT_KNOWN = () => "whether it was done is not known";

/** A session that outlives the PKCS#11 sessions behind it. */
export abstract class LastingSession {
  readonly token: Token;
  /** For keys that want the PIN at every use; undefined where none was given. */
  readonly pin: PinSupply | undefined;
  /** @internal Who is logged in. */
  readonly user: Role | undefined;
  readonly #how: Making;
  /** What the token said of itself: it may come back in another slot, and another one in its slot. */
  readonly #info: Structure<"tokenInfo">;
  #pool: SessionPool;
  #making = 0;
  #anew: Promise<void> | undefined;
  #isClosed = false;

  /** @internal Sessions come from `Token.withSession`. */
  constructor(token: Token, handle: Ulong, how: Making) {
    this.token = token;
    this.pin = how.pin;
    this.user = how.user;
    this.#how = how;
    this.#info = token.info;
    this.#pool = new SessionPool(token.module, handle, { slot: token.slot, flags: how.flags });
  }

  /** The main PKCS#11 session; another one after it was made anew. */
  get handle(): Ulong {
    return this.#pool.main;
  }

  /** Whether `withSession` is still running. */
  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** @internal Those of C_OpenSession. */
  get flags(): number {
    return this.#how.flags;
  }

  /** @internal How often it was made anew: handles are of one making. */
  get making(): number {
    return this.#making;
  }

  /** @internal Whether it makes itself anew. */
  get isReconnecting(): boolean {
    return this.#how.reconnects;
  }

  /**
   * A call of the port as it is: nothing is made anew for it, nor repeated.
   * @throws CryptokiError CKR_SESSION_CLOSED once `withSession` has ended
   */
  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    return this.#pool.call(fn, args);
  }

  /**
   * @internal Runs what may be done twice. If the session is gone it is made anew, the objects are found again, and it is
   * done once more. Handles are to be read within `use`, before its first pause.
   * @param whyNotAgain why it cannot be done twice any more, such as data that is gone; undefined where it can
   */
  async run<T>(
    objects: readonly LastingObject[],
    use: () => Awaitable<T>,
    whyNotAgain: () => string | undefined = () => undefined,
  ): Promise<T> {
    const making = this.#making;
    try {
      return await this.#withCurrent(objects, use);
    } catch (error) {
      if (!this.#how.reconnects || this.#isClosed || !mayBeGone(error)) throw error;
      if (!(await this.#makeAnewIfGone(making, error))) throw error;
      const why = whyNotAgain();
      if (why !== undefined) throw notRepeated(error, why);
      return this.#withCurrent(objects, use);
    }
  }

  /** @internal Runs what must not be done twice: what makes, changes or destroys. The session is made anew all the same. */
  runOnce<T>(objects: readonly LastingObject[], use: () => Awaitable<T>): Promise<T> {
    return this.run(objects, use, NOT_KNOWN);
  }

  /** @internal Runs an operation, with a PKCS#11 session that nothing else uses meanwhile; see {@link run}. */
  runExclusive<T>(
    objects: readonly LastingObject[],
    use: OperationUse<T>,
    whyNotAgain?: () => string | undefined,
  ): Promise<T> {
    return this.run(objects, () => this.#pool.exclusive(use), whyNotAgain);
  }

  /** @internal Goes through a call that shows whether it is there, or makes it anew. */
  prove(): Promise<unknown> {
    return this.run([], () => this.call("C_GetSessionInfo", { session: this.handle }));
  }

  async #withCurrent<T>(objects: readonly LastingObject[], use: () => Awaitable<T>): Promise<T> {
    // An object of another session has a handle that is good here once that session is known to be there too.
    // Then each time from the beginning: while one is looked for, another call may make the session anew.
    for (const { session } of objects) if (session !== this && this.#making > 0) await session.prove();
    for (let old = objects.find(isOld); old !== undefined; old = objects.find(isOld)) await old.findAgain();
    return use();
  }

  /** Whether the session was gone and is there again. @throws SessionLostError where it cannot be made anew */
  async #makeAnewIfGone(making: number, error: CryptokiError): Promise<boolean> {
    if (this.#making !== making) return isGone(error);
    if (!isTokenGone(error) && !(await this.#isMainGone())) return isGone(error); // one of the pool alone
    if (this.#making === making) {
      this.#anew ??= this.#makeAnew(error).finally(() => {
        this.#anew = undefined;
      });
      await this.#anew;
    }
    return true;
  }

  async #isMainGone(): Promise<boolean> {
    try {
      await this.call("C_GetSessionInfo", { session: this.handle });
      return false;
    } catch (error) {
      return mayBeGone(error);
    }
  }

  async #makeAnew(error: CryptokiError): Promise<void> {
    const { token, user } = this;
    const { flags } = this.#how;
    const old = this.#pool;
    let pool: SessionPool;
    try {
      await token.module.findAgain(token, this.#info);
      const { slot } = token;
      if (this.#isClosed) throw ended("C_OpenSession");
      const { session } = await token.module.call("C_OpenSession", { slot, flags });
      pool = new SessionPool(token.module, session, { slot, flags });
      try {
        if (user !== undefined) await token.logins.enterAgain(this, session);
        if (this.#isClosed) throw ended("C_OpenSession");
      } catch (reason) {
        await pool.closeAll();
        throw reason;
      }
    } catch (why) {
      if (this.#isClosed) throw ended(error.function);
      throw notMadeAnew(error, token.uri, why);
    }
    this.#pool = pool;
    this.#making += 1;
    old.end((fn) => new CryptokiError(fn, "CKR_SESSION_CLOSED", "the session was made anew"));
    // Most are gone already; those that a module has left go with the others.
    await old.closeAll().catch(() => undefined);
  }

  /** @internal The PKCS#11 sessions as they are now; others after it was made anew. */
  get pool(): SessionPool {
    return this.#pool;
  }

  /** @internal Cuts off what is still under way: nothing is made anew any more. */
  end(): void {
    this.#isClosed = true;
    this.#pool.end(ended);
  }

  /** @internal Closes every PKCS#11 session, those too in which an operation or a search is still under way. */
  async close(): Promise<void> {
    this.end();
    // What was being made anew sees that it is too late, and closes what it opened.
    await this.#anew?.catch(() => undefined);
    await this.#pool.closeAll();
  }
}

const isOld = (object: LastingObject): boolean => !object.isCurrent;

function ended(fn: FunctionName): CryptokiError {
  return new CryptokiError(fn, "CKR_SESSION_CLOSED", "withSession has ended", {
    hints: ["await everything that uses the session within withSession"],
  });
}
