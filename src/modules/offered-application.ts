/**
 * One application of what is offered: numbers of slots and sessions in, those of the modules out.
 * @module
 */
import { after, isPromise } from "../cryptoki/awaitable.ts";
import { CryptokiError, failedWith } from "../cryptoki/errors.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Reply, Structure, Ulong } from "../cryptoki/port.ts";
import { IDENTITY } from "../softtoken/identity.ts";
import { CALL_FLAGS, hasFlag, SLOT_FLAGS } from "../spec/flags.ts";
import { SlotEvents } from "./slot-events.ts";
import { type Choice, notPresent, offeredToken, type Place, type SlotNumbers } from "./slots.ts";

/** A module's application, and what is offered of it. */
export interface Inner extends Choice {
  readonly cryptoki: Cryptoki;
}

interface OpenSession {
  readonly inner: Cryptoki;
  /** Its number in the module. */
  readonly real: Ulong;
  /** Its slot's number here. */
  readonly slot: number;
}

export class OfferedApplication implements Cryptoki {
  readonly #inner: readonly Inner[];
  readonly #numbers: SlotNumbers;
  readonly #sessions = new Map<Ulong, OpenSession>();
  #events = new SlotEvents([]);
  #lastSession = 0;
  #state: "new" | "starting" | "initialised" | "ended" = "new";

  constructor(inner: readonly Inner[], numbers: SlotNumbers) {
    this.#inner = inner;
    this.#numbers = numbers;
  }

  /** What comes now is refused. The modules' applications are ended by who has them. */
  end(): void {
    this.#state = "ended";
    this.#sessions.clear();
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    if (this.#state !== "initialised" && fn !== "C_Initialize") {
      throw new CryptokiError(fn, "CKR_CRYPTOKI_NOT_INITIALIZED");
    }
    const own = this.#handlers[fn] as ((args: Args<F>) => Awaitable<Reply<F>>) | undefined;
    if (own !== undefined) return own(args);
    const { session } = args as { session?: Ulong };
    if (session !== undefined) {
      const { inner, real } = this.#session(fn, session);
      return inner.call(fn, { ...args, session: real });
    }
    const { slot } = args as { slot?: Ulong };
    if (slot === undefined) throw new CryptokiError(fn, "CKR_FUNCTION_NOT_SUPPORTED");
    return this.#inSlot(fn, slot, ({ cryptoki }, real) => cryptoki.call(fn, { ...args, slot: real }));
  }

