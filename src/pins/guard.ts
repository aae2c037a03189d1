/**
 * The PIN guard: a layer under every login. PIN tries are a budget: it never sends a PIN again that a token refused, and
 * never spends the last try while nobody is there.
 * @module
 */
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, PinTries, Reply, Structure, Ulong } from "../cryptoki/port.ts";
import { endingWaitsFor } from "../host/exit.ts";
import { hasFlag, TOKEN_FLAGS } from "../spec/flags.ts";
import { CKS, CKU } from "../spec/objects.ts";
import { identityOf, type PinMemory, type RoleMemory, recognise, refusal, type TokenIdentity } from "./memory.ts";
import { outcomeOf, refused, unsent, wasteful } from "./refusals.ts";

/** How many wrong PINs a role may still give. */
export type Tries = number | "unlimited" | "unknown";

/** What PINs of a family of tokens are like. */
export interface PinHabits {
  /** They never lock, whatever the token's flags say. */
  readonly neverLocks: boolean;
  /** CKF_USER_PIN_COUNT_LOW and CKF_SO_PIN_COUNT_LOW tell of every failure since the last success. */
  readonly showsFailures: boolean;
  /** Who else's wrong PINs count against this one; then CKR_PIN_LOCKED says nothing of the PIN that was sent. */
  readonly sharedTries?: string;
}

export interface GuardOptions {
  readonly memory: PinMemory;
  /** Whether a person types the PIN that this role logs in with; then the last try is theirs to spend. */
  readonly attended: (role: Role) => boolean;
  /** How the token is reached: module path, environment, `pReserved`. Tells tokens without serial apart. */
  readonly reach: string;
  /** What is known of the token's family; nothing where absent. */
  readonly habits?: (info: Structure<"tokenInfo">) => PinHabits;
  /** For tokens that tell more of their tries than their flags do. */
  readonly tries?: PinTries["pinTries"];
  /**
   * Whether another guard, where the token is, has these logins now. Two would wait for each other where they share a
   * state folder, and each would take the login that the other notes for one whose answer was lost.
   */
  readonly elsewhere?: () => boolean;
  readonly now?: () => Date;
}

type Role = "USER" | "SO";
type WithPin = "C_Login" | "C_LoginUser" | "C_SetPIN" | "C_InitToken";

/** A Cryptoki whose logins are guarded. */
export function guardPins(inner: Cryptoki, options: GuardOptions): Cryptoki {
  const guard = new Guard(inner, options);
  return { call: (fn, args) => guard.call(fn, args) };
}

class Guard {
  readonly #inner: Cryptoki;
  readonly #options: GuardOptions;

  constructor(inner: Cryptoki, options: GuardOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    const own = this.#handlers[fn] as ((args: Args<F>) => Awaitable<Reply<F>>) | undefined;
    return own === undefined ? this.#inner.call(fn, args) : own(args);
  }

