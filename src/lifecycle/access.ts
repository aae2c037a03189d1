/**
 * Reaching the declared tokens: each is opened once, searched for once and logged in to once.
 * @module
 */
import { CryptokiError, failedWith, KeywrightError } from "../cryptoki/errors.ts";
import type { Module } from "../cryptoki/module.ts";
import { type Pin, PinMissingError, type PinSupply } from "../cryptoki/pin.ts";
import type { Session } from "../cryptoki/session/session.ts";
import type { Token } from "../cryptoki/token.ts";
import { type Family, familyOfToken, WRITE_AS_USER } from "../families/families.ts";
import { HostError } from "../host/errors.ts";
import { declaredPins, type PinContext, pinFor, requireSources } from "../pins/roles.ts";
import type { PinSource } from "../pins/sources.ts";
import type { TokenDeclaration } from "./declaration.ts";
import { type Found, lookFor } from "./looking.ts";

/** What the lifecycle is given: it opens no module, reads no PIN and knows no terminal itself. */
export interface Surroundings {
  open(token: TokenDeclaration): Promise<Module>;
  /** @param isNew whether it is set now, so that a person should give it twice */
  readPin(source: PinSource, purpose: string, isNew?: boolean): Promise<Pin>;
  /**
   * Where a declared token is, in one spelling, however its module and store are written; what is declared by default.
   * Tells whether two declared tokens are one.
   */
  reach?(token: TokenDeclaration): string;
  /**
   * Before a declared token is made, for its module does not show it.
   * @param shown how many initialised tokens the module shows
   * @throws KeywrightError when its store has more, one of which it may be
   */
  requireAllShown?(token: TokenDeclaration, shown: number): void;
  /** The folder that relative paths of the declaration start from. */
  readonly folder: string;
  /** The state folder: what was begun and is not done, such as pending hooks. */
  readonly state: string;
  now(): Date;
}

/** A declared token, as far as it could be reached. */
export type Access = PresentToken | AbsentToken | UnreadableToken;

export interface AbsentToken {
  readonly state: "absent";
  readonly declared: TokenDeclaration;
  readonly reason: string;
  /** The token that could be initialised to become it; undefined when there is none, or more than one. */
  readonly blank: Token | undefined;
  readonly module: Module;
}

export interface UnreadableToken {
  readonly state: "unreadable";
  readonly declared: TokenDeclaration;
  readonly error: KeywrightError | HostError;
}

/** A token that is there, with a session in which it is observed. */
export class PresentToken {
  readonly state = "present";
  readonly declared: TokenDeclaration;
  readonly token: Token;
  readonly family: Family;
  /** The session, logged in as the user where a PIN is declared. */
  readonly session: Session;
  /** Whether the session sees private objects: the user is logged in, or need not be. */
  readonly loggedIn: boolean;
  readonly #pin: PinSupply | undefined;
  readonly #surroundings: Surroundings;
  #reach: string | undefined;

  /** @param pin the PIN that the user is logged in with; undefined where there is none, or a PIN pad asks for it */
  constructor(
    declared: TokenDeclaration,
    token: Token,
    session: Session,
    loggedIn: boolean,
    pin: PinSupply | undefined,
    surroundings: Surroundings,
  ) {
    this.declared = declared;
    this.token = token;
    this.family = familyOfToken(token.info, declared.module);
    this.session = session;
    this.loggedIn = loggedIn;
    this.#pin = pin;
    this.#surroundings = surroundings;
  }

  /** Where it is, in one spelling. */
  get reach(): string {
    this.#reach ??= reachOf(this.declared, this.#surroundings);
    return this.#reach;
  }

