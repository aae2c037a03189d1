/**
 * The PINs of a token: where each role's comes from, who gives it, and that the SO's is never sent as the user's.
 * @module
 */
import { createHmac, randomBytes } from "node:crypto";
import { resolve } from "node:path";
import type { Role } from "../cryptoki/logins.ts";
import { Pin } from "../cryptoki/pin.ts";
import { parseUri } from "../cryptoki/uri.ts";
import { realPath } from "../host/paths.ts";
import { asksPerson, describe, type PinSource, PinSourceError, pinSourceFromUri, requireSource } from "./sources.ts";

/** Where the PINs of one token come from. */
export interface TokenPins {
  /** The user's; the PIN itself where a URI carries it (`pin-value`). */
  readonly pin?: PinSource | Pin | undefined;
  readonly soPin?: PinSource | undefined;
  /** Where else the SO's is known to come from. The user's is compared with it, and nobody logs in with it. */
  readonly otherSoPins?: () => Promise<readonly PinSource[]>;
}

/** How PINs of one token are read. */
export interface PinContext {
  /** What people call the token. */
  readonly name: string;
  /** The folder that relative paths of sources start from. */
  readonly folder: string;
  /** @param isNew whether it is set now, so that a person should give it twice */
  read(source: PinSource, purpose: string, isNew?: boolean): Promise<Pin>;
}

/** What a PIN is read for: to log in, to be the first one, or to take the place of another. */
type PinUse = "login" | "first" | "new";

/** The sources of a declared token: its fields, and the `pin-source` of its URI. */
export function declaredPins({ pin, soPin, uri }: { pin?: PinSource; soPin?: PinSource; uri?: string }): TokenPins {
  const inUri = uri === undefined ? undefined : parseUri(uri).query["pin-source"];
  return { pin: pin ?? (inUri === undefined ? undefined : pinSourceFromUri(inUri)), soPin };
}

/** Whether a role's PIN is typed by a person in this run: then a last try is theirs to spend. The one rule of that. */
export function attendedBy(pins: TokenPins): (role: Role) => boolean {
  return (role) => {
    const source = role === "SO" ? pins.soPin : pins.pin;
    return source !== undefined && !(source instanceof Pin) && asksPerson(source);
  };
}

/**
 * The PIN of a role, read when it is needed; undefined where there is no source for it.
 *
 * Reading the user's throws a PinSourceError when it is the SO's, which sent as the user's would only cost tries: both
 * come from one source, or are the same bytes. The SO's is looked at for that where nobody is disturbed by it, or when
 * it was read in this process before.
 */
export function pinFor(
  pins: TokenPins,
  role: Role,
  context: PinContext,
  use: PinUse = "login",
): (() => Promise<Pin>) | undefined {
  const source = role === "SO" ? pins.soPin : pins.pin;
  if (source === undefined) return undefined;
  return async () => {
    const soPins = role === "USER" ? await soPinsOf(pins) : [];
    refuseSameSource(source, soPins, context, use);
    const isNew = use !== "login";
    const pin = source instanceof Pin ? source.copy() : await context.read(source, purpose(role, context, use), isNew);
    try {
      if (role === "USER") await refuseSoPin(pin, soPins, context, use);
      else if (use === "new") await refuseUserPin(pin, pins, context);
    } catch (error) {
      pin.wipe();
      throw error;
    }
    // One that is to be set may not be it in the end.
    if (role === "SO" && use !== "new") seen.set(keyOf(context), digest(pin));
    return pin;
  };
}

/**
 * Tells what is plain of a token's sources without reading a PIN; what a token is made with is read only when it is made.
 * @throws PinSourceError
 */
export function requireSources({ pin, soPin }: TokenPins, context: PinContext): void {
  for (const [role, source] of [
    ["SO", soPin],
    ["USER", pin],
  ] as const) {
    if (source === undefined || source instanceof Pin) continue;
    requireSource(source, { folder: context.folder, purpose: purpose(role, context, "first") });
  }
}

