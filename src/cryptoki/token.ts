/**
 * A token: who is logged in, and sessions that close by themselves. Clauses are of PKCS#11 3.1.
 * @module
 */
import { utf8 } from "../codec/bytes.ts";
import { hasFlag, SESSION_FLAGS, TOKEN_FLAGS } from "../spec/flags.ts";
import { FLAG, FUNCTION, members, oneOf, optional, requireArguments, TEXT } from "./arguments.ts";
import { failedWith, KeywrightError } from "./errors.ts";
import { Logins, type Role } from "./logins.ts";
import type { Module } from "./module.ts";
import { PIN_SUPPLY, type PinSupply, withPin } from "./pin.ts";
import type { Awaitable, Structure, Ulong } from "./port.ts";
import { Session } from "./session/session.ts";
import { formatUri, tokenUri } from "./uri.ts";

export interface SessionOptions {
  /** Logs in before and out after; without it the session sees public objects only. */
  readonly user?: Role;
  /** Asked for only when a login is sent: not on a token with a PIN pad, nor when another session has logged in. */
  readonly pin?: PinSupply | undefined;
  /** Opens the session read-write; the SO's always is. */
  readonly write?: boolean;
  /**
   * Whether the session makes itself anew when its token, its daemon or its library's process was gone; true by default.
   * Then object handles change; a program that keeps handles in place of objects says false, and gets the errors.
   */
  readonly reconnect?: boolean;
}

const ROLE = oneOf("USER", "SO");
const SESSION_OPTIONS = members({
  user: optional(ROLE),
  pin: optional(PIN_SUPPLY),
  write: optional(FLAG),
  reconnect: optional(FLAG),
});

/** A label that does not fit a token. */
export class LabelError extends KeywrightError {
  override readonly code = "ERR_LABEL";
}

/** A token in a slot. Its login state belongs to the whole application: PKCS#11 has one per token (5.6.8). */
export class Token {
  readonly module: Module;
  /** CK_TOKEN_INFO, as last read. */
  info: Structure<"tokenInfo">;
  #slot: Ulong;
  /** @internal */
  readonly logins: Logins = new Logins(this);

  /** @internal Tokens come from a Module. */
  constructor(module: Module, slot: Ulong, info: Structure<"tokenInfo">) {
    this.module = module;
    this.#slot = slot;
    this.info = info;
  }

  /** The slot that it is in, as last seen. */
  get slot(): Ulong {
    return this.#slot;
  }

  /** @internal It was seen there. */
  seenIn(slot: Ulong, info: Structure<"tokenInfo">): void {
    this.#slot = slot;
    this.info = info;
  }

  /** The token's URI, as text. */
  get uri(): string {
    return formatUri(tokenUri(this.info));
  }

  /** Whether a flag of CK_TOKEN_INFO was set when it was last read. */
  has(flag: keyof typeof TOKEN_FLAGS): boolean {
    return hasFlag(Number(this.info.flags), TOKEN_FLAGS[flag][0]);
  }

  /** Reads CK_TOKEN_INFO again. */
  async refresh(): Promise<this> {
    this.info = (await this.module.call("C_GetTokenInfo", { slot: this.slot })).info;
    return this;
  }

  /**
   * Opens a session, runs `use` and closes it, whatever happens. Logins are counted: the token is logged out when the
   * last session that wanted the login ends, so two of these at once never log each other out. The PIN is sent only when
   * nobody is logged in: PKCS#11 has one login per application and token, and whoever comes second shares it unchecked.
   * What is still under way when `use` ends is cut off: its session is closed.
   * @throws CryptokiError from C_OpenSession or C_Login
   */
  async withSession<T>(options: SessionOptions, use: (session: Session) => Awaitable<T>): Promise<T> {
    requireArguments("token.withSession", { options: [options, SESSION_OPTIONS], use: [use, FUNCTION] });
    const write = options.write === true || options.user === "SO";
    const flags = SESSION_FLAGS.CKF_SERIAL_SESSION[0] | (write ? SESSION_FLAGS.CKF_RW_SESSION[0] : 0);
    const { session: handle } = await this.module.call("C_OpenSession", { slot: this.slot, flags });
    const { user, pin, reconnect = true } = options;
    const session = new Session(this, handle, { flags, user, pin, reconnects: reconnect });
    try {
      if (user !== undefined) await this.logins.enter(session, user);
      try {
        return await use(session);
      } finally {
        session.end();
        if (user !== undefined) await this.logins.leave(session);
      }
    } finally {
      await session.close();
    }
  }