  readonly #handlers: { [F in FunctionName]?: (args: Args<F>) => Awaitable<Reply<F>> } = {
    // `pReserved` of a client is for the module that it loaded; ours have their own.
    C_Initialize: () => this.#initialise(),
    C_Finalize: () => {
      this.#state = "new";
      this.#sessions.clear();
      return after(
        () => inTurn(this.#inner, ({ cryptoki }) => finalise(cryptoki)),
        () => ({}),
      );
    },
    C_GetInfo: () =>
      after(
        () => inTurn(this.#inner, ({ cryptoki }) => cryptoki.call("C_GetInfo", {})),
        (replies) => ({ info: { ...INFO, cryptokiVersion: lowest(replies.map(({ info }) => info.cryptokiVersion)) } }),
      ),
    C_GetSlotList: ({ tokenPresent }) =>
      after(
        () => inTurn([...this.#inner.keys()], (module) => this.#slotsOf(module, tokenPresent)),
        (lists) => ({ slots: lists.flat().sort((a, b) => a - b) }),
      ),
    C_GetSlotInfo: ({ slot }) =>
      this.#at("C_GetSlotInfo", slot, ({ cryptoki, ...choice }, real) =>
        after(
          () => cryptoki.call("C_GetSlotInfo", { slot: real }),
          ({ info }) =>
            after(
              () => offeredToken(cryptoki, real, choice),
              (token) => ({ info: token === undefined ? empty(info) : info }),
            ),
        ),
      ),
    C_GetTokenInfo: ({ slot }) => this.#inSlot("C_GetTokenInfo", slot, (_inner, _real, info) => ({ info })),
    C_OpenSession: (args) =>
      this.#inSlot("C_OpenSession", args.slot, ({ cryptoki }, real) =>
        after(
          () => cryptoki.call("C_OpenSession", { ...args, slot: real }),
          (reply) => ({ ...reply, session: this.#opened(cryptoki, reply.session, Number(args.slot)) }),
        ),
      ),
    C_CloseSession: ({ session }) => {
      const { inner, real } = this.#session("C_CloseSession", session);
      return after(
        () => inner.call("C_CloseSession", { session: real }),
        (reply) => {
          this.#sessions.delete(session);
          return reply;
        },
        (error) => {
          if (failedWith(error, "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED")) this.#sessions.delete(session);
          throw error;
        },
      );
    },
    C_CloseAllSessions: ({ slot }) =>
      this.#at("C_CloseAllSessions", slot, ({ cryptoki }, real) =>
        after(
          () => cryptoki.call("C_CloseAllSessions", { slot: real }),
          (reply) => {
            for (const [number, open] of this.#sessions) if (open.slot === Number(slot)) this.#sessions.delete(number);
            return reply;
          },
        ),
      ),
    C_GetSessionInfo: ({ session }) => {
      const { inner, real, slot } = this.#session("C_GetSessionInfo", session);
      return after(
        () => inner.call("C_GetSessionInfo", { session: real }),
        ({ info }) => ({ info: { ...info, slotID: slot } }),
      );
    },
    C_WaitForSlotEvent: ({ flags }) => {
      const isOffered = (place: Place) => this.#numberOf(place);
      if (hasFlag(Number(flags), CALL_FLAGS.CKF_DONT_BLOCK[0])) return this.#events.poll(isOffered);
      return this.#events.wait(isOffered);
    },
  };

  #initialise(): Awaitable<Reply<"C_Initialize">> {
    if (this.#state === "ended") throw new CryptokiError("C_Initialize", "CKR_FUNCTION_FAILED", "the connection ended");
    if (this.#state !== "new") throw new CryptokiError("C_Initialize", "CKR_CRYPTOKI_ALREADY_INITIALIZED");
    this.#state = "starting";
    this.#events = new SlotEvents(this.#inner.map(({ cryptoki }) => cryptoki));
    const begun: Cryptoki[] = [];
    return after(
      () =>
        inTurn(this.#inner, ({ cryptoki }) => {
          begun.push(cryptoki);
          return cryptoki.call("C_Initialize", { args: {} });
        }),
      () => {
        if (this.#state === "starting") this.#state = "initialised";
        return {};
      },
      (error) =>
        after(
          () => inTurn(begun.slice(0, -1), finalise),
          () => {
            if (this.#state === "starting") this.#state = "new";
            throw error;
          },
        ),
    );
  }

  #session(fn: FunctionName, session: Ulong): OpenSession {
    const open = this.#sessions.get(session);
    if (open === undefined) throw new CryptokiError(fn, "CKR_SESSION_HANDLE_INVALID");
    return open;
  }

  #opened(inner: Cryptoki, real: Ulong, slot: number): number {
    // A module may give the number of a session that it closed itself to another one.
    for (const [number, open] of this.#sessions) {
      if (open.inner === inner && open.real === real) this.#sessions.delete(number);
    }
    this.#lastSession += 1;
    this.#sessions.set(this.#lastSession, { inner, real, slot });
    return this.#lastSession;
  }

  /** Runs a call in a slot whose token is offered, with what the token says of itself. */
  #inSlot<T>(
    fn: FunctionName,
    slot: Ulong,
    use: (inner: Inner, real: Ulong, info: Structure<"tokenInfo">) => Awaitable<T>,
  ): Awaitable<T> {
    return this.#at(fn, slot, (inner, real) =>
      after(
        () => offeredToken(inner.cryptoki, real, inner),
        (info) => {
          if (info === undefined) throw notPresent(fn);
          return use(inner, real, info);
        },
      ),
    );
  }

  /** Runs a call in a slot that has or had an offered token; looks around first for one that nobody asked for yet. */
  #at<T>(fn: FunctionName, slot: Ulong, use: (inner: Inner, real: Ulong) => Awaitable<T>): Awaitable<T> {
    const found = (place: Place | undefined) => {
      if (place === undefined) throw new CryptokiError(fn, "CKR_SLOT_ID_INVALID");
      return use(this.#inner[place.module]!, place.slot);
    };
    const place = this.#numbers.at(slot);
    if (place !== undefined) return found(place);
    return after(
      () => inTurn([...this.#inner.keys()], (module) => this.#slotsOf(module, true)),
      () => found(this.#numbers.at(slot)),
    );
  }

  /** The numbers of a module's slots with offered tokens; with `tokenPresent` false also of those that had one. */
  #slotsOf(module: number, tokenPresent: boolean): Awaitable<number[]> {
    const { cryptoki } = this.#inner[module]!;
    return after(
      () => cryptoki.call("C_GetSlotList", { tokenPresent }),
      ({ slots }) =>
        after(
          () => inTurn(slots, (slot) => this.#numberOf({ module, slot }, tokenPresent)),
          (found) => found.filter((number) => number !== undefined),
        ),
    );
  }

  /** @param isNow whether the token has to be there now; otherwise one that was there will do */
  #numberOf(place: Place, isNow = false): Awaitable<number | undefined> {
    const known = isNow ? undefined : this.#numbers.known(place);
    if (known !== undefined) return known;
    const { cryptoki, ...choice } = this.#inner[place.module]!;
    return after(
      () => offeredToken(cryptoki, place.slot, choice),
      (token) => (token === undefined ? undefined : this.#numbers.of(place)),
    );
  }
}

/** Each in turn; at once where each answers at once. */
function inTurn<T, R>(all: readonly T[], use: (one: T) => Awaitable<R>): Awaitable<R[]> {
  const results: R[] = [];
  const goOn = (from: number): Awaitable<R[]> => {
    for (let index = from; index < all.length; index++) {
      const result = use(all[index]!);
      if (!isPromise(result)) results.push(result);
      else {
        return result.then((value) => {
          results.push(value);
          return goOn(index + 1);
        });
      }
    }
    return results;
  };
  return goOn(0);
}

function finalise(cryptoki: Cryptoki): Awaitable<unknown> {
  return after(
    () => cryptoki.call("C_Finalize", {}),
    () => undefined,
    (error) => {
      // Its process is gone, or ended while it finalised: it has nothing any more.
      if (!failedWith(error, "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_DEVICE_REMOVED")) throw error;
    },
  );
}

const INFO = {
  manufacturerID: IDENTITY.manufacturer,
  flags: 0,
  libraryDescription: "Keywright, offered tokens",
  libraryVersion: IDENTITY.libraryVersion,
} as const;

/** What every module knows. */
function lowest(versions: readonly Structure<"info">["cryptokiVersion"][]): Structure<"info">["cryptokiVersion"] {
  const [first = IDENTITY.cryptokiVersion] = [...versions].sort((a, b) => a.major - b.major || a.minor - b.minor);
  return first;
}

/** A slot with a token that is not offered is empty. */
function empty(info: Structure<"slotInfo">): Structure<"slotInfo"> {
  const present = SLOT_FLAGS.CKF_TOKEN_PRESENT[0];
  const { flags } = info;
  if (!hasFlag(Number(flags), present)) return info;
  return { ...info, flags: typeof flags === "bigint" ? flags - BigInt(present) : flags - present };
}
