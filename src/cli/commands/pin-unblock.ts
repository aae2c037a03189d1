/**
 * `keywright pin unblock`
 * @module
 */

import { withPins } from "../../pins/roles.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { CHANGE, NEW_PIN_OPTION, needPin, pinSource, requireSo, SO_PIN_OPTION } from "../pin-options.ts";
import { findTarget, TARGET_OPTIONS, withToken } from "../target.ts";

const { pin: _pin, ...OPTIONS } = TARGET_OPTIONS;

export const spec = command({
  name: "pin unblock",
  summary: "give a token a new user PIN, as the SO, where the old one is locked or lost",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: { ...OPTIONS, ...SO_PIN_OPTION, ...NEW_PIN_OPTION },
  examples: ["keywright pin unblock demo --so-pin file:so.pin --new-pin prompt"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withToken(target, input, io, async ({ token, family, pin, newPin, locked }) => {
    requireSo(family, CHANGE, "nobody can replace one that is lost");
    const next = newPin("USER", pinSource("--new-pin", input.newPin));
    await withPins([needPin(pin("SO"), "--so-pin"), needPin(next, "--new-pin")], (so, user) =>
      locked(() => token.initialisePin(so, user)),
    );
    io.tell(`set a new user PIN of ${token.info.label}`);
  });
  return EXIT.done;
}
