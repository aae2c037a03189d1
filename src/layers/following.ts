/**
 * What the sessions of one application are doing, followed from outside: which slot each belongs to, and what was begun
 * with which key. A layer keeps what it needs to know of an operation (`T`) until that has ended.
 * @module
 */
import { after } from "../cryptoki/awaitable.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Mechanism, Reply, Structure, Ulong } from "../cryptoki/port.ts";
import { hasFlag, MECHANISM_FLAGS } from "../spec/flags.ts";
import { CANCELLED_BY, FUNCTION_OPERATIONS, type Ongoing } from "../spec/operations.ts";

interface FollowedSession<T> {
  slot: Ulong | undefined;
  token: Structure<"tokenInfo"> | undefined;
  readonly ongoing: Map<Ongoing, T>;
}

export class Following<T> {
  readonly #inner: Cryptoki;
  readonly #sessions = new Map<Ulong, FollowedSession<T>>();

  constructor(inner: Cryptoki) {
    this.#inner = inner;
  }

  /** What was begun in a session and is not over. */
  get(session: Ulong, ongoing: Ongoing): T | undefined {
    return this.#sessions.get(session)?.ongoing.get(ongoing);
  }

  /** Notes that something has begun; what was there is forgotten. */
  begin(session: Ulong, ongoing: Ongoing, what: T): void {
    this.#of(session).ongoing.set(ongoing, what);
  }

  end(session: Ulong, ongoing: Ongoing): void {
    this.#sessions.get(session)?.ongoing.delete(ongoing);
  }

  /** The token of a session, asked for once: a session does not outlive its token. */
  token(session: Ulong): Awaitable<Structure<"tokenInfo">> {
    const known = this.#sessions.get(session)?.token;
    if (known !== undefined) return known;
    return after(
      () => this.slot(session),
      (slot) =>
        after(
          () => this.#inner.call("C_GetTokenInfo", { slot }),
          ({ info }) => {
            this.#of(session).token = info;
            return info;
          },
        ),
    );
  }

  slot(session: Ulong): Awaitable<Ulong> {
    const known = this.#sessions.get(session)?.slot;
    if (known !== undefined) return known;
    return after(
      () => this.#inner.call("C_GetSessionInfo", { session }),
      ({ info }) => {
        this.#of(session).slot = info.slotID;
        return info.slotID;
      },
    );
  }

  /** Notes what a call that was answered has opened, closed, cancelled or ended. */
  answered<F extends FunctionName>(fn: F, args: Args<F>, reply: Reply<F>): void {
    const given = args as { session?: Ulong; slot?: Ulong; mechanism?: Mechanism | null; flags?: Ulong };
    switch (fn) {
      case "C_Initialize":
      case "C_Finalize":
        this.#sessions.clear();
        return;
      case "C_OpenSession": {
        const { session } = reply as Reply<"C_OpenSession">;
        this.#sessions.set(session, { slot: given.slot, token: undefined, ongoing: new Map() });
        return;
      }
      case "C_CloseSession":
        this.#sessions.delete(given.session!);
        return;
      case "C_CloseAllSessions":
        for (const [session, { slot }] of this.#sessions) if (slot === given.slot) this.#sessions.delete(session);
        return;
      case "C_SessionCancel":
        for (const [ongoing, flag] of Object.entries(CANCELLED_BY) as [Ongoing, keyof typeof MECHANISM_FLAGS][]) {
          if (hasFlag(Number(given.flags), MECHANISM_FLAGS[flag][0])) this.end(given.session!, ongoing);
        }
        return;
    }
    const { begins, continues = [], ends = false } = FUNCTION_OPERATIONS[fn];
    // 3.0, 5.6: an Init without a mechanism cancels.
    if (begins !== undefined && given.mechanism === null) this.end(given.session!, begins);
    if (ends && !toldSize(reply)) for (const ongoing of continues) this.end(given.session!, ongoing);
  }

  #of(session: Ulong): FollowedSession<T> {
    let known = this.#sessions.get(session);
    if (known === undefined) {
      known = { slot: undefined, token: undefined, ongoing: new Map() };
      this.#sessions.set(session, known);
    }
    return known;
  }
}

/** Whether a reply only says how many bytes there would be: then nothing has happened yet. */
export function toldSize(reply: object): boolean {
  const { output } = reply as { output?: object };
  return output !== undefined && "needed" in output;
}
