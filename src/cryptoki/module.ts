/**
 * A module that is open: its slots and tokens. The comfortable API starts here.
 * @module
 */
import type { FunctionName } from "../spec/functions.ts";
import { isPlain, type Kind, kind, members, optional, requireArguments, TEXT, whole } from "./arguments.ts";
import { CryptokiError, failedWith, KeywrightError } from "./errors.ts";
import type { Args, Awaitable, Cryptoki, Mechanism, Provider, Reply, Structure, Ulong } from "./port.ts";
import { isSameToken } from "./same-token.ts";
import type { SessionPool } from "./session/pool.ts";
import { Token } from "./token.ts";
import { formatUri, isUri, matchesToken, type Pkcs11Uri, parseUri, tokenUri } from "./uri.ts";

/** Which token is meant. Every field that is given must match; text is compared exactly. */
export interface TokenMatch {
  readonly label?: string;
  readonly serial?: string;
  readonly manufacturer?: string;
  readonly model?: string;
  readonly slot?: Ulong;
}

/** No token, or more than one, is what was asked for. */
export class TokenNotFoundError extends KeywrightError {
  override readonly code = "ERR_TOKEN_NOT_FOUND";
  /** The URIs of the tokens that match; empty when none does. */
  readonly candidates: readonly string[];

  /** @param others the URIs of the tokens that there are, where none matches */
  constructor(fault: string, candidates: readonly string[], others: readonly string[]) {
    const list = candidates.length > 0 ? candidates : others;
    super(fault, {
      hints:
        list.length === 0
          ? ["the module shows no token: is it inserted, is its service running, is its environment set?"]
          : [
              candidates.length > 0 ? "say which, by label or serial:" : "the module has these tokens:",
              ...list.map((uri) => `  ${uri}`),
            ],
    });
    this.candidates = candidates;
  }
}

/** One application of a PKCS#11 module, initialised. */
export class Module {
  readonly #provider: Provider;
  readonly #cryptoki: Cryptoki;
  readonly #options: Args<"C_Initialize">["args"];
  /** Every one that was seen: it is the same one in another slot. */
  readonly #known = new Set<Token>();
  /** By handle: whose session it is. */
  readonly #owners = new Map<Ulong, SessionPool>();
  #isClosed = false;

  private constructor(provider: Provider, cryptoki: Cryptoki, options: Args<"C_Initialize">["args"]) {
    this.#provider = provider;
    this.#cryptoki = cryptoki;
    this.#options = options;
  }

  /**
   * Opens an application of a module and initialises it.
   * @param provider where the module comes from; closed with this module
   * @param options `reserved` is the string for modules that take one in `pReserved`
   * @throws CryptokiError when C_Initialize fails
   */
  static async open(provider: Provider, options: { reserved?: string } = {}): Promise<Module> {
    try {
      const cryptoki = await provider.open();
      await cryptoki.call("C_Initialize", { args: options });
      return new Module(provider, cryptoki, options);
    } catch (error) {
      await provider.close();
      throw error;
    }
  }

