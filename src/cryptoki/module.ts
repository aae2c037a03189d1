/**
 * A module that is open: its slots and tokens. The comfortable API starts here.
 * @module
 */
import type { FunctionName } from "../spec/functions.ts";
import { isPlain, kind, members, optional, requireArguments, TEXT, whole } from "./arguments.ts";
import { CryptokiError, failedWith, KeywrightError } from "./errors.ts";
import type { Args, Awaitable, Cryptoki, Mechanism, Provider, Reply, Structure, Ulong } from "./port.ts";
import { Token } from "./token.ts";
import { formatUri, matchesToken, type Pkcs11Uri } from "./uri.ts";

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
  readonly #tokens = new Map<Ulong, Token>();

  private constructor(provider: Provider, cryptoki: Cryptoki) {
    this.#provider = provider;
    this.#cryptoki = cryptoki;
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
      return new Module(provider, cryptoki);
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

  /** Every token that is there, initialised or not. */
  async tokens(): Promise<Token[]> {
    const { slots } = await this.call("C_GetSlotList", { tokenPresent: true });
    const found = await Promise.all(slots.map((slot) => this.#tokenIn(slot)));
    return found.filter((token) => token !== undefined);
  }

  /** The token in a slot; undefined if the slot is empty or the token unreadable for the module. */
  async #tokenIn(slot: Ulong): Promise<Token | undefined> {
    try {
      const { info } = await this.call("C_GetTokenInfo", { slot });
      const known = this.#tokens.get(slot);
      if (known !== undefined) {
        known.info = info;
        return known;
      }
      const token = new Token(this, slot, info);
      this.#tokens.set(slot, token);
      return token;
    } catch (error) {
      if (failedWith(error, "CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_RECOGNIZED", "CKR_SLOT_ID_INVALID"))
        return undefined;
      throw error;
    }
  }

  /**
   * The one token that matches; never "the first".
   * @throws TokenNotFoundError when none or several match, or nothing is said of the token, listing them
   * @throws ArgumentError for a field that there is not
   */
  async token(wanted: TokenMatch | Pkcs11Uri): Promise<Token> {
    requireArguments("module.token", { wanted: [wanted, isPlain(wanted) && "path" in wanted ? URI : TOKEN_MATCH] });
    const match = "path" in wanted ? wanted : asUri(wanted);
    const tokens = await this.tokens();
    const info =
      "library-manufacturer" in match.path || "library-version" in match.path || "library-description" in match.path
        ? await this.info()
        : undefined;
    const part = tokenPart(match);
    if (Object.keys(part).length === 0) {
      throw new TokenNotFoundError("module.token: nothing says which token is meant", uris(tokens), []);
    }
    const found = tokens.filter((token) => matchesToken(match, { slot: token.slot, token: token.info, info }));
    if (found.length === 1) return found[0]!;
    const wantedText = formatUri({ path: part, query: {} });
    const fault = found.length === 0 ? `no token is ${wantedText}` : `${found.length} tokens are ${wantedText}`;
    throw new TokenNotFoundError(fault, uris(found), uris(tokens));
  }

  /**
   * The only token that the module has. Tokens that were never initialised do not count: many modules always show one.
   * @throws TokenNotFoundError when there is none or more than one, listing them
   */
  async onlyToken(): Promise<Token> {
    const tokens = await this.tokens();
    const found = tokens.filter((token) => token.has("CKF_TOKEN_INITIALIZED"));
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
   */
  async canDo(slot: Ulong, mechanism: Mechanism | number, flag: number): Promise<boolean> {
    const type = typeof mechanism === "number" ? mechanism : mechanism.type;
    try {
      const { info } = await this.call("C_GetMechanismInfo", { slot, type });
      return (Number(info.flags) & flag) !== 0;
    } catch (error) {
      if (error instanceof CryptokiError) return false;
      throw error;
    }
  }

  /** Finalises the application and closes its provider. Safe to repeat. */
  async close(): Promise<void> {
    try {
      await this.call("C_Finalize", {});
    } catch (error) {
      if (!failedWith(error, "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_DEVICE_REMOVED", "CKR_DEVICE_ERROR")) throw error;
    } finally {
      await this.#provider.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

const TOKEN_MATCH = members({
  label: optional(TEXT),
  serial: optional(TEXT),
  manufacturer: optional(TEXT),
  model: optional(TEXT),
  slot: optional(whole(0)),
});
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
