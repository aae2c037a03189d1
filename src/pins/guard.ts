/**
 * The PIN guard: a layer under every login. PIN tries are a budget: it never sends a PIN again that a token refused, and
 * never spends the last try while nobody is there.
 * @module
 */
import { CryptokiError, failedWith } from "../cryptoki/errors.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, PinTries, Reply, Structure, Ulong } from "../cryptoki/port.ts";
import { closeAtExit } from "../host/exit.ts";
import { hasFlag, TOKEN_FLAGS } from "../spec/flags.ts";
import { CKU } from "../spec/objects.ts";
import { identityOf, type PinMemory, type RoleMemory, recognise, refusal, type TokenIdentity } from "./memory.ts";

/** How many wrong PINs a role may still give. */
export type Tries = number | "unlimited" | "unknown";

export interface GuardOptions {
  readonly memory: PinMemory;
  /** Whether a person gives the PINs; then the last try is theirs to spend. */
  readonly attended: boolean;
  /** How the token is reached: module path, environment, `pReserved`. Tells tokens without serial apart. */
  readonly reach: string;
  /** Whether a family never locks, whatever its flags say. */
  readonly neverLocks?: (info: Structure<"tokenInfo">) => boolean;
  /** How many tries are left, for tokens that tell more than their flags do. */
  readonly tries?: PinTries["pinTries"];
  readonly now?: () => Date;
}

type Role = "USER" | "SO";

/** A Cryptoki whose logins are guarded. */
export function guardPins(inner: Cryptoki, options: GuardOptions): Cryptoki {
  const guard = new Guard(inner, options);
  return { call: (fn, args) => guard.call(fn, args) };
}

class Guard {
  readonly #inner: Cryptoki;
  readonly #options: GuardOptions;
  readonly #slots = new Map<Ulong, Ulong>();
  readonly #roles = new Map<Ulong, Role>();

  constructor(inner: Cryptoki, options: GuardOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    const own = this.#handlers[fn] as ((args: Args<F>) => Awaitable<Reply<F>>) | undefined;
    return own === undefined ? this.#inner.call(fn, args) : own(args);
  }

  readonly #handlers: { [F in FunctionName]?: (args: Args<F>) => Awaitable<Reply<F>> } = {
    C_OpenSession: async (args) => {
      const reply = await this.#inner.call("C_OpenSession", args);
      this.#slots.set(reply.session, args.slot);
      return reply;
    },
    C_CloseSession: async (args) => {
      this.#slots.delete(args.session);
      return this.#inner.call("C_CloseSession", args);
    },
    C_Login: async (args) => {
      const role = args.userType === CKU.CKU_SO[0] ? "SO" : "USER";
      const slot = this.#slots.get(args.session);
      const reply = await this.#attempt("C_Login", role, slot, args.pin, () => this.#inner.call("C_Login", args));
      if (slot !== undefined && args.userType !== CKU.CKU_CONTEXT_SPECIFIC[0]) this.#roles.set(slot, role);
      return reply;
    },
    C_Logout: async (args) => {
      const reply = await this.#inner.call("C_Logout", args);
      const slot = this.#slots.get(args.session);
      if (slot !== undefined) this.#roles.delete(slot);
      return reply;
    },
    C_SetPIN: async (args) => {
      const slot = this.#slots.get(args.session);
      // 5.5.9: it changes the PIN of whoever is logged in, or the user's when nobody is.
      const role = (slot === undefined ? undefined : this.#roles.get(slot)) ?? "USER";
      return this.#attempt("C_SetPIN", role, slot, args.oldPin, () => this.#inner.call("C_SetPIN", args));
    },
    C_InitPIN: async (args) => {
      const reply = await this.#inner.call("C_InitPIN", args);
      const slot = this.#slots.get(args.session);
      if (slot !== undefined) await this.#forget(slot, "USER");
      return reply;
    },
    C_InitToken: async (args) => {
      const info = await this.#info(args.slot);
      const before = info === undefined ? undefined : identityOf(info, this.#options.reach);
      const initialised = info !== undefined && hasFlag(Number(info.flags), TOKEN_FLAGS.CKF_TOKEN_INITIALIZED[0]);
      const send = () => this.#inner.call("C_InitToken", args);
      // A token that was never initialised has no SO PIN to compare: no try is spent.
      const reply = initialised ? await this.#attempt("C_InitToken", "SO", args.slot, args.pin, send) : await send();
      if (before !== undefined) {
        await this.#options.memory.remember(before, "USER", undefined);
        await this.#options.memory.remember(before, "SO", undefined);
      }
      return reply;
    },
  };

  async #info(slot: Ulong): Promise<Structure<"tokenInfo"> | undefined> {
    try {
      return (await this.#inner.call("C_GetTokenInfo", { slot })).info;
    } catch (error) {
      if (error instanceof CryptokiError) return undefined;
      throw error;
    }
  }

  async #forget(slot: Ulong, role: Role): Promise<void> {
    const info = await this.#info(slot);
    if (info !== undefined) await this.#options.memory.remember(identityOf(info, this.#options.reach), role, undefined);
  }