  /**
   * Logs the user out and in again, for tokens that hold on to keys until then. Does nothing where another part of this
   * process has logged in. @throws CryptokiError from C_Login; nobody is logged in then
   */
  loginAgain(session: Session, pin: PinSupply): Promise<void> {
    return this.logins.loginAgain(session, pin);
  }

  /**
   * Lets the SO use a session in which the user is logged in, and logs the user in again: PKCS#11 has one login per token.
   * The session must be the only one, and read-write. Handles of private objects may change over it.
   * @throws CryptokiError from C_Login; after one as the user nobody is logged in
   */
  asSo<T>(session: Session, pins: { so: PinSupply; user: PinSupply }, use: () => Promise<T>): Promise<T> {
    return this.logins.asSo(session, pins, use);
  }

  #withPin<T>(pin: PinSupply | undefined, use: (bytes: Uint8Array | null) => Awaitable<T>): Promise<T> {
    return withPin(pin, this, use);
  }

  /**
   * Initialises the token: destroys every object in it and sets its label (5.5.7). A new token takes the SO PIN given;
   * one that was initialised before wants the SO PIN it has.
   * @param label at most 32 bytes of UTF-8
   */
  async initialise(label: string, soPin: PinSupply): Promise<void> {
    requireArguments("token.initialise", { label: [label, TEXT], soPin: [soPin, optional(PIN_SUPPLY)] });
    const bytes = utf8(label);
    if (bytes.length > 32)
      throw new LabelError(`label ${JSON.stringify(label)} has ${bytes.length} bytes, at most 32 fit`);
    await this.#withPin(soPin, (pin) => this.module.call("C_InitToken", { slot: this.slot, pin, label: bytes }));
    await this.refresh();
  }

  /** Sets the user PIN as the SO (5.5.8). */
  async initialisePin(soPin: PinSupply, userPin: PinSupply): Promise<void> {
    requireArguments("token.initialisePin", {
      soPin: [soPin, optional(PIN_SUPPLY)],
      userPin: [userPin, optional(PIN_SUPPLY)],
    });
    await this.withSession({ user: "SO", pin: soPin }, (session) =>
      this.#withPin(userPin, (pin) => this.module.call("C_InitPIN", { session: session.handle, pin })),
    );
    this.logins.distrust();
    await this.refresh();
  }

  /** Changes the PIN of the user, or of the SO, who gives the old one (5.5.9). */
  async changePin(role: Role, oldPin: PinSupply, newPin: PinSupply): Promise<void> {
    requireArguments("token.changePin", {
      role: [role, ROLE],
      oldPin: [oldPin, optional(PIN_SUPPLY)],
      newPin: [newPin, optional(PIN_SUPPLY)],
    });
    const change = (session: Session) =>
      this.#withPin(oldPin, (before) =>
        this.#withPin(newPin, (next) =>
          this.module.call("C_SetPIN", { session: session.handle, oldPin: before, newPin: next }),
        ),
      );
    // C_SetPIN in a session where nobody is logged in changes the user's PIN; the SO must be logged in for theirs.
    const loggedIn = () => this.withSession({ user: role, pin: oldPin, write: true }, change);
    if (role === "SO") await loggedIn();
    else {
      await this.withSession({ write: true }, change).catch((error: unknown) => {
        // NSS wants the user logged in too, and looks at no PIN before.
        if (!failedWith(error, "CKR_USER_NOT_LOGGED_IN")) throw error;
        return loggedIn();
      });
    }
    this.logins.distrust();
    await this.refresh();
  }
}
