/**
 * Making a token: label, SO PIN and user PIN.
 * @module
 */
import { KeywrightError } from "../../cryptoki/errors.ts";
import { Pin } from "../../cryptoki/pin.ts";
import type { Token } from "../../cryptoki/token.ts";
import { type Family, familyOfToken } from "../../families/families.ts";
import { declaredPins, type PinContext, pinFor, type TokenPins, withPins } from "../../pins/roles.ts";
import { PinSourceError } from "../../pins/sources.ts";
import { UNAVAILABLE_INFORMATION } from "../../spec/structures.ts";
import { type Access, pinContext, type Surroundings, withFreshToken } from "../access.ts";
import type { TokenDeclaration } from "../declaration.ts";
import { runInitHook } from "../hooks.ts";
import { mark, tokenMarker, unmark } from "../markers.ts";
import { MAKING_TOKENS, type TokenLockOptions, withTokenLocks } from "../token-locks.ts";
import { ApplyError } from "./keys.ts";

/** What a token is made with. */
export interface NewToken {
  readonly label: string;
  readonly family: Family;
  readonly pins: TokenPins;
  readonly context: PinContext;
  /** Empties a token that is initialised already; otherwise it is only given its user PIN. */
  readonly anew: boolean;
  /**
   * Runs what changes the token, once the PINs are read: under a lock, and with the token looked at anew, for somebody may
   * have made it meanwhile (see {@link requireUnchanged}).
   */
  readonly locked: (change: (token: Token) => Promise<void>) => Promise<void>;
}

/**
 * Gives a token its label, SO PIN and user PIN. Both PINs are read and checked before anything is sent: a token without
 * user PIN is of no use.
 * @throws ApplyError when a PIN has no source, PinSourceError when one cannot be read or the two do not do
 */
export async function makeToken(token: Token, wanted: NewToken): Promise<void> {
  const { label, family, pins, context, anew, locked } = wanted;
  const hasSo = family.initialise !== "pin";
  const isBlank = !token.has("CKF_TOKEN_INITIALIZED");
  const soPin = hasSo ? pinFor(pins, "SO", context, isBlank ? "first" : "login") : noSoPin;
  const userPin = pinFor(pins, "USER", context, "first");
  if (soPin === undefined || userPin === undefined) {
    throw new ApplyError(`the token ${context.name} lacks ${userPin === undefined ? "a user PIN" : "an SO PIN"}`);
  }
  await withPins([soPin, userPin], (so, user) => {
    if (so.equals(user)) throw new PinSourceError(`the user PIN and the SO PIN of ${context.name} are the same`);
    if (hasSo && isBlank) checkLength("SO", so, token, context);
    checkLength("user", user, token, context);
    return locked(async (fresh) => {
      if (hasSo && (isBlank || anew)) await fresh.initialise(label, so);
      await fresh.initialisePin(so, user);
    });
  });
}

/** A token of a family without SO PIN takes the empty one until the user's is set (NSS). */
const noSoPin = (): Promise<Pin> => Promise.resolve(Pin.from(new Uint8Array()));

/** ulMinPinLen and ulMaxPinLen of CK_TOKEN_INFO, where the token says anything of use. */
function checkLength(role: "SO" | "user", pin: Pin, { info }: Token, { name }: PinContext): void {
  const length = pin.use((bytes) => bytes.length);
  const least = info.minPinLen === UNAVAILABLE_INFORMATION ? 0 : Number(info.minPinLen);
  const known = info.maxPinLen !== UNAVAILABLE_INFORMATION && Number(info.maxPinLen) >= Math.max(least, 1);
  const most = known ? Number(info.maxPinLen) : Number.POSITIVE_INFINITY;
  if (length >= least && length <= most) return;
  const bounds = known ? `${least} to ${most}` : `at least ${least}`;
  throw new PinSourceError(`the ${role} PIN of ${name} has ${length} bytes, and the token takes ${bounds}`, {
    hints: ["nothing was changed; choose another PIN"],
  });
}

/** A token was made, or given a PIN, after it was looked at. */
export class TokenChangedError extends KeywrightError {
  override readonly code = "ERR_PLAN_STALE";

  constructor(what: string) {
    super(`${what} is not as it was: somebody else has made a token meanwhile`, {
      hints: ["nothing was changed; look again: keywright token list"],
    });
  }
}

const MADE = ["CKF_TOKEN_INITIALIZED", "CKF_USER_PIN_INITIALIZED"] as const;

/** @throws TokenChangedError when a token is not what it was when the PINs were read */
export function requireUnchanged(before: Token, now: Token | undefined, what: string): asserts now is Token {
  const same = now !== undefined && now.uri === before.uri && MADE.every((flag) => now.has(flag) === before.has(flag));
  if (!same) throw new TokenChangedError(what);
}

/**
 * Initialises the token that a declared one is to become, and runs its initHook. Each part is safe to repeat: a token that
 * has its label and no user PIN yet is only given the PIN. Absent means that there is none, whatever the flag says:
 * tpm2-pkcs11 sets it once the token is initialised.
 * @param access as it was seen; its module need not be open any more
 * @throws ApplyError when there is no token to make it of, TokenChangedError when it was made meanwhile
 */
export async function initialiseToken(
  access: Access,
  label: string,
  surroundings: Surroundings,
  locks: TokenLockOptions,
): Promise<void> {
  if (access.state !== "absent" || access.blank === undefined) {
    throw new ApplyError(`there is no uninitialised token to make ${label} of`);
  }
  const { blank, declared } = access;
  let uri = blank.uri;
  await makeToken(blank, {
    label,
    family: familyOfToken(blank.info, declared.module),
    pins: declaredPins(declared),
    context: pinContext(declared, surroundings),
    anew: false,
    locked: (change) =>
      withTokenLocks([MAKING_TOKENS], locks, () =>
        withFreshToken(declared, surroundings, async (fresh) => {
          requireUnchanged(blank, fresh, `the token ${declared.name}`);
          // From here on the hook is to run, whatever happens in between.
          if (declared.initHook !== undefined) await mark(tokenMarker("hooks", declared, surroundings));
          await change(fresh);
          uri = fresh.uri;
        }),
      ),
  });
  await runTokenHook(declared, uri, surroundings);
}

/** Runs the initHook of a token, where it has one, and notes that it has run to its end. */
export async function runTokenHook(declared: TokenDeclaration, uri: string, surroundings: Surroundings): Promise<void> {
  if (declared.initHook === undefined) return;
  await runInitHook(declared.initHook, surroundings.folder, declared.name, uri);
  await unmark(tokenMarker("hooks", declared, surroundings));
}