  /** Frees the room that keys take in the token once they were used, where its family wants that: logs in anew. */
  async unloadKeys(): Promise<void> {
    if (this.family.freshLogin && this.#pin !== undefined) await this.token.loginAgain(this.session, this.#pin);
  }

  /** Runs `write` in the session as whoever makes and deletes objects: the user, or the SO (`writeAs: so`). */
  async write<T>(write: (session: Session) => Promise<T>): Promise<T> {
    await this.unloadKeys();
    if (this.declared.writeAs === "user") return write(this.session);
    const so = pinFor(declaredPins(this.declared), "SO", pinContext(this.declared, this.#surroundings));
    if (so === undefined || this.#pin === undefined) throw new PinMissingError(this.token.uri);
    return this.token.asSo(this.session, { so, user: this.#pin }, async () => {
      try {
        return await write(this.session);
      } catch (error) {
        throw this.#writtenBySo(error);
      }
    });
  }

  /** What most tokens answer to an SO who writes as if nobody were logged in, or the object were not there. */
  #writtenBySo(error: unknown): unknown {
    if (!failedWith(error, "CKR_USER_NOT_LOGGED_IN", "CKR_OBJECT_HANDLE_INVALID")) return error;
    const detail = `the SO was (writeAs: so), and does not see or make private objects in ${this.token.uri}`;
    return new CryptokiError(error.function, error.rv, detail, { cause: error, hints: [WRITE_AS_USER] });
  }
}

/** Where a declared token is: see {@link Surroundings.reach}. */
export function reachOf(declared: TokenDeclaration, surroundings: Pick<Surroundings, "reach">): string {
  const { module, store, environment, reserved } = declared;
  return surroundings.reach?.(declared) ?? JSON.stringify([module, store, environment, reserved]);
}

/** How the PINs of a declared token are read. */
export function pinContext({ name }: TokenDeclaration, { folder, readPin }: Surroundings): PinContext {
  return { name, folder, read: readPin };
}

/**
 * Opens the declared tokens, one after the other, and runs `use` while all of them are open.
 * A token that is absent or cannot be read is handed on as such; it keeps no other from being used.
 */
export async function withTokens<T>(
  declared: readonly TokenDeclaration[],
  surroundings: Surroundings,
  use: (accesses: ReadonlyMap<string, Access>) => Promise<T>,
): Promise<T> {
  const accesses = new Map<string, Access>();
  const open = async (i: number): Promise<T> => {
    const next = declared[i];
    if (next === undefined) return use(accesses);
    return withToken(next, surroundings, (access) => {
      accesses.set(next.name, access);
      return open(i + 1);
    });
  };
  return open(0);
}

async function withToken<T>(
  declared: TokenDeclaration,
  surroundings: Surroundings,
  use: (access: Access) => Promise<T>,
): Promise<T> {
  let module: Module;
  try {
    module = await surroundings.open(declared);
  } catch (error) {
    return use(unreadable(declared, error));
  }
  try {
    return await withOpenModule(declared, module, surroundings, use);
  } finally {
    await module.close();
  }
}

async function withOpenModule<T>(
  declared: TokenDeclaration,
  module: Module,
  surroundings: Surroundings,
  use: (access: Access) => Promise<T>,
): Promise<T> {
  let found: Found;
  try {
    found = await lookFor(declared, module);
  } catch (error) {
    return use(unreadable(declared, error));
  }
  const { token, reason } = found;
  if (reason !== undefined || token === undefined) {
    try {
      if (token !== undefined) requireMakingPins(declared, token, surroundings);
      if (token?.has("CKF_TOKEN_INITIALIZED") === false) {
        const shown = (await module.tokens()).filter((one) => one.has("CKF_TOKEN_INITIALIZED"));
        surroundings.requireAllShown?.(declared, shown.length);
      }
    } catch (error) {
      return use(unreadable(declared, error));
    }
    return use({ state: "absent", declared, reason: reason ?? "", blank: token, module });
  }
  const pin = keptPin(
    pinFor(declaredPins(declared), "USER", pinContext(declared, surroundings)),
    familyOfToken(token.info, declared.module),
  );
  // What `use` throws is not a failure to reach the token.
  let reached = false;
  const user =
    pin === undefined && !token.has("CKF_PROTECTED_AUTHENTICATION_PATH")
      ? {}
      : { user: "USER" as const, pin: pin?.supply };
  try {
    const write = !token.has("CKF_WRITE_PROTECTED");
    // Plans name objects by their handles.
    return await token.withSession({ ...user, write, reconnect: false }, (session) => {
      reached = true;
      // Some tokens show private objects to everybody (an NSS database without a password).
      const seesAll = "user" in user || !token.has("CKF_LOGIN_REQUIRED");
      return use(new PresentToken(declared, token, session, seesAll, pin?.supply, surroundings));
    });
  } catch (error) {
    if (reached) throw error;
    if (failedWith(error, "CKR_USER_PIN_NOT_INITIALIZED")) {
      return await use({ state: "absent", declared, reason: `${token.uri} has no user PIN yet`, blank: token, module });
    }
    return await use(unreadable(declared, error));
  } finally {
    pin?.wipe();
  }
}

/** Before a token is made, its PINs are not read: that one cannot be is to be seen in the plan. */
function requireMakingPins(declared: TokenDeclaration, { info }: Token, surroundings: Surroundings): void {
  const { initialise } = familyOfToken(info, declared.module);
  const pins = declaredPins(declared);
  const isMade = initialise === "pin" || (initialise === "token" && pins.soPin !== undefined);
  if (isMade && pins.pin !== undefined) requireSources(pins, pinContext(declared, surroundings));
}

/** Looks anew for what a declared token is or can be made of, in a module that is opened for it. */
export async function withFreshToken<T>(
  declared: TokenDeclaration,
  surroundings: Surroundings,
  use: (token: Token | undefined) => Promise<T>,
): Promise<T> {
  const module = await surroundings.open(declared);
  try {
    return await use((await lookFor(declared, module)).token);
  } finally {
    await module.close();
  }
}

/** A PIN that is read once although it is sent more than once, where the family wants that; else it is never kept. */
function keptPin(read: (() => Promise<Pin>) | undefined, { freshLogin }: Family) {
  if (read === undefined) return undefined;
  if (!freshLogin) return { supply: read, wipe: () => undefined };
  let kept: Pin | undefined;
  return {
    supply: async () => {
      kept ??= await read();
      return kept.copy();
    },
    wipe: () => kept?.wipe(),
  };
}

function unreadable(declared: TokenDeclaration, error: unknown): UnreadableToken {
  if (error instanceof KeywrightError || error instanceof HostError) return { state: "unreadable", declared, error };
  throw error;
}
