/**
 * One application of a native module: its sessions, their order, and its part in the library's one initialisation.
 *
 * What cannot be kept apart within a process is the login state: all applications of a library share it per token.
 * @module
 */
import { after, isPromise } from "../../cryptoki/awaitable.ts";
import { CryptokiError, failedWith } from "../../cryptoki/errors.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Reply, Ulong } from "../../cryptoki/port.ts";
import type { Instance } from "./instance.ts";
import { Turns } from "./turns.ts";

/** An application over the plain calls of a library. */
export class Application implements Cryptoki {
  readonly #instance: Instance;
  readonly #library: Cryptoki;
  /** The sessions that it opened, and their slots. */
  readonly #sessions = new Map<Ulong, Ulong>();
  readonly #turns = new Turns<Ulong>();
  #isInitialised = false;
  #underWay = 0;

  /** @param library the plain calls; it need not order or count anything */
  constructor(instance: Instance, library: Cryptoki) {
    this.#instance = instance;
    this.#library = library;
  }

  get isInitialised(): boolean {
    return this.#isInitialised;
  }

  /** Whether a call has not returned yet. */
  get isBusy(): boolean {
    return this.#underWay > 0;
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    switch (fn) {
      case "C_Initialize":
        return this.#initialise(args as Args<"C_Initialize">) as Awaitable<Reply<F>>;
      case "C_Finalize":
        return this.#finalise() as Awaitable<Reply<F>>;
      case "C_OpenSession":
        return this.#openSession(args as Args<"C_OpenSession">) as Awaitable<Reply<F>>;
      case "C_CloseSession":
        return this.#closeSession(args as Args<"C_CloseSession">) as Awaitable<Reply<F>>;
      case "C_CloseAllSessions":
        return this.#closeAllSessions(args as Args<"C_CloseAllSessions">) as Awaitable<Reply<F>>;
      default:
        return this.#ordered(fn, args);
    }
  }

  #ordered<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    if (!this.#isInitialised) throw new CryptokiError(fn, "CKR_CRYPTOKI_NOT_INITIALIZED");
    const { session } = args as { session?: Ulong };
    if (session === undefined) {
      const answer = this.#counted(this.#library.call(fn, args));
      // C_Finalize does not wait for C_WaitForSlotEvent: it is what ends it.
      if (isPromise(answer) && fn !== "C_WaitForSlotEvent") this.#turns.note(answer);
      return answer;
    }
    return this.#turns.run(session, () => this.#counted(this.#library.call(fn, args)));
  }

  #counted<T>(answer: Awaitable<T>): Awaitable<T> {
    if (!isPromise(answer)) return answer;
    this.#underWay++;
    return answer.finally(() => this.#underWay--);
  }

  #initialise({ args }: Args<"C_Initialize">): Awaitable<Reply<"C_Initialize">> {
    const { turns, users, reserved } = this.#instance;
    if (this.#isInitialised) throw new CryptokiError("C_Initialize", "CKR_CRYPTOKI_ALREADY_INITIALIZED");
    if (args.reserved !== undefined && reserved !== undefined && args.reserved !== reserved) {
      throw new CryptokiError("C_Initialize", "CKR_ARGUMENTS_BAD", "the module was opened with another pReserved");
    }
    const given = args.reserved ?? reserved;
    return turns.run("initialise", () => {
      if (users.size > 0) return this.#join(this.#instance.isOurs);
      return after(
        () =>
          this.#counted(this.#library.call("C_Initialize", { args: given === undefined ? {} : { reserved: given } })),
        () => this.#join(true),
        (error) => {
          // Somebody else in this process uses the library too; then it is theirs to finalise.
          if (failedWith(error, "CKR_CRYPTOKI_ALREADY_INITIALIZED")) return this.#join(false);
          throw error;
        },
      );
    });
  }

  #join(isOurs: boolean): Reply<"C_Initialize"> {
    this.#instance.isOurs = isOurs;
    this.#instance.users.add(this);
    this.#isInitialised = true;
    return {};
  }

  /** Waits for calls under way in its sessions, then closes its sessions or, as the last one, finalises the library. */
  #finalise(): Awaitable<Reply<"C_Finalize">> {
    if (!this.#isInitialised) throw new CryptokiError("C_Finalize", "CKR_CRYPTOKI_NOT_INITIALIZED");
    const { turns, users } = this.#instance;
    return turns.run("initialise", () =>
      after(
        () => this.#turns.ended(),
        () => {
          this.#isInitialised = false;
          users.delete(this);
          const isLast = users.size === 0 && this.#instance.isOurs;
          const sessions = [...this.#sessions.keys()];
          this.#sessions.clear();
          return isLast ? this.#library.call("C_Finalize", {}) : this.#closeEach(sessions);
        },
      ),
    );
  }

  #openSession(args: Args<"C_OpenSession">): Awaitable<Reply<"C_OpenSession">> {
    return after(
      () => this.#ordered("C_OpenSession", args),
      (reply) => {
        this.#sessions.set(reply.session, args.slot);
        return reply;
      },
    );
  }

  #closeSession(args: Args<"C_CloseSession">): Awaitable<Reply<"C_CloseSession">> {
    return after(
      () => this.#ordered("C_CloseSession", args),
      (reply) => {
        this.#sessions.delete(args.session);
        return reply;
      },
    );
  }

  /** Closes what this application opened; other applications keep theirs. */
  #closeAllSessions({ slot }: Args<"C_CloseAllSessions">): Awaitable<Reply<"C_CloseAllSessions">> {
    const own = [...this.#sessions].filter(([, of]) => of === slot).map(([session]) => session);
    return after(
      () => this.#turns.ended(own),
      () => {
        for (const session of own) this.#sessions.delete(session);
        if (this.#instance.users.size > 1) return this.#closeEach(own);
        return this.#ordered("C_CloseAllSessions", { slot });
      },
    );
  }

  /** Closes sessions one by one; one that the module has closed already is no fault. */
  #closeEach(sessions: readonly Ulong[]): Awaitable<Reply<"C_CloseAllSessions">> {
    const [session, ...others] = sessions;
    if (session === undefined) return {};
    return after(
      () => this.#library.call("C_CloseSession", { session }),
      () => this.#closeEach(others),
      (error) => {
        if (failedWith(error, "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED")) return this.#closeEach(others);
        throw error;
      },
    );
  }
}
