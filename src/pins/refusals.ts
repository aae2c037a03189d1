/**
 * What the guard says when it sends no PIN, and of what a token answered to one.
 * @module
 */
import { CryptokiError } from "../cryptoki/errors.ts";
import { formatUri, isUri, tokenUri } from "../cryptoki/uri.ts";
import type { FunctionName } from "../spec/functions.ts";
import type { Refused, RoleMemory, TokenIdentity } from "./memory.ts";

/** What is known of the token's family, see guard.ts. */
interface Habits {
  readonly neverLocks: boolean;
  readonly sharedTries?: string;
}

/** A login that may not be worth a try. */
interface Attempt {
  readonly role: "USER" | "SO";
  readonly identity: TokenIdentity;
  readonly memory: RoleMemory;
  /** The refusal that this very PIN is remembered by. */
  readonly remembered: Refused | undefined;
  readonly tries: number | "unlimited" | "unknown";
  readonly attended: boolean;
}

/** Why this PIN is not sent; undefined where it may be. */
export function wasteful(fn: FunctionName, attempt: Attempt): CryptokiError | undefined {
  const { role, identity, memory, remembered, tries, attended } = attempt;
  const who = pinName(role, identity);
  const command = `keywright pin forget ${wordFor(identity)}`;
  const forget = `if the token's PIN was changed since: ${command}`;
  const byHand = `log in once yourself, at a terminal, and type the right PIN: ${role === "SO" ? "--so-pin" : "--pin"} prompt`;
  if (remembered !== undefined) {
    const detail = `not sent: ${nameOf(identity)} refused this ${pinOf(role)} on ${remembered.at}`;
    return new CryptokiError(fn, "CKR_PIN_INCORRECT", detail, {
      hints: ["correct the PIN where it comes from", forget],
    });
  }
  if (tries === 0) return new CryptokiError(fn, "CKR_PIN_LOCKED", `not sent: ${who} is locked`);
  if (attended) return undefined;
  if (memory.pending !== undefined) {
    const detail = `not sent: a login with ${who} on ${memory.pending.at} was never answered, and the PIN may be wrong`;
    return new CryptokiError(fn, "CKR_PIN_INCORRECT", detail, {
      hints: [byHand, `if you know it to be right: ${command}`],
    });
  }
  if (tries === "unlimited") return undefined;
  if (typeof tries === "number" && tries < 2) {
    return new CryptokiError(fn, "CKR_PIN_INCORRECT", `not sent: it would be the last try of ${who}`, {
      hints: ["type the right PIN yourself, at a terminal: that resets the token's count"],
    });
  }
  if (tries === "unknown" && memory.unattended > 0) {
    const detail = `not sent: a login with ${who} failed while nobody was there, and how many tries are left is not known`;
    return new CryptokiError(fn, "CKR_PIN_INCORRECT", detail, { hints: [byHand, forget] });
  }
  return undefined;
}

/** A PIN that is not sent because the token could not be asked about it. */
export function unsent(fn: FunctionName, asked: FunctionName, error: unknown): unknown {
  if (!(error instanceof CryptokiError)) return error;
  return new CryptokiError(fn, error.rv, `the PIN was not sent, because ${asked} failed`, {
    cause: error,
    hints: [...error.hints],
  });
}

/** What a failure says of the PIN that was sent: it was refused, never compared, or nobody knows. */
export function outcomeOf(error: CryptokiError, { sharedTries }: Habits): "refused" | "untried" | "unknown" {
  if (error.is("CKR_PIN_LOCKED") && sharedTries !== undefined) return "untried";
  if (error.is("CKR_PIN_INCORRECT", "CKR_PIN_LOCKED")) return "refused";
  const untried = error.is(
    "CKR_ARGUMENTS_BAD",
    "CKR_CRYPTOKI_NOT_INITIALIZED",
    "CKR_FUNCTION_NOT_SUPPORTED",
    "CKR_OPERATION_NOT_INITIALIZED",
    "CKR_PIN_EXPIRED",
    "CKR_PIN_INVALID",
    "CKR_PIN_LEN_RANGE",
    "CKR_PIN_TOO_WEAK",
    "CKR_SESSION_CLOSED",
    "CKR_SESSION_EXISTS",
    "CKR_SESSION_HANDLE_INVALID",
    "CKR_SESSION_READ_ONLY",
    "CKR_SESSION_READ_ONLY_EXISTS",
    "CKR_SLOT_ID_INVALID",
    "CKR_TOKEN_NOT_PRESENT",
    "CKR_TOKEN_WRITE_PROTECTED",
    "CKR_USER_ALREADY_LOGGED_IN",
    "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
    "CKR_USER_NOT_LOGGED_IN",
    "CKR_USER_PIN_NOT_INITIALIZED",
    "CKR_USER_TOO_MANY_TYPES",
    "CKR_USER_TYPE_INVALID",
  );
  return untried ? "untried" : "unknown";
}

/** A token's own refusal, with the token and the role that it is about. */
export function refused(
  error: CryptokiError,
  role: "USER" | "SO",
  identity: TokenIdentity,
  { neverLocks, sharedTries }: Habits,
): CryptokiError {
  const detail = [pinName(role, identity), error.detail].filter((part) => part !== "").join(": ");
  const hints =
    neverLocks && error.is("CKR_PIN_INCORRECT")
      ? ["correct the PIN where it comes from"]
      : // The SO cannot undo a lock that is not this PIN's.
        sharedTries !== undefined && error.is("CKR_PIN_LOCKED")
        ? []
        : [...error.hints];
  return new CryptokiError(error.function, error.rv, detail, { cause: error, hints });
}

const pinOf = (role: "USER" | "SO") => (role === "SO" ? "SO PIN" : "user PIN");

function pinName(role: "USER" | "SO", identity: TokenIdentity): string {
  return `the ${pinOf(role)} of ${nameOf(identity)}`;
}

/** What people call the token. */
function nameOf(identity: TokenIdentity): string {
  return identity.label || uriOf(identity);
}

/** The URI of a token that is remembered. */
export function uriOf({ label, manufacturer, serial, model }: TokenIdentity): string {
  return formatUri(tokenUri({ label, manufacturerID: manufacturer, serialNumber: serial, model }));
}

/** The token as a word of a shell's command line; a label that would be read as something else gives way to the URI. */
function wordFor(identity: TokenIdentity): string {
  const { label } = identity;
  const word = label === "" || label.startsWith("-") || isUri(label) ? uriOf(identity) : label;
  return /^[\w.,:@%+/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
