/**
 * Which token of a module a declaration means; and which one could be made it.
 * @module
 */
import { type Module, type TokenMatch, TokenNotFoundError } from "../cryptoki/module.ts";
import type { Token } from "../cryptoki/token.ts";
import { type Pkcs11Uri, parseUri } from "../cryptoki/uri.ts";
import type { TokenDeclaration } from "./declaration.ts";

/** What a declaration says of which token is meant. */
export function wantedToken(declared: TokenDeclaration): TokenMatch | Pkcs11Uri {
  const { label, serial, slot } = declared;
  if (declared.uri !== undefined) return parseUri(declared.uri);
  return {
    ...(label === undefined ? {} : { label }),
    ...(serial === undefined ? {} : { serial }),
    ...(slot === undefined ? {} : { slot }),
  };
}

export interface Found {
  /** The token; where there is a reason, what it can be made of. */
  readonly token: Token | undefined;
  /** Why it is not there. */
  readonly reason?: string;
}

/** The declared token, or what it can be made of; without a login. */
export async function lookFor(declared: TokenDeclaration, module: Module): Promise<Found> {
  try {
    const token = await module.token(wantedToken(declared));
    if (token.has("CKF_TOKEN_INITIALIZED") && token.has("CKF_USER_PIN_INITIALIZED")) return { token };
    return { token, reason: `${token.uri} is not initialised yet` };
  } catch (error) {
    if (!(error instanceof TokenNotFoundError && error.candidates.length === 0)) throw error;
    return { token: await blankToken(declared, module), reason: error.message };
  }
}

/**
 * The one token that was never initialised, and is what is declared but for its label: a serial number or a model it will
 * have after that if it has it now.
 */
async function blankToken(declared: TokenDeclaration, module: Module): Promise<Token | undefined> {
  const { uri, serial, slot } = declared;
  const { token: _, ...others } = uri === undefined ? {} : parseUri(uri).path;
  const path = {
    ...others,
    ...(serial === undefined ? {} : { serial }),
    ...(slot === undefined ? {} : { "slot-id": String(slot) }),
  };
  const found = (await module.matching({ path, query: {} })).filter((token) => !token.has("CKF_TOKEN_INITIALIZED"));
  return found.length === 1 ? found[0] : undefined;
}
