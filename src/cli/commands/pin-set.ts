/**
 * `keywright pin set`
 * @module
 */

import { withPins } from "../../pins/roles.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import { CommandError } from "../errors.ts";
import type { Io } from "../io.ts";
import { CHANGE, needPin, requireSo, SO_PIN_OPTION } from "../pin-options.ts";
import { findTarget, TARGET_OPTIONS, withToken } from "../target.ts";

export const spec = command({
  name: "pin set",
  summary: "set the first user PIN of a token, as the SO",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: { ...TARGET_OPTIONS, ...SO_PIN_OPTION },
  examples: ["keywright pin set demo --so-pin file:so.pin --pin prompt"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withToken(target, input, io, async ({ token, family, pin, locked }) => {
    if (token.has("CKF_USER_PIN_INITIALIZED")) {
      throw new CommandError(`${token.info.label} has a user PIN already`, [
        CHANGE,
        ...(family.initialise === "pin"
          ? []
          : ["to replace one that is locked or lost, as the SO: keywright pin unblock"]),
      ]);
    }
    requireSo(family, "to give a new token its user PIN: keywright token init");
    await withPins([needPin(pin("SO"), "--so-pin"), needPin(pin("USER", "first"), "--pin")], (so, user) =>
      locked(() => token.initialisePin(so, user)),
    );
    io.tell(`set the user PIN of ${token.info.label}`);
  });
  return EXIT.done;
}
