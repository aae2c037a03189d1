/**
 * Who is logged in to a token. PKCS#11 has one login per application and token (5.6.8): all sessions share it.
 * @module
 */
import { CKS, CKU } from "../spec/objects.ts";
import { CryptokiError, failedWith } from "./errors.ts";
import { type PinSupply, withPin } from "./pin.ts";
import type { Structure, Ulong } from "./port.ts";
import { isSameToken } from "./same-token.ts";
import type { LastingSession } from "./session/lasting.ts";
import { isGone } from "./session/lost.ts";
import type { Token } from "./token.ts";

/** Who works with the token. */
export type Role = "USER" | "SO";

export class Logins {
  readonly #token: Token;
  #role: Role | undefined;
  #count = 0;
  #ours = false;
  /** Whether the SO has the user's session for a while, see {@link asSo}. */
  #lent = false;
  /** Open sessions whose PIN the token took, so that it may be sent once more; any login that fails empties it. */
  readonly #trusted = new Set<LastingSession>();
  /** Whether it was a failed login that left none. */
  #hasFailed = false;
  /** Whether a session that was made anew has logged in: then the one that logs out may be one that was not. */
  #isAnew = false;
  /** The end of the login or logout that was asked for last: one at a time, in that order. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(token: Token) {
    this.#token = token;
  }

  /** Runs a login or logout after those that were asked for before. */
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const answer = this.#turn.then(task);
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  /** A session that wants a role: logs in unless somebody is. @throws CryptokiError from C_Login */
  enter(session: LastingSession, role: Role): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#lent || (this.#role !== undefined && this.#role !== role)) {
        throw new CryptokiError(
          "C_Login",
          "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
          `${this.#lent ? "SO" : this.#role} is logged in to ${this.#token.uri}`,
        );
      }
      const { handle, pin } = session;
      if (this.#role === undefined || (await this.#loggedIn(handle)) === undefined) {
        if (await this.#send(role, handle, pin)) this.#trust(session);
      }
      this.#count += 1;
    });
  }

  /**
   * A session that was made anew, and whose role was logged in before. Sends only a PIN that the token took, asked for
   * again where it comes from, and none at all after a login that failed.
   * @param handle its new PKCS#11 session
   */
  enterAgain(session: LastingSession, handle: Ulong): Promise<void> {
    return this.#inTurn(async () => {
      const { user: role } = session;
      if (role === undefined || !session.isOpen) return;
      const now = await this.#loggedIn(handle);
      if (this.#lent || (now !== undefined && now !== role)) {
        throw new CryptokiError("C_Login", "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", `${now} is logged in`);
      }
      if (now === role) return;
      const trusted = this.#trusted.has(session) ? session : [...this.#trusted].find(({ user }) => user === role);
      if (trusted === undefined) throw this.#notSent();
      await this.#send(role, handle, trusted.pin);
      this.#isAnew = true;
    });
  }

  #notSent(): CryptokiError {
    const why = this.#hasFailed
      ? "no PIN was sent: a login failed since, or the PIN was changed"
      : "no PIN was sent: the one of this session was never compared, for it shared the login of another";
    const hints = ["end it, and log in in a new one (withSession) with the right PIN"];
    return new CryptokiError("C_Login", "CKR_USER_NOT_LOGGED_IN", why, { hints });
  }

  /** Who is logged in where a session is: the login goes with the token, and with a module that crashed. */
  async #loggedIn(session: Ulong): Promise<Role | undefined> {
    const { info } = await this.#token.module.call("C_GetSessionInfo", { session });
    if (info.state === CKS.CKS_RO_PUBLIC_SESSION[0] || info.state === CKS.CKS_RW_PUBLIC_SESSION[0]) return undefined;
    return info.state === CKS.CKS_RW_SO_FUNCTIONS[0] ? "SO" : "USER";
  }

  /** Whether the token took the PIN; false where somebody is logged in, and it was not looked at. */
  async #send(role: Role, session: Ulong, pin: PinSupply | undefined): Promise<boolean> {
    const wasOurs = this.#role === role && this.#ours;
    this.#role = undefined;
    this.#ours = false;
    try {
      await this.#requireSameToken();
      await this.#login(session, CKU[`CKU_${role}`][0], pin);
      this.#ours = true;
      this.#role = role;
      return true;
    } catch (error) {
      // Another part of this process logged in through the same library; it logs out too.
      if (!failedWith(error, "CKR_USER_ALREADY_LOGGED_IN")) throw error;
      this.#ours = wasOurs;
      this.#role = role;
      return false;
    }
  }

  #login(session: Ulong, userType: number, pin: PinSupply | undefined): Promise<unknown> {
    return withPin(pin, this.#token, async (bytes) => {
      try {
        await this.#token.module.call("C_Login", { session, userType, pin: bytes });
      } catch (error) {
        if (!failedWith(error, ...NOT_COMPARED)) this.distrust();
        throw error;
      }
    });
  }

  /** A slot may have got another token since it was looked at, or another number: that token's tries are not ours to spend. */
  async #requireSameToken(): Promise<void> {
    const { module, slot, info, uri } = this.#token;
    let now: Structure<"tokenInfo">;
    try {
      now = (await module.call("C_GetTokenInfo", { slot })).info;
    } catch (error) {
      if (!(error instanceof CryptokiError)) throw error;
      // Whether a PIN may be sent to a token that does not tell what it is, is the guard's to say.
      return;
    }
    if (isSameToken(now, info)) return;
    throw new CryptokiError("C_Login", "CKR_TOKEN_NOT_PRESENT", `another token is where ${uri} was; no PIN was sent`, {
      hints: ["look which tokens there are now: module.tokens()"],
    });
  }

  #trust(session: LastingSession): void {
    this.#trusted.add(session);
    this.#hasFailed = false;
  }

  /** Sends no PIN again by itself: a login failed, or a PIN was changed. */
  distrust(): void {
    this.#trusted.clear();
    this.#hasFailed = true;
  }

  /** Gives the user's PIN for one use of a key (5.6.8). */
  async authenticate(session: LastingSession, handle: Ulong): Promise<void> {
    await this.#login(handle, CKU.CKU_CONTEXT_SPECIFIC[0], session.pin);
  }

  /** See {@link Token.loginAgain}. */
  loginAgain(session: LastingSession, pin: PinSupply): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#role !== "USER" || !this.#ours) return;
      await this.#token.module.call("C_Logout", { session: session.handle });
      this.#ours = false;
      await this.#send("USER", session.handle, pin);
    });
  }

  /** See {@link Token.asSo}. */
  async asSo<T>(session: LastingSession, pins: { so: PinSupply; user: PinSupply }, use: () => Promise<T>): Promise<T> {
    const { handle } = session;
    const { module, uri } = this.#token;
    await this.#inTurn(async () => {
      if (this.#lent || this.#role !== "USER" || this.#count !== 1) {
        throw new CryptokiError("C_Login", "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", `other sessions use ${uri}`);
      }
      await module.call("C_Logout", { session: handle });
      this.#lent = true;
    });
    try {
      await this.#inTurn(() => this.#send("SO", handle, pins.so));
      try {
        return await use();
      } finally {
        await this.#inTurn(async () => module.call("C_Logout", { session: handle }));
      }
    } finally {
      await this.#inTurn(async () => {
        this.#lent = false;
        await this.#send("USER", handle, pins.user);
      });
    }
  }

  /** A session that wants its role no more: the last one logs out. */
  leave(session: LastingSession): Promise<void> {
    return this.#inTurn(async () => {
      this.#count -= 1;
      this.#trusted.delete(session);
      if (this.#count > 0) return;
      const isAnew = this.#isAnew;
      this.#role = undefined;
      this.#isAnew = false;
      if (!this.#ours) return;
      try {
        if (!session.pool.isGone) {
          await this.#token.module.call("C_Logout", { session: session.handle });
          return;
        }
      } catch (error) {
        // The token went away or the session died: nobody is logged in, which is what was wanted.
        if (!(error instanceof CryptokiError)) throw error;
        if (!isGone(error)) return;
      }
      if (isAnew) await this.#logOutElsewhere(session).catch(() => undefined);
    });
  }

  /** The last session was gone and not made anew, but another one was, and has logged in. */
  async #logOutElsewhere({ flags }: LastingSession): Promise<void> {
    const { module, slot } = this.#token;
    const { session } = await module.call("C_OpenSession", { slot, flags });
    try {
      await module.call("C_Logout", { session });
    } finally {
      await module.call("C_CloseSession", { session });
    }
  }
}

/** With these no PIN was looked at. */
const NOT_COMPARED = [
  "CKR_CRYPTOKI_NOT_INITIALIZED",
  "CKR_SESSION_HANDLE_INVALID",
  "CKR_USER_ALREADY_LOGGED_IN",
  "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
] as const;
