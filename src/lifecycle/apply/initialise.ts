/**
 * Making a token: label, SO PIN and user PIN.
 * @module
 */
import { Pin } from "../../cryptoki/pin.ts";
import type { Token } from "../../cryptoki/token.ts";
import { type Family, familyOfToken } from "../../families/families.ts";
import { declaredPins, type PinContext, pinFor, type TokenPins, withPins } from "../../pins/roles.ts";
import { PinSourceError } from "../../pins/sources.ts";
import { UNAVAILABLE_INFORMATION } from "../../spec/structures.ts";
import { type Access, pinContext, type Surroundings } from "../access.ts";
import { markHook, ofToken, runInitHook } from "../hooks.ts";
import { ApplyError } from "./keys.ts";

/** What a token is made with. */
export interface NewToken {
  readonly label: string;
  readonly family: Family;
  readonly pins: TokenPins;
  readonly context: PinContext;
  /** Empties a token that is initialised already; otherwise it is only given its user PIN. */
  readonly anew: boolean;
  /** Runs what changes the token, once the PINs are read. */
  readonly locked?: (change: () => Promise<void>) => Promise<void>;
}

/**
 * Gives a token its label, SO PIN and user PIN. Both PINs are read and checked before anything is sent: a token without
 * user PIN is of no use.
 * @throws ApplyError when a PIN has no source, PinSourceError when one cannot be read or the two do not do
 */
export async function makeToken(token: Token, wanted: NewToken): Promise<void> {
  const { label, family, pins, context, anew, locked = (change) => change() } = wanted;
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
    return locked(async () => {
      if (hasSo && (isBlank || anew)) await token.initialise(label, so);
      await token.initialisePin(so, user);
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

/**
 * Initialises the token that a declared one is to become. Each part is safe to repeat: a token that has its label and no
 * user PIN yet is only given the PIN. Absent means that there is none, whatever the flag says: tpm2-pkcs11 sets it once
 * the token is initialised.
 * @throws ApplyError when there is no token to make it of
 */
export async function initialiseToken(access: Access, label: string, surroundings: Surroundings): Promise<void> {
  if (access.state !== "absent" || access.blank === undefined) {
    throw new ApplyError(`there is no uninitialised token to make ${label} of`);
  }
  const { blank, declared } = access;
  // From here on the hook is to run, whatever happens in between.
  if (declared.initHook !== undefined) await markHook(surroundings.state, ofToken(declared.name), "");
  await makeToken(blank, {
    label,
    family: familyOfToken(blank.info, declared.module),
    pins: declaredPins(declared),
    context: pinContext(declared, surroundings),
    anew: false,
  });
}

/** Runs the initHook of a token, whether it was made by this run or by one that did not come to its end. */
export async function runTokenHook(access: Access, hook: string, surroundings: Surroundings): Promise<void> {
  const token = access.state === "present" ? access.token : access.state === "absent" ? access.blank : undefined;
  if (token === undefined) throw new ApplyError(`the token ${access.declared.name} is not there any more`);
  await runInitHook(hook, access.declared.name, token.uri, surroundings);
}
