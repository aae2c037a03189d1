/**
 * Applications that live elsewhere, and what becomes of them when that is gone.
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Args, Cryptoki, FunctionName, PinGuarding, Reply, Ulong } from "../cryptoki/port.ts";
import { CALL_FLAGS } from "../spec/flags.ts";

/** How long an application gets to finalise, in ms. */
const FINALISE_MS = 2000;

/** An application elsewhere: in a child process, or at the other end of a connection. */
export interface Link {
  /** Why it is gone; undefined as long as it is there. */
  readonly gone: string | undefined;
  /** Whether logins are guarded there. */
  readonly guardsPins?: boolean;
  call(fn: FunctionName, args: unknown): Promise<unknown>;
}

/**
 * An application that outlives its link. Once that is gone so are its sessions; the next call that needs none makes another
 * link, initialised as before.
 */
export class RevivedApplication implements Cryptoki, PinGuarding {
  readonly #start: () => Promise<Link>;
  readonly #hints: readonly string[];
  #link: Link;
  /** What it was initialised with; undefined while it is not. */
  #initialised: Args<"C_Initialize"> | undefined;
  #fresh: Promise<void> | undefined;
  readonly #sessions = new SessionNames();

  /** @param hints what to do about sessions that are lost */
  constructor(link: Link, start: () => Promise<Link>, hints: readonly string[]) {
    this.#link = link;
    this.#start = start;
    this.#hints = hints;
  }

  get guardsPins(): boolean {
    return this.#link.guardsPins === true;
  }

  async call<F extends FunctionName>(fn: F, args: Args<F>): Promise<Reply<F>> {
    const { session } = args as { session?: Ulong };
    const { gone } = this.#link;
    if (gone !== undefined) {
      this.#sessions.loseAll(gone);
      if (session === undefined) {
        if (fn === "C_Finalize") {
          this.#initialised = undefined;
          return {} as Reply<F>;
        }
        this.#fresh ??= this.#startAnew(fn).finally(() => {
          this.#fresh = undefined;
        });
      }
    }
    if (session === undefined) {
      await this.#fresh;
      return this.#opened(fn, await this.#send(fn, args));
    }
    const real = this.#sessions.real(fn, session, this.#hints);
    const reply = await this.#send(fn, real === session ? args : { ...args, session: real });
    if (fn === "C_CloseSession") this.#sessions.closed(session);
    return reply;
  }

  #opened<F extends FunctionName>(fn: F, reply: Reply<F>): Reply<F> {
    if (fn !== "C_OpenSession") return reply;
    const { session } = reply as Reply<"C_OpenSession">;
    return { ...reply, session: this.#sessions.opened(session) };
  }

  async #send<F extends FunctionName>(fn: F, args: Args<F>): Promise<Reply<F>> {
    const reply = (await this.#link.call(fn, args)) as Reply<F>;
    if (fn === "C_Initialize") this.#initialised = args as Args<"C_Initialize">;
    if (fn === "C_Finalize") {
      this.#initialised = undefined;
      this.#sessions.loseAll("it was finalised");
    }
    return reply;
  }

  /** Another link in place of one that is gone, initialised unless the call is about to do so. */
  async #startAnew(fn: FunctionName): Promise<void> {
    this.#link = await this.#start();
    if (this.#initialised !== undefined && fn !== "C_Initialize") await this.#send("C_Initialize", this.#initialised);
  }

  /** Finalises, if there is something to finalise and it does not take too long. */
  async close(): Promise<void> {
    if (this.#initialised === undefined || this.#link.gone !== undefined) return;
    const finalised = this.call("C_Finalize", {}).catch(() => {}); // a module that fails here is ended anyway
    await Promise.race([finalised, delay(FINALISE_MS, undefined, { ref: false })]);
  }
}

/** The sessions of one application over several links: the handles of one that is gone may be given anew by the next. */
class SessionNames {
  /** By the handle that the caller has: the handle over the link that is there. */
  readonly #open = new Map<Ulong, Ulong>();
  /** By the handle that the caller has: why it is lost. */
  readonly #lost = new Map<Ulong, string>();
  #next = 2 ** 52;

  opened(real: Ulong): Ulong {
    // A handle is given anew once its session is closed, by whomever.
    for (const [name, of] of this.#open) if (of === real) this.#lose(name, "it was closed");
    const name = this.#lost.has(real) || this.#open.has(real) ? this.#next++ : real;
    this.#open.set(name, real);
    return name;
  }

  closed(name: Ulong): void {
    this.#open.delete(name);
  }

  loseAll(reason: string): void {
    for (const name of this.#open.keys()) this.#lose(name, reason);
  }

  #lose(name: Ulong, reason: string): void {
    this.#open.delete(name);
    this.#lost.set(name, reason);
  }

  /** @throws CryptokiError for a session that is lost */
  real(fn: FunctionName, name: Ulong, hints: readonly string[]): Ulong {
    const reason = this.#lost.get(name);
    if (reason !== undefined) {
      throw new CryptokiError(fn, "CKR_SESSION_HANDLE_INVALID", `session ${name}: ${reason}`, { hints: [...hints] });
    }
    return this.#open.get(name) ?? name;
  }
}

/** Whether a call waits for an event, or for a person at the token's own keypad. */
export function waitsForOthers(fn: FunctionName, args: unknown): boolean {
  if (fn === "C_WaitForSlotEvent") {
    return (Number((args as Args<"C_WaitForSlotEvent">).flags) & CALL_FLAGS.CKF_DONT_BLOCK[0]) === 0;
  }
  const { pin, oldPin } = args as { pin?: unknown; oldPin?: unknown };
  return pin === null || oldPin === null;
}