  /** Sends a PIN if that costs no try that it should not. */
  async #attempt<F extends "C_Login" | "C_SetPIN" | "C_InitToken">(
    fn: F,
    role: Role,
    slot: Ulong | undefined,
    pin: Uint8Array | null,
    send: () => Awaitable<Reply<F>>,
  ): Promise<Reply<F>> {
    const info = slot === undefined ? undefined : await this.#info(slot);
    // A PIN pad asks the person, whose tries are theirs; a session of another owner is refused by the module itself.
    if (pin === null || info === undefined) return send();
    const identity = identityOf(info, this.#options.reach);
    const { memory } = this.#options;
    const tries = await this.#tries(info, slot!, role);
    return this.#undisturbed(identity, async () => {
      const before = await this.#settle(identity, role, info, tries);
      await this.#refuseIfWasteful(fn, role, identity, before, tries, pin);
      const low = countLow(info, role);
      const at = this.#now().toISOString();
      await memory.remember(identity, role, { ...before, pending: { at, lowBefore: low } });
      try {
        const reply = await send();
        await memory.remember(identity, role, undefined);
        return reply;
      } catch (error) {
        const settled = { refused: before.refused, unattended: before.unattended };
        if (failedWith(error, "CKR_PIN_INCORRECT")) {
          const refused = [...settled.refused, await refusal(pin, this.#now())];
          const unattended = settled.unattended + (this.#options.attended ? 0 : 1);
          await memory.remember(identity, role, { refused, unattended });
        } else if (error instanceof CryptokiError && !isOutcomeUnknown(error)) {
          await memory.remember(identity, role, isEmpty(settled) ? undefined : settled);
        }
        throw error;
      }
    });
  }

  /** Keeps other logins to the token, and the end of this process, until the outcome is noted. */
  async #undisturbed<T>(identity: TokenIdentity, use: () => Promise<T>): Promise<T> {
    let isBusy = true;
    const forget = closeAtExit({ isBusy: () => isBusy, close: () => undefined });
    try {
      return await this.#options.memory.exclusively(identity, use);
    } finally {
      isBusy = false;
      forget();
    }
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date();
  }

  /**
   * A login whose outcome was never recorded (the process died, the reply was lost): a token that counts failures and
   * shows one now that it did not show before has refused it; otherwise it was right, or spent no try.
   */
  async #settle(identity: TokenIdentity, role: Role, info: Structure<"tokenInfo">, tries: Tries): Promise<RoleMemory> {
    const memory = await this.#options.memory.recall(identity, role);
    if (memory.pending === undefined) return memory;
    const { pending, ...rest } = memory;
    // Where the count is known, it is what decides.
    const failed = tries === "unknown" && countLow(info, role) && !pending.lowBefore;
    return failed ? { ...rest, unattended: rest.unattended + 1 } : rest;
  }

  #neverLocks(info: Structure<"tokenInfo">): boolean {
    return this.#options.neverLocks?.(info) === true;
  }

  async #refuseIfWasteful(
    fn: FunctionName,
    role: Role,
    identity: TokenIdentity,
    memory: RoleMemory,
    tries: Tries,
    pin: Uint8Array,
  ): Promise<void> {
    const who = role === "SO" ? "SO PIN" : "user PIN";
    const forget = `if the token's PIN was changed since: keywright pin forget ${identity.label || identity.model}`;
    const remembered = await recognise(pin, memory.refused);
    if (remembered !== undefined) {
      throw new CryptokiError(
        fn,
        "CKR_PIN_INCORRECT",
        `not sent: ${identity.label} refused this ${who} on ${remembered.at}`,
        {
          hints: ["correct the PIN where it comes from", forget],
        },
      );
    }
    if (tries === 0)
      throw new CryptokiError(fn, "CKR_PIN_LOCKED", `not sent: the ${who} of ${identity.label} is locked`);
    if (this.#options.attended || tries === "unlimited") return;
    if (typeof tries === "number" && tries < 2) {
      throw new CryptokiError(
        fn,
        "CKR_PIN_INCORRECT",
        `not sent: it would be the last try of the ${who} of ${identity.label}`,
        {
          hints: ["give the right PIN yourself, at a terminal: that resets the token's count"],
        },
      );
    }
    if (tries === "unknown" && memory.unattended > 0) {
      throw new CryptokiError(
        fn,
        "CKR_PIN_INCORRECT",
        `not sent: a login as ${role} failed at ${identity.label} while nobody was there, and how many tries are left is not known`,
        { hints: ["log in once yourself, at a terminal, with the right PIN", forget] },
      );
    }
  }

  /** A token's own count where it tells one; else its flags, which tell of the last try and of none. */
  async #tries(info: Structure<"tokenInfo">, slot: Ulong, role: Role): Promise<Tries> {
    const flags = Number(info.flags);
    if (this.#neverLocks(info)) return "unlimited";
    if (hasFlag(flags, TOKEN_FLAGS[`CKF_${role}_PIN_LOCKED`][0])) return 0;
    if (hasFlag(flags, TOKEN_FLAGS[`CKF_${role}_PIN_FINAL_TRY`][0])) return 1;
    return (await this.#options.tries?.(slot, role)) ?? "unknown";
  }
}

function countLow(info: Structure<"tokenInfo">, role: Role): boolean {
  return hasFlag(Number(info.flags), TOKEN_FLAGS[`CKF_${role}_PIN_COUNT_LOW`][0]);
}

/** Whether the token may have taken the login although it answered with a failure. */
function isOutcomeUnknown(error: CryptokiError): boolean {
  return error.is(
    "CKR_DEVICE_ERROR",
    "CKR_DEVICE_REMOVED",
    "CKR_FUNCTION_FAILED",
    "CKR_GENERAL_ERROR",
    "CKR_HOST_MEMORY",
  );
}

function isEmpty(memory: RoleMemory): boolean {
  return memory.refused.length === 0 && memory.unattended === 0;
}
