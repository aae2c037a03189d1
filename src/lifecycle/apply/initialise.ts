/**
 * Making a token: label, SO PIN and user PIN.
 * @module
 */
import { resolve } from "node:path";
import { Pin } from "../../cryptoki/pin.ts";
import { familyOfToken } from "../../families/families.ts";
import { run } from "../../host/processes.ts";
import { type Access, pinFor, type Surroundings } from "../access.ts";
import { ApplyError } from "./keys.ts";

/** A token of a family without SO PIN takes the empty one until the user's is set (NSS). */
export const NO_SO_PIN = (): Pin => Pin.from(new Uint8Array());

/**
 * Initialises the token that a declared one is to become. Each part is safe to repeat: a token that has its label and no
 * user PIN yet is only given the PIN.
 * @throws ApplyError when there is no token to make it of
 */
export async function initialiseToken(access: Access, label: string, surroundings: Surroundings): Promise<void> {
  if (access.state !== "absent" || access.blank === undefined) {
    throw new ApplyError(`there is no uninitialised token to make ${label} of`);
  }
  const { blank, declared } = access;
  const onlyPin = familyOfToken(blank.info, declared.module).initialise === "pin";
  const isBlank = !blank.has("CKF_TOKEN_INITIALIZED");
  const soPin = onlyPin ? NO_SO_PIN : pinFor(declared, "SO", surroundings, isBlank);
  const userPin = pinFor(declared, "USER", surroundings, true);
  if (soPin === undefined || userPin === undefined)
    throw new ApplyError(`the token ${declared.name} lacks pin or soPin`);
  // Both are read before anything is done: a token without user PIN is of no use.
  const so = await soPin();
  const user = await userPin().catch((error: unknown) => {
    so.wipe();
    throw error;
  });
  try {
    if (!onlyPin && isBlank) await blank.initialise(label, so);
    // Absent means that there is no user PIN, whatever the flag says: tpm2-pkcs11 sets it once the token is initialised.
    await blank.initialisePin(so, user);
  } finally {
    so.wipe();
    user.wipe();
  }
  if (declared.initHook === undefined) return;
  const program = resolve(surroundings.folder, declared.initHook);
  const { status, signal } = await run(program, {
    arguments: [declared.name],
    environment: { KEYWRIGHT_TOKEN: declared.name, KEYWRIGHT_URI: blank.uri },
    output: "show",
    folder: surroundings.folder,
  });
  if (status !== 0) throw new ApplyError(`the hook ${program} ended with ${signal ?? `exit code ${status}`}`);
}
