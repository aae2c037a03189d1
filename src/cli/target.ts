/**
 * What a command works on: a token or an object in one, named by a declared name or a PKCS#11 URI.
 * @module
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { KeywrightError } from "../cryptoki/errors.ts";
import type { Role } from "../cryptoki/logins.ts";
import type { Module } from "../cryptoki/module.ts";
import { Pin } from "../cryptoki/pin.ts";
import type { Session } from "../cryptoki/session/session.ts";
import type { Token } from "../cryptoki/token.ts";
import { formatUri, isUri, type Pkcs11Uri, parseUri, redactUri, unknownAttribute } from "../cryptoki/uri.ts";
import { type Family, familyOfToken } from "../families/families.ts";
import type { Declaration, KeyDeclaration, TokenDeclaration } from "../lifecycle/declaration.ts";
import { type TokenLockOptions, withTokenLocks } from "../lifecycle/token-locks.ts";
import { resolveModule } from "../modules/address.ts";
import { declaredModule, defaultStore } from "../modules/declared.ts";
import type { ModuleReference } from "../modules/index.ts";
import { declaredPins, type PinContext, pinFor, type TokenPins } from "../pins/roles.ts";
import { type PinSource, pinSourceFromUri } from "../pins/sources.ts";
import { nearest } from "../schema/nearest.ts";
import { URI_PATH } from "../spec/uri.ts";
import { text } from "./command.ts";
import { declaredPath, declaredSoPins, withDeclared } from "./declared-tokens.ts";
import { UsageError } from "./errors.ts";
import type { Io } from "./io.ts";
import { openModule } from "./open.ts";
import { PIN_OPTION, pinSource } from "./pin-options.ts";
import { commandPin } from "./pins.ts";
import { chosenState, FILE_OPTION, loadDeclaration } from "./surroundings.ts";

/** Options of every command that works on a token. */
export const TARGET_OPTIONS = {
  module: text("MODULE", "softtoken, or a PKCS#11 library (default: what the name or URI says, else softtoken)", "m"),
  store: text("PATH", "the built-in token's file (default: softtoken.db in the state folder), or another's folder"),
  ...FILE_OPTION,
  ...PIN_OPTION,
} as const;

/** Options of every command that works on objects in it. */
export const OBJECT_OPTIONS = {
  ...TARGET_OPTIONS,
  fingerprint: text("HEX", "of objects with one name: whose public key, or certificate, has a SHA-256 that begins so"),
} as const;

/** What the command line says of the target. */
export interface TargetInput {
  readonly module?: string | undefined;
  readonly store?: string | undefined;
  readonly file?: string | undefined;
  readonly state: string | undefined;
  readonly pin?: string | undefined;
  readonly soPin?: string | undefined;
  readonly fingerprint?: string | undefined;
}

/** A target before its token is opened. */
export interface Target {
  readonly reference: ModuleReference;
  /** Which token, and which object in it where an object is named. */
  readonly uri: Pkcs11Uri;
  /** The first digits of the SHA-256 of a public key or certificate, in lower case. */
  readonly fingerprint: string | undefined;
  readonly declared: TokenDeclaration | undefined;
  /** The declared key that is named; undefined for a token's name, and for a URI. */
  readonly key: KeyDeclaration | undefined;
  /** Where the PINs come from, where that is declared or given. */
  readonly pins: TokenPins;
  /** The folder that relative paths of PIN sources start from. */
  readonly folder: string;
}

/** Finds out what a word means: a PKCS#11 URI, a declared key or token; without a word, the module's only token. */
export async function findTarget(word: string | undefined, input: TargetInput, io: Io): Promise<Target> {
  const pins: TokenPins = { pin: pinSource("--pin", input.pin), soPin: pinSource("--so-pin", input.soPin) };
  if (word === undefined || isUri(word)) return byUri(word ?? "pkcs11:", input, pins, io);
  const declaration = await loadDeclaration({ ...input, word });
  return byName(word, declaration, input, pins);
}

