/**
 * `keywright pin change`
 * @module
 */

import { withPins } from "../../pins/roles.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { NEW_PIN_OPTION, needPin, pinSource, requireSo, SO_PIN_OPTION } from "../pin-options.ts";
import { findTarget, TARGET_OPTIONS, withToken } from "../target.ts";

export const spec = command({
  name: "pin change",
  summary: "change the user PIN or the SO PIN of a token, knowing the old one",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: { ...TARGET_OPTIONS, ...SO_PIN_OPTION, ...NEW_PIN_OPTION, so: flag("the SO PIN instead of the user's") },
  examples: [
    "keywright pin change demo",
    "keywright pin change demo --so --so-pin file:so.pin --new-pin file:new-so.pin",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  const role = input.so ? "SO" : "USER";
  await withToken(target, input, io, async ({ token, family, pin, newPin, locked }) => {
    if (input.so) requireSo(family, "leave --so out to change the user PIN");
    const next = newPin(role, pinSource("--new-pin", input.newPin));
    const old = needPin(pin(role), input.so ? "--so-pin" : "--pin");
    await withPins([old, needPin(next, "--new-pin")], (before, after) =>
      locked(() => token.changePin(role, before, after)),
    );
    io.tell(`changed the ${role === "SO" ? "SO" : "user"} PIN of ${token.info.label}`);
  });
  return EXIT.done;
}
