/**
 * One application of a native module: its sessions, their order, and its part in the library's one initialisation.
 *
 * What cannot be kept apart within a process is the login state: all applications of a library share it per token. So
 * logins are counted: the token is logged out when the last application that counts on the login lets go of it, by
 * C_Logout or by closing its last session with the token.
 * @module
 */
import { after, isPromise } from "../../cryptoki/awaitable.ts";
import { CryptokiError, failedWith } from "../../cryptoki/errors.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Reply, Ulong } from "../../cryptoki/port.ts";
import { CKU } from "../../spec/objects.ts";
import type { Instance, Member } from "./instance.ts";
import { Turns } from "./turns.ts";

/** An application over the plain calls of a library. */
export class Application implements Cryptoki, Member {
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
      case "C_Login":
      case "C_LoginUser":
        return this.#login(fn, args as Args<"C_Login">) as Awaitable<Reply<F>>;
      case "C_Logout":
        return this.#logout(args as Args<"C_Logout">) as Awaitable<Reply<F>>;
      default:
        return this.#ordered(fn, args);
    }
  }

  hasSessions(slot: Ulong): boolean {
    for (const of of this.#sessions.values()) if (of === slot) return true;
    return false;
  }

  #login(fn: "C_Login" | "C_LoginUser", args: Args<"C_Login">): Awaitable<unknown> {
    const send = () => this.#ordered(fn, args as Args<typeof fn>);
    const slot = this.#sessions.get(args.session);
    if (slot === undefined || args.userType === CKU.CKU_CONTEXT_SPECIFIC[0]) return send();
    const { turns, logins } = this.#instance;
    return turns.run(slot, () =>
      after<unknown, unknown>(
        send,
        (reply) => {
          logins.set(slot, new Set([this]));
          return reply;
        },
        (error) => {
          // It shares a login of another application, which must not end under it.
          if (failedWith(error, "CKR_USER_ALREADY_LOGGED_IN")) logins.get(slot)?.add(this);
          throw error;
        },
      ),
    );
  }

  #logout(args: Args<"C_Logout">): Awaitable<unknown> {
    const slot = this.#sessions.get(args.session);
    if (slot === undefined) return this.#ordered("C_Logout", args);
    const { turns, logins } = this.#instance;
    return turns.run<unknown>(slot, () => {
      const counting = logins.get(slot);
      const isShared = counting !== undefined && [...counting].some((other) => other !== this);
      if (isShared && counting.delete(this)) return {};
      if (isShared) throw new CryptokiError("C_Logout", "CKR_USER_NOT_LOGGED_IN", "another application is logged in");
      logins.delete(slot);
      return this.#ordered("C_Logout", args);
    });
  }

  /** Before the last session with a slot closes: lets go of its login, which other applications' sessions would keep. */
  #letGo(session: Ulong): Awaitable<unknown> {
    const slot = this.#sessions.get(session)!;
    const { turns, logins, users } = this.#instance;
    if (!logins.get(slot)?.has(this)) return undefined;
    return turns.run<unknown>(slot, () => {
      const counting = logins.get(slot);
      if (counting?.delete(this) !== true || counting.size > 0) return undefined;
      logins.delete(slot);
      if (![...users].some((other) => other !== this && other.hasSessions(slot))) return undefined;
      return after<unknown, unknown>(
        () => this.#ordered("C_Logout", { session }),
        () => undefined,
        () => undefined, // the session or the token is gone, and the login with it
      );
    });
  }

  #isLastOfSlot(session: Ulong): boolean {
    const slot = this.#sessions.get(session);
    if (slot === undefined) return false;
    for (const [other, of] of this.#sessions) if (of === slot && other !== session) return false;
    return true;
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
          const isLast = users.size === 1 && this.#instance.isOurs;
          const sessions = [...this.#sessions.keys()];
          return after(
            () => (isLast ? this.#instance.logins.clear() : this.#letGoOf(sessions)),
            () => {
              this.#isInitialised = false;
              users.delete(this);
              this.#sessions.clear();
              return isLast ? this.#counted(this.#library.call("C_Finalize", {})) : this.#closeEach(sessions);
            },
          );
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
    const close = () =>
      after(
        () => this.#ordered("C_CloseSession", args),
        (reply) => {
          this.#sessions.delete(args.session);
          return reply;
        },
      );
    return this.#isLastOfSlot(args.session) ? after(() => this.#letGo(args.session), close) : close();
  }

  /** Closes what this application opened; other applications keep theirs. */
  #closeAllSessions({ slot }: Args<"C_CloseAllSessions">): Awaitable<Reply<"C_CloseAllSessions">> {
    const own = [...this.#sessions].filter(([, of]) => of === slot).map(([session]) => session);
    return after(
      () =>
        after(
          () => this.#turns.ended(own),
          () => this.#letGoOf(own),
        ),
      () => {
        for (const session of own) this.#sessions.delete(session);
        if (this.#instance.users.size > 1) return this.#closeEach(own);
        return this.#ordered("C_CloseAllSessions", { slot });
      },
    );
  }

  /** Lets go of the logins of these sessions' slots. */
  #letGoOf(sessions: readonly Ulong[]): Awaitable<unknown> {
    const [session, ...others] = sessions;
    if (session === undefined) return undefined;
    return after(
      () => this.#letGo(session),
      () => this.#letGoOf(others),
    );
  }

  /** Closes sessions one by one; one that the module has closed already is no fault. */
  #closeEach(sessions: readonly Ulong[]): Awaitable<Reply<"C_CloseAllSessions">> {
    const [session, ...others] = sessions;
    if (session === undefined) return {};
    return after(
      () => this.#counted(this.#library.call("C_CloseSession", { session })),
      () => this.#closeEach(others),
      (error) => {
        if (failedWith(error, "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED")) return this.#closeEach(others);
        throw error;
      },
    );
  }
}
