/**
 * `keywright token show`
 * @module
 */
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { findTarget, TARGET_OPTIONS, withToken } from "../target.ts";
import { tokenValue, tokenView } from "../views/token.ts";

const { pin: _pin, ...OPTIONS } = TARGET_OPTIONS;

export const spec = command({
  name: "token show",
  summary: "show a token: state, flags, PIN bounds",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: { ...OPTIONS, json: flag("print JSON (schema keywright/token/1)") },
  notes: ["TOKEN is a declared name or a PKCS#11 URI; without it, the module's only token."],
  examples: [
    "keywright token show demo",
    "keywright token show 'pkcs11:token=prod' --module /usr/lib/softhsm/libsofthsm2.so",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  await withToken(target, input, io, async ({ token }) =>
    io.show(tokenView, tokenValue(token, target.reference.module)),
  );
  return EXIT.done;
}