function purpose(role: Role, { name }: PinContext, use: PinUse): string {
  return `the ${role === "SO" ? "SO" : "user"} PIN of ${name}${use === "new" ? ", new" : ""}`;
}

/** Reads two PINs, so that nobody is asked later, runs `use` with them and wipes them. */
export async function withPins<T>(
  [first, second]: readonly [() => Promise<Pin>, () => Promise<Pin>],
  use: (first: Pin, second: Pin) => Promise<T>,
): Promise<T> {
  const one = await first();
  try {
    const two = await second();
    try {
      return await use(one, two);
    } finally {
      two.wipe();
    }
  } finally {
    one.wipe();
  }
}

/**
 * SO PINs that were read in this process, by token: typed ones and a command's are not asked for a second time only to
 * be compared. Kept as a digest under a key that ends with the process, so that no PIN outlives its use.
 */
const seen = new Map<string, string>();
const SEEN_KEY = randomBytes(32);

function digest(pin: Pin): string {
  return pin.use((bytes) => createHmac("sha256", SEEN_KEY).update(bytes).digest("base64"));
}

function keyOf({ name, folder }: PinContext): string {
  return JSON.stringify([name, folder]);
}

async function soPinsOf({ soPin, otherSoPins }: TokenPins): Promise<PinSource[]> {
  return [...(soPin === undefined ? [] : [soPin]), ...((await otherSoPins?.()) ?? [])];
}

function refuseSameSource(pin: PinSource | Pin, soPins: readonly PinSource[], context: PinContext, use: PinUse): void {
  if (pin instanceof Pin || asksPerson(pin)) return;
  const isSame = soPins.some((soPin) => identify(pin, context) === identify(soPin, context));
  if (isSame) throw same(context, use, `both come from ${describe(pin)}`);
}

/** A source in one spelling. */
function identify(source: PinSource, { folder }: PinContext): string {
  if (!("file" in source)) return JSON.stringify(source);
  return realPath(resolve(folder, source.file));
}

async function refuseSoPin(pin: Pin, soPins: readonly PinSource[], context: PinContext, use: PinUse): Promise<void> {
  if (seen.get(keyOf(context)) === digest(pin)) throw same(context, use);
  for (const soPin of soPins) {
    const so = await readSilently(soPin, purpose("SO", context, "login"), context);
    const isSame = so?.equals(pin);
    so?.wipe();
    if (isSame === true) throw same(context, use);
  }
}

async function refuseUserPin(soPin: Pin, { pin }: TokenPins, context: PinContext): Promise<void> {
  const user = pin instanceof Pin ? pin.copy() : await readSilently(pin, purpose("USER", context, "login"), context);
  const isSame = user?.equals(soPin);
  user?.wipe();
  if (isSame !== true) return;
  throw new PinSourceError(`the new SO PIN of ${context.name} is the same as its user PIN`, { hints: [APART] });
}

/** A PIN that can be read without asking a person or running a program; it may be kept elsewhere in daily life. */
async function readSilently(
  source: PinSource | undefined,
  what: string,
  { read }: PinContext,
): Promise<Pin | undefined> {
  if (source === undefined || !("file" in source || "env" in source || "credential" in source)) return undefined;
  return read(source, what).catch(() => undefined);
}

const APART = "let the two roles have different PINs";

function same(context: PinContext, use: PinUse, how = ""): PinSourceError {
  const detail = how === "" ? "" : ` (${how})`;
  if (use === "new") {
    return new PinSourceError(`the new user PIN of ${context.name} is the same as its SO PIN${detail}`, {
      hints: [`nothing was changed; choose another new PIN: ${APART}`],
    });
  }
  return new PinSourceError(
    `${purpose("USER", context, "login")} is the same as its SO PIN${detail}, and is not sent as the user's`,
    { hints: [`if the SO PIN was given as the user's by mistake, give the user's; otherwise ${APART}`] },
  );
}
