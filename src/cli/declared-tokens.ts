/**
 * What a declaration says of a token that is open, also where the command line names it by a URI.
 * @module
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { TokenNotFoundError } from "../cryptoki/module.ts";
import type { Token } from "../cryptoki/token.ts";
import { matchesToken, type Pkcs11Uri } from "../cryptoki/uri.ts";
import type { Declaration, TokenDeclaration } from "../lifecycle/declaration.ts";
import { wantedToken } from "../lifecycle/looking.ts";
import { reachOfDeclared } from "../modules/declared.ts";
import type { ModuleReference } from "../modules/index.ts";
import { reachOf } from "../modules/reach.ts";
import type { PinSource } from "../pins/sources.ts";
import { CommandError } from "./errors.ts";
import type { Io } from "./io.ts";
import { chosenState, DEFAULT_FILE, loadDeclaration } from "./surroundings.ts";

/** What a declaration says of which token is meant, as a URI's path. */
export function declaredPath(declared: TokenDeclaration): Pkcs11Uri["path"] {
  const wanted = wantedToken(declared);
  if ("path" in wanted) return wanted.path;
  const { label, serial, slot } = wanted;
  return {
    ...(label === undefined ? {} : { token: label }),
    ...(serial === undefined ? {} : { serial }),
    ...(slot === undefined ? {} : { "slot-id": String(slot) }),
  };
}

/**
 * Where the SO PIN of a token comes from, by the declaration that is at hand: the one that is named, or the usual one
 * where it is there. Several, where the token is declared more than once.
 * @throws UsageError or DeclarationError for a declaration that was named and cannot be used
 */
export async function declaredSoPins(
  token: Token,
  reference: ModuleReference,
  input: { readonly file?: string | undefined; readonly state?: string | undefined },
  io: Io,
): Promise<PinSource[]> {
  if (input.file === undefined && !existsSync(DEFAULT_FILE)) return [];
  let declaration: Declaration;
  try {
    declaration = await loadDeclaration(input);
  } catch (error) {
    if (input.file !== undefined) throw error;
    // The URI has no need of it.
    io.warn(`the user PIN is not compared with declared SO PINs: ${(error as Error).message}`);
    return [];
  }
  const folder = dirname(declaration.file);
  const place = { folder, state: chosenState(input) };
  const facts = { slot: token.slot, token: token.info, info: await token.module.info() };
  const sources: PinSource[] = [];
  for (const declared of Object.values(declaration.tokens)) {
    if (declared.soPin === undefined || reachOfDeclared(declared, place) !== reachOf(reference)) continue;
    if (matchesToken({ path: declaredPath(declared), query: {} }, facts)) sources.push(from(folder, declared.soPin));
  }
  return sources;
}

/**
 * No token was named, and which is meant is not plain: says where it was looked for, and which are declared.
 * @throws CommandError; what is no such error as it is
 */
export async function withDeclared(
  error: unknown,
  { module, store }: ModuleReference,
  input: { readonly file?: string | undefined },
): Promise<never> {
  if (!(error instanceof TokenNotFoundError)) throw error;
  const isThere = input.file !== undefined || existsSync(DEFAULT_FILE);
  const tokens = isThere
    ? await loadDeclaration(input).then(
        (one) => Object.keys(one.tokens),
        () => [],
      )
    : [];
  throw new CommandError(`no token is named, and ${error.message}: ${store ?? module}`, [
    ...error.hints,
    tokens.length === 0 ? "" : `declared, and to be named: ${tokens.join(", ")}`,
  ]);
}

/** A source that is found from everywhere. */
function from(folder: string, source: PinSource): PinSource {
  return "file" in source ? { ...source, file: resolve(folder, source.file) } : source;
}