  readonly #handlers: { [F in FunctionName]?: (args: Args<F>) => Awaitable<Reply<F>> } = {
    C_Login: (args) => this.#login("C_Login", args),
    C_LoginUser: (args) => this.#login("C_LoginUser", args),
    C_SetPIN: async (args) => {
      const send = () => this.#inner.call("C_SetPIN", args);
      if (args.oldPin === null) return send();
      const { slotID, state } = await this.#session("C_SetPIN", args.session);
      // 5.5.9: it changes the PIN of whoever is logged in, or the user's when nobody is.
      const role = Number(state) === CKS.CKS_RW_SO_FUNCTIONS[0] ? "SO" : "USER";
      return this.#attempt("C_SetPIN", role, slotID, args.oldPin, send);
    },
    C_InitPIN: async (args) => {
      const { slotID } = await this.#session("C_InitPIN", args.session);
      const info = await this.#info("C_InitPIN", slotID);
      const reply = await this.#inner.call("C_InitPIN", args);
      await this.#forget(info, "USER");
      return reply;
    },
    C_InitToken: async (args) => {
      const info = await this.#info("C_InitToken", args.slot);
      const isKnown = hasFlag(Number(info.flags), TOKEN_FLAGS.CKF_TOKEN_INITIALIZED[0]);
      const send = () => this.#inner.call("C_InitToken", args);
      // A token that was never initialised has no SO PIN to compare: no try is spent.
      const { pin, slot } = args;
      const reply = isKnown && pin !== null ? await this.#attempt("C_InitToken", "SO", slot, pin, send) : await send();
      // What was remembered under its old name, and of a namesake that was there before it.
      const after = await this.#info("C_InitToken", args.slot).catch(() => info);
      for (const one of [info, after]) for (const role of ["USER", "SO"] as const) await this.#forget(one, role);
      return reply;
    },
  };

  /** A PIN pad asks the person, whose tries are theirs. */
  async #login<F extends "C_Login" | "C_LoginUser">(fn: F, args: Args<"C_Login">): Promise<Reply<F>> {
    const send = () => this.#inner.call(fn, args as Args<F>);
    if (args.pin === null) return send();
    const { slotID } = await this.#session(fn, args.session);
    const role = args.userType === CKU.CKU_SO[0] ? "SO" : "USER";
    return this.#attempt(fn, role, slotID, args.pin, send);
  }

  /** Which token a session belongs to, and who is logged in. Asked each time: sessions may close without us. */
  async #session(fn: FunctionName, session: Ulong): Promise<Structure<"sessionInfo">> {
    try {
      return (await this.#inner.call("C_GetSessionInfo", { session })).info;
    } catch (error) {
      throw unsent(fn, "C_GetSessionInfo", error);
    }
  }

  async #info(fn: FunctionName, slot: Ulong): Promise<Structure<"tokenInfo">> {
    try {
      return (await this.#inner.call("C_GetTokenInfo", { slot })).info;
    } catch (error) {
      throw unsent(fn, "C_GetTokenInfo", error);
    }
  }

  async #forget(info: Structure<"tokenInfo">, role: Role): Promise<void> {
    await this.#options.memory.remember(identityOf(info, this.#options.reach), role, undefined);
  }

  /** Sends a PIN if that costs no try that it should not. */
  async #attempt<F extends WithPin>(
    fn: F,
    role: Role,
    slot: Ulong,
    pin: Uint8Array,
    send: () => Awaitable<Reply<F>>,
  ): Promise<Reply<F>> {
    if (this.#options.elsewhere?.() === true) return send();
    const identity = identityOf(await this.#info(fn, slot), this.#options.reach);
    const { memory } = this.#options;
    const attended = this.#options.attended(role);
    return this.#undisturbed(identity, async () => {
      // As it is now that nobody else logs in.
      const told = await this.#ask(fn, slot, role);
      const recalled = await memory.recall(identity, role);
      const before = settle(recalled, told);
      const remembered = await recognise(pin, before.refused);
      const waste = wasteful(fn, { role, identity, memory: before, remembered, tries: told.tries, attended });
      if (waste !== undefined) throw waste;
      // On disk before it is sent: this process may not live to see how it ends. Not where the next one could learn nothing
      // from that, and has no try to lose.
      const { habits } = told;
      const isPending = !attended && (habits.showsFailures || !habits.neverLocks);
      if (isPending) {
        const at = this.#now().toISOString();
        const pending = told.refused === undefined ? { at } : { at, refused: told.refused };
        await memory.remember(identity, role, { ...before, pending });
      }
      const isNoted = isPending || !isEmpty(recalled);
      try {
        const reply = await send();
        if (isNoted) await memory.remember(identity, role, undefined);
        return reply;
      } catch (error) {
        if (!(error instanceof CryptokiError)) throw error;
        const outcome = outcomeOf(error, habits);
        if (outcome === "refused") {
          await memory.remember(identity, role, {
            ...before,
            refused: [...before.refused, await refusal(pin, this.#now())],
            unattended: before.unattended + (attended ? 0 : 1),
          });
        } else if (outcome === "untried" && isNoted) {
          await memory.remember(identity, role, isEmpty(before) ? undefined : before);
        }
        throw refused(error, role, identity, habits);
      }
    });
  }

  /** Keeps other logins to the token, and the end of this process, until the outcome is noted. */
  #undisturbed<T>(identity: TokenIdentity, use: () => Promise<T>): Promise<T> {
    return endingWaitsFor(() => this.#options.memory.exclusively(identity, use));
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date();
  }

  /** What the token tells of a role's tries: its own count where there is one; else its flags, of the last try and of none. */
  async #ask(fn: FunctionName, slot: Ulong, role: Role): Promise<Told> {
    const info = await this.#info(fn, slot);
    const habits = this.#options.habits?.(info) ?? { neverLocks: false, showsFailures: false };
    const count = await this.#options.tries?.(slot, role);
    const has = (what: "LOCKED" | "FINAL_TRY" | "COUNT_LOW") =>
      hasFlag(Number(info.flags), TOKEN_FLAGS[`CKF_${role}_PIN_${what}`][0]);
    const left = has("LOCKED") ? 0 : has("FINAL_TRY") ? 1 : (count?.left ?? "unknown");
    return {
      habits,
      tries: habits.neverLocks ? "unlimited" : left,
      isLow: has("COUNT_LOW"),
      refused: count?.refused,
    };
  }
}

interface Told {
  readonly habits: PinHabits;
  readonly tries: Tries;
  /** CKF_…_PIN_COUNT_LOW. */
  readonly isLow: boolean;
  /** How many PINs it refused since the last right one, where it tells. */
  readonly refused: number | undefined;
}

/** What is remembered, without a login that was never answered if the token shows that it was no failure. */
function settle(memory: RoleMemory, { habits, isLow, refused }: Told): RoleMemory {
  const { pending, ...rest } = memory;
  if (pending === undefined) return memory;
  if (pending.refused !== undefined && refused !== undefined) return refused > pending.refused ? memory : rest;
  return habits.showsFailures && !isLow ? rest : memory;
}

function isEmpty(memory: RoleMemory): boolean {
  return memory.refused.length === 0 && memory.unattended === 0 && memory.pending === undefined;
}
