/**
 * PINs stay home: a layer that logs in on behalf of programs that have no PIN.
 *
 * To them the token asks for its PIN itself (CKF_PROTECTED_AUTHENTICATION_PATH): a login without a PIN is answered with one
 * from here. A PIN that a program sends all the same (pkcs11-tool --pin, ssh-add) goes nowhere and is wiped, and whatever
 * sets a PIN is refused. That is CKR_FUNCTION_REJECTED, no CKR_PIN_…: at those people take their PIN for wrong, and type
 * another one.
 * @module
 */

import { after } from "../cryptoki/awaitable.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Pin } from "../cryptoki/pin.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Reply, Structure, Ulong } from "../cryptoki/port.ts";
import { hasFlag, TOKEN_FLAGS } from "../spec/flags.ts";
import { CKS, CKU } from "../spec/objects.ts";

export interface UnlockOptions {
  /** The user PIN of the token in a slot; wiped after the login. */
  readonly pin: (slot: Ulong, info: Structure<"tokenInfo">) => Awaitable<Pin>;
  /** Told why a program was not logged in, or refused: to it goes a return value alone. Never has a PIN in it. */
  readonly log: (error: Error) => void;
}

const PAD = TOKEN_FLAGS.CKF_PROTECTED_AUTHENTICATION_PATH[0];

/** The layer. The PIN guard has to be under it. */
export function unlock(options: UnlockOptions): (inner: Cryptoki) => Cryptoki {
  return (inner) => {
    const unlocking = new Unlocking(inner, options);
    return { call: (fn, args) => unlocking.call(fn, args) };
  };
}

/** Not by `|`, which makes 0x80000000 negative. */
function withPad(flags: Ulong): Ulong {
  if (hasFlag(Number(flags), PAD)) return flags;
  return typeof flags === "bigint" ? flags + BigInt(PAD) : flags + PAD;
}

class Unlocking {
  readonly #inner: Cryptoki;
  readonly #options: UnlockOptions;
  /** By slot: the last login. Two at the same time would ask a person twice. */
  readonly #logins = new Map<Ulong, Promise<unknown>>();

  constructor(inner: Cryptoki, options: UnlockOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    const own = this.#handlers[fn] as ((args: Args<F>) => Awaitable<Reply<F>>) | undefined;
    return own === undefined ? this.#inner.call(fn, args) : own(args);
  }

  readonly #handlers: { [F in FunctionName]?: (args: Args<F>) => Awaitable<Reply<F>> } = {
    C_GetTokenInfo: (args) =>
      after(
        () => this.#inner.call("C_GetTokenInfo", args),
        ({ info }) => ({ info: { ...info, flags: withPad(info.flags) } }),
      ),
    C_Login: (args) => {
      const { session, userType, pin } = args;
      const isAgain = userType === CKU.CKU_CONTEXT_SPECIFIC[0];
      // Of the SO and a vendor's other roles the user's PIN would only cost tries.
      if (!isAgain && userType !== CKU.CKU_USER[0])
        return this.#refuse("C_Login", args, "only the user logs in from there");
      if (pin !== null) return this.#refuse("C_Login", args, SENT);
      return this.#login(session, userType, isAgain);
    },
    C_LoginUser: (args) => this.#refuse("C_LoginUser", args, "users are not named from there"),
    C_SetPIN: (args) => this.#refuse("C_SetPIN", args, "PINs are not set from there"),
    C_InitPIN: (args) => this.#refuse("C_InitPIN", args, "PINs are not set from there"),
    C_InitToken: (args) => this.#refuse("C_InitToken", args, "tokens are not initialised from there"),
  };

  #refuse<F extends FunctionName>(fn: F, args: Args<F>, detail: string): never {
    for (const [name, value] of Object.entries(args)) {
      if (/pin$/i.test(name) && value instanceof Uint8Array) value.fill(0);
    }
    throw this.#told(new CryptokiError(fn, "CKR_FUNCTION_REJECTED", detail, { hints: HINTS }));
  }

  #told(error: Error): Error {
    this.#options.log(error);
    return error;
  }

  async #login(session: Ulong, userType: Ulong, isAgain: boolean): Promise<Reply<"C_Login">> {
    const { slotID } = await this.#sessionInfo(session);
    const before = this.#logins.get(slotID);
    const login = (async () => {
      await before?.catch(() => undefined);
      return this.#logInNow(session, userType, isAgain);
    })();
    this.#logins.set(slotID, login);
    try {
      return await login;
    } finally {
      if (this.#logins.get(slotID) === login) this.#logins.delete(slotID);
    }
  }

  async #logInNow(session: Ulong, userType: Ulong, isAgain: boolean): Promise<Reply<"C_Login">> {
    const { slotID, state } = await this.#sessionInfo(session);
    // Told before a person is asked. At CKU_CONTEXT_SPECIFIC the user is logged in, and is asked again for this one use.
    if (!isAgain && IN_AS_USER.has(Number(state))) throw new CryptokiError("C_Login", "CKR_USER_ALREADY_LOGGED_IN");
    const { info } = await this.#inner.call("C_GetTokenInfo", { slot: slotID });
    if (hasFlag(Number(info.flags), PAD)) return this.#inner.call("C_Login", { session, userType, pin: null });
    const pin = await this.#pin(slotID, info);
    try {
      return await pin.use((bytes) => this.#inner.call("C_Login", { session, userType, pin: bytes }));
    } catch (error) {
      if (error instanceof CryptokiError && error.isPin) this.#told(error);
      throw error;
    } finally {
      pin.wipe();
    }
  }

  async #pin(slot: Ulong, info: Structure<"tokenInfo">): Promise<Pin> {
    try {
      return await this.#options.pin(slot, info);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#told(error);
      // As at a token's own keypad, when nobody types there.
      throw new CryptokiError("C_Login", "CKR_FUNCTION_CANCELED", "there is no PIN", { cause: error });
    }
  }

  async #sessionInfo(session: Ulong): Promise<Structure<"sessionInfo">> {
    try {
      return (await this.#inner.call("C_GetSessionInfo", { session })).info;
    } catch (error) {
      if (!(error instanceof CryptokiError)) throw error;
      throw new CryptokiError("C_Login", error.rv, error.detail, { cause: error, hints: [...error.hints] });
    }
  }
}

const IN_AS_USER: ReadonlySet<number> = new Set([CKS.CKS_RO_USER_FUNCTIONS[0], CKS.CKS_RW_USER_FUNCTIONS[0]]);

const SENT = "a PIN was sent, which went nowhere";
const HINTS = ["the PIN is given here: let the program log in without one, as at a token with a keypad of its own"];