function byUri(word: string, input: TargetInput, pins: TokenPins, io: Io): Target {
  const uri = parseUri(word);
  requireKnown(word, uri);
  const { token } = uri.path;
  const { "pin-value": value, "pin-source": source, "module-path": path, "module-name": name } = uri.query;
  if (value !== undefined) {
    io.warn("the URI carries a PIN (pin-value), which command lines and logs show; use pin-source or --pin");
  }
  const fromUri = value !== undefined ? Pin.from(value) : source === undefined ? undefined : pinSourceFromUri(source);
  return {
    reference: {
      ...referenceOf(input.module ?? path ?? name ?? "softtoken", input),
      ...(token === undefined ? {} : { label: token }),
    },
    uri,
    fingerprint: fingerprintOf(input),
    declared: undefined,
    key: undefined,
    pins: { ...pins, pin: pins.pin ?? fromUri },
    folder: process.cwd(),
  };
}

/** What it names could not be told from what it does not name; and here it may be destroyed. */
function requireKnown(word: string, uri: Pkcs11Uri): void {
  const unknown = unknownAttribute(uri);
  if (unknown === undefined) return;
  const near = nearest(unknown, Object.keys(URI_PATH));
  throw new UsageError(`${redactUri(word)} has the attribute ${unknown}, which is none of RFC 7512`, [
    near === undefined ? `there are ${Object.keys(URI_PATH).join(", ")}` : `did you mean ${near}?`,
  ]);
}

function byName(word: string, declaration: Declaration, input: TargetInput, pins: TokenPins): Target {
  const key = Object.hasOwn(declaration.keys, word) ? declaration.keys[word] : undefined;
  const name = key?.token ?? word;
  const declared = Object.hasOwn(declaration.tokens, name) ? declaration.tokens[name] : undefined;
  if (declared === undefined) {
    const names = [...Object.keys(declaration.tokens), ...Object.keys(declaration.keys)];
    throw new UsageError(`${JSON.stringify(word)} is neither a declared name nor a PKCS#11 URI`, [
      `declared in ${declaration.file}: ${names.join(", ")}`,
    ]);
  }
  const folder = dirname(declaration.file);
  const ofToken = declaredPins(declared);
  const object = key === undefined ? {} : { object: key.label, id: Buffer.from(key.id, "hex") };
  return {
    reference: declaredModule(declared, { folder, state: chosenState(input) }),
    uri: { path: { ...declaredPath(declared), ...object }, query: {} },
    fingerprint: fingerprintOf(input),
    declared,
    key,
    pins: { pin: pins.pin ?? ofToken.pin, soPin: pins.soPin ?? ofToken.soPin },
    folder,
  };
}

/** Eight digits or more, so that no other has them by chance; with the colons that some programs write, or without. */
function fingerprintOf({ fingerprint }: TargetInput): string | undefined {
  const digits = fingerprint?.replaceAll(":", "").toLowerCase();
  if (digits === undefined || /^[0-9a-f]{8,64}$/.test(digits)) return digits;
  throw new UsageError(
    `${JSON.stringify(fingerprint)} is no fingerprint: write 8 to 64 hexadecimal digits of a SHA-256`,
  );
}

/** A module as the command line names it. */
export function referenceOf(module: string, input: TargetInput): ModuleReference {
  return {
    module: resolveModule(module, process.cwd()),
    ...(input.store === undefined ? defaultStore(module, chosenState(input)) : { store: resolve(input.store) }),
  };
}

/** The built-in token's store is made by the first token; until then there is none to look into. */
export function hasTokens({ module, store }: ModuleReference): boolean {
  return module !== "softtoken" || (store !== undefined && existsSync(store));
}

/** Opens a module, guarded, and runs `use`. @param pins where the PINs of its token come from */
export async function withModule<T>(
  reference: ModuleReference,
  input: TargetInput,
  pins: TokenPins,
  io: Io,
  use: (module: Module) => Promise<T>,
): Promise<T> {
  const module = await openModule(reference, pins, chosenState(input), io);
  try {
    return await use(module);
  } finally {
    await module.close();
  }
}