  /** A call of the port as it is, for what this API does not cover. */
  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    return this.#cryptoki.call(fn, args);
  }

  /** CK_INFO. */
  async info(): Promise<Structure<"info">> {
    return (await this.call("C_GetInfo", {})).info;
  }

  /** The slots, with CK_SLOT_INFO. @param tokenPresent only those that hold a token; true by default */
  async slots(tokenPresent = true): Promise<{ slot: Ulong; info: Structure<"slotInfo"> }[]> {
    const { slots } = await this.call("C_GetSlotList", { tokenPresent });
    return Promise.all(slots.map(async (slot) => ({ slot, info: (await this.call("C_GetSlotInfo", { slot })).info })));
  }

  /** Every token that is there, initialised or not; but for those that the module cannot read (CKR_TOKEN_NOT_RECOGNIZED). */
  async tokens(): Promise<Token[]> {
    return (await this.#lookAround()).tokens;
  }

  /** The tokens, and for slots whose token the module cannot read what it said: that is not the same as no token. */
  async #lookAround(): Promise<{ tokens: Token[]; unreadable: Unreadable[] }> {
    const { slots } = await this.call("C_GetSlotList", { tokenPresent: true });
    const seen = await Promise.all(slots.map((slot) => this.#look(slot)));
    return {
      tokens: this.#recognise(seen.filter((one): one is Seen => one !== undefined && "info" in one)),
      unreadable: seen.filter((one): one is Unreadable => one !== undefined && "error" in one),
    };
  }

  /** What is in a slot; undefined if it is empty. */
  async #look(slot: Ulong): Promise<Seen | Unreadable | undefined> {
    try {
      return { slot, info: (await this.call("C_GetTokenInfo", { slot })).info };
    } catch (error) {
      if (failedWith(error, "CKR_TOKEN_NOT_PRESENT", "CKR_SLOT_ID_INVALID")) return undefined;
      if (failedWith(error, "CKR_TOKEN_NOT_RECOGNIZED")) return { slot, error };
      throw error;
    }
  }

  /** The tokens that were seen: those of before, in whatever slot they are now, and new ones. */
  #recognise(seen: readonly Seen[]): Token[] {
    const left = new Set(this.#known);
    const take = (isIt: (token: Token) => boolean) => {
      const token = [...left].find(isIt);
      if (token !== undefined) left.delete(token);
      return token;
    };
    const same = seen.map(({ slot, info }) => take((one) => one.slot === slot && isSameToken(one.info, info)));
    return seen.map(({ slot, info }, i) => {
      const token = same[i] ?? take((one) => isSameToken(one.info, info)) ?? new Token(this, slot, info);
      token.seenIn(slot, info);
      this.#known.add(token);
      return token;
    });
  }

  /** @internal Notes whose a session is. A handle that another one has is given anew: the module has closed that session. */
  ownSession(handle: Ulong, owner: SessionPool): void {
    this.#owners.get(handle)?.lose(handle);
    this.#owners.set(handle, owner);
  }

  /** @internal */
  disownSession(handle: Ulong, owner: SessionPool): void {
    if (this.#owners.get(handle) === owner) this.#owners.delete(handle);
  }

  /**
   * @internal Looks for a token whose sessions are gone. It may be in another slot, and the module may want to be initialised.
   * @param info what it said of itself
   * @throws TokenNotFoundError when it is not there, or several are like it
   */
  async findAgain(token: Token, info: Structure<"tokenInfo">): Promise<void> {
    const { tokens } = await this.#lookAround().catch(async (error: unknown) => {
      // p11-kit's client answers CKR_DEVICE_ERROR to everything once its server was gone, until it is initialised anew.
      const isDead = failedWith(error, "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_DEVICE_ERROR");
      if (this.#isClosed || !isDead || error.function !== "C_GetSlotList") throw error;
      await this.#finalise();
      await this.call("C_Initialize", { args: this.#options });
      return this.#lookAround();
    });
    const same = tokens.filter((one) => isSameToken(one.info, info));
    if (same.length === 1 && same[0] === token) return;
    const uri = formatUri(tokenUri(info));
    const fault = same.length > 1 ? `${same.length} tokens are ${uri}` : `${uri} is not there`;
    throw new TokenNotFoundError(fault, uris(same), uris(tokens));
  }

  /**
   * The one token that matches; never "the first".
   * @param wanted a URI, as text or parsed, or what is known of the token
   * @throws TokenNotFoundError when none or several match, or nothing is said of the token, listing them
   * @throws CryptokiError CKR_TOKEN_NOT_RECOGNIZED when none matches, and the module cannot read one that may be it
   * @throws ArgumentError for a field that there is not, UriError for a text that is no URI
   */
  async token(wanted: string | TokenMatch | Pkcs11Uri): Promise<Token> {
    const given = typeof wanted === "string" && isUri(wanted) ? parseUri(wanted) : wanted;
    requireArguments("module.token", { wanted: [given, isPlain(given) && "path" in given ? URI : WANTED] });
    const match = "path" in (given as TokenMatch | Pkcs11Uri) ? (given as Pkcs11Uri) : asUri(given as TokenMatch);
    const { tokens, unreadable } = await this.#lookAround();
    const part = tokenPart(match);
    if (Object.keys(part).length === 0) {
      throw new TokenNotFoundError("module.token: nothing says which token is meant", uris(tokens), []);
    }
    const found = await this.#matching(match, tokens);
    if (found.length === 1) return found[0]!;
    const wantedText = formatUri({ path: part, query: {} });
    if (found.length === 0) {
      const slot = match.path["slot-id"];
      const doubt = unreadable.find((one) => slot === undefined || BigInt(slot) === BigInt(one.slot));
      if (doubt !== undefined) throw unrecognised(doubt, `no other token is ${wantedText}`);
    }
    const fault = found.length === 0 ? `no token is ${wantedText}` : `${found.length} tokens are ${wantedText}`;
    throw new TokenNotFoundError(fault, uris(found), uris(tokens));
  }

  /** Every token that a URI matches, those that were never initialised too. @throws CryptokiError */
  async matching(uri: Pkcs11Uri): Promise<Token[]> {
    requireArguments("module.matching", { uri: [uri, URI] });
    return this.#matching(uri, await this.tokens());
  }

  async #matching(uri: Pkcs11Uri, tokens: readonly Token[]): Promise<Token[]> {
    const { path } = uri;
    const asksLibrary = Object.keys(path).some((name) => name.startsWith("library-"));
    const asksSlot = path["slot-manufacturer"] !== undefined || path["slot-description"] !== undefined;
    const info = asksLibrary ? await this.info() : undefined;
    const found: Token[] = [];
    for (const token of tokens) {
      const { slot, info: of } = token;
      const slotInfo = asksSlot ? (await this.call("C_GetSlotInfo", { slot })).info : undefined;
      if (matchesToken(uri, { slot, token: of, info, slotInfo })) found.push(token);
    }
    return found;
  }

  /**
   * The only token that the module has. Tokens that were never initialised do not count: many modules always show one.
   * @throws TokenNotFoundError when there is none or more than one, listing them
   * @throws CryptokiError CKR_TOKEN_NOT_RECOGNIZED when there is none but one that the module cannot read
   */
  async onlyToken(): Promise<Token> {
    const { tokens, unreadable } = await this.#lookAround();
    const found = tokens.filter((token) => token.has("CKF_TOKEN_INITIALIZED"));
    if (found.length === 0 && unreadable.length > 0) throw unrecognised(unreadable[0]!, "there is no other token");
    if (found.length === 1) return found[0]!;
    const fault = found.length === 0 ? "the module has no initialised token" : `the module has ${found.length} tokens`;
    throw new TokenNotFoundError(fault, uris(found), uris(tokens));
  }

  /** The mechanisms of a slot's token, with CK_MECHANISM_INFO. */
  async mechanisms(slot: Ulong): Promise<{ type: number; info: Structure<"mechanismInfo"> }[]> {
    const { mechanisms } = await this.call("C_GetMechanismList", { slot });
    const rows = [];
    for (const type of mechanisms) {
      rows.push({ type: Number(type), info: (await this.call("C_GetMechanismInfo", { slot, type })).info });
    }
    return rows;
  }

  /**
   * Tells whether the token in a slot has a mechanism for a purpose.
   * @param flag a bit of CK_MECHANISM_INFO, such as CKF_SIGN
   * @throws CryptokiError when the token cannot be asked; only CKR_MECHANISM_INVALID means no
   */
  async canDo(slot: Ulong, mechanism: Mechanism | number, flag: number): Promise<boolean> {
    const type = typeof mechanism === "number" ? mechanism : mechanism.type;
    try {
      const { info } = await this.call("C_GetMechanismInfo", { slot, type });
      return (Number(info.flags) & flag) !== 0;
    } catch (error) {
      if (failedWith(error, "CKR_MECHANISM_INVALID")) return false;
      throw error;
    }
  }

  /** Finalises the application and closes its provider. Safe to repeat. */
  async close(): Promise<void> {
    this.#isClosed = true;
    try {
      await this.#finalise();
    } finally {
      await this.#provider.close();
    }
  }

  async #finalise(): Promise<void> {
    try {
      await this.call("C_Finalize", {});
    } catch (error) {
      if (!failedWith(error, "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_DEVICE_REMOVED", "CKR_DEVICE_ERROR")) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A slot with a token. */
interface Seen {
  readonly slot: Ulong;
  readonly info: Structure<"tokenInfo">;
}

/** A slot whose token the module cannot read. */
interface Unreadable {
  readonly slot: Ulong;
  readonly error: CryptokiError;
}

function unrecognised({ slot, error }: Unreadable, rest: string): CryptokiError {
  return new CryptokiError("C_GetTokenInfo", "CKR_TOKEN_NOT_RECOGNIZED", `slot ${slot}; ${rest}`, {
    cause: error,
    hints: ["if this is the token that is meant, open it with the module that its maker gives; else take it out"],
  });
}

const TOKEN_MATCH = members({
  label: optional(TEXT),
  serial: optional(TEXT),
  manufacturer: optional(TEXT),
  model: optional(TEXT),
  slot: optional(whole(0)),
});
/** What a text that is no URI is told too. */
const WANTED: Kind = (value) =>
  typeof value === "string"
    ? "is a string that is no URI (pkcs11:…), not an object with label, serial, manufacturer, model, slot"
    : TOKEN_MATCH(value);
const URI = members({ path: kind("an object of attributes", isPlain), query: optional(kind("an object", isPlain)) });

function uris(tokens: readonly Token[]): string[] {
  return tokens.map((token) => token.uri);
}

function asUri(match: TokenMatch): Pkcs11Uri {
  const { label, slot, ...same } = match;
  const path = { ...same, token: label, "slot-id": slot === undefined ? undefined : String(slot) };
  return { path: Object.fromEntries(Object.entries(path).filter(([, value]) => value !== undefined)), query: {} };
}

function tokenPart(uri: Pkcs11Uri): Pkcs11Uri["path"] {
  const { object: _object, id: _id, type: _type, ...token } = uri.path;
  return Object.fromEntries(Object.entries(token).filter(([, value]) => value !== undefined));
}