/** How a command takes locks. */
export function lockOptions(io: Io): TokenLockOptions {
  const purpose = `keywright ${process.argv.slice(2, 4).join(" ")}`;
  return { purpose, onWait: (holder) => io.tell(`waiting for ${holder}`) };
}

/** The target's token, open. */
export interface OpenTarget {
  readonly module: Module;
  readonly token: Token;
  readonly family: Family;
  /** The PIN of a role: its source, or a person at the terminal; undefined where neither is there. */
  pin(role: Role, use?: "first"): (() => Promise<Pin>) | undefined;
  /** The PIN that is to take the place of a role's, from a source that was given or a person at the terminal. */
  newPin(role: Role, given: PinSource | undefined): (() => Promise<Pin>) | undefined;
  /** Runs what changes the token while no other command of ours does; not around what a person is asked. */
  locked<T>(use: () => Promise<T>): Promise<T>;
}

/** Opens the target's token and runs `use`. */
export async function withToken<T>(
  target: Target,
  input: TargetInput,
  io: Io,
  use: (open: OpenTarget) => Promise<T>,
): Promise<T> {
  const pins = pinsAt(target, io);
  return withModule(target.reference, input, pins, io, async (module) => {
    const { object: _object, id: _id, type: _type, ...token } = target.uri.path;
    const found =
      Object.keys(token).length === 0
        ? await module.onlyToken().catch((error: unknown) => withDeclared(error, target.reference, input))
        : await module.token({ path: token, query: {} });
    const context = pinContext(target, found.info.label, io);
    const known =
      target.declared === undefined
        ? { ...pins, otherSoPins: () => declaredSoPins(found, target.reference, input, io) }
        : pins;
    return use({
      module,
      token: found,
      family: familyOfToken(found.info, target.reference.module),
      pin: (role, purpose) => pinFor(known, role, context, purpose),
      newPin: (role, given) => {
        const next = given ?? askedAt(io);
        return pinFor(role === "SO" ? { ...known, soPin: next } : { ...known, pin: next }, role, context, "new");
      },
      locked: (change) => withTokenLocks([found.uri], lockOptions(io), change),
    });
  });
}

/** The target's sources, and a person at the terminal where there is none. */
export function pinsAt({ pins }: Target, io: Io): TokenPins {
  return { pin: pins.pin ?? askedAt(io), soPin: pins.soPin ?? askedAt(io) };
}

function askedAt(io: Io): PinSource | undefined {
  return io.interactive ? { prompt: true } : undefined;
}

/** How the PINs of the target's token are read. */
export function pinContext({ folder }: Target, name: string, io: Io): PinContext {
  return { name, folder, read: (source, purpose, isNew) => commandPin(source, purpose, folder, io, isNew) };
}

/** Opens the target's token with the user logged in and runs `use` with a session. */
export async function withSession<T>(
  target: Target,
  input: TargetInput,
  io: Io,
  options: { readonly write?: boolean; readonly login?: boolean },
  use: (session: Session, open: OpenTarget) => Promise<T>,
): Promise<T> {
  return withToken(target, input, io, (open) => {
    const login = options.login !== false;
    const pin = open.pin("USER");
    return open.token.withSession(
      // A command compares handles; it is soon given again.
      { ...(login ? { user: "USER" as const, pin } : {}), write: options.write === true, reconnect: false },
      (session) => use(session, open),
    );
  });
}

/** What a URI says of an object; refused where it says nothing, for then every object would match. */
export function objectOf(target: Target): { label?: string | Uint8Array; id?: Uint8Array } {
  const { object, id } = target.uri.path;
  if (object === undefined && id === undefined) {
    throw new NoObjectError(formatUri(target.uri));
  }
  return { ...(object === undefined ? {} : { label: object }), ...(id === undefined ? {} : { id }) };
}

/** A URI that names a token where an object is meant. */
export class NoObjectError extends KeywrightError {
  override readonly code = "ERR_USAGE";

  constructor(uri: string) {
    super(`${uri} does not say which object is meant`, { hints: ["add its id or label: …;id=%01 or …;object=NAME"] });
  }
}
