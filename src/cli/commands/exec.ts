/**
 * `keywright exec`
 * @module
 */
import { command, type ExitCode, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { guard } from "../serving/guards.ts";
import { workersOf } from "../serving/options.ts";
import { PROGRAM_NOTES, PROGRAM_OPTIONS, runServed } from "../serving/program.ts";
import { findServed } from "../serving/tokens.ts";

export const spec = command({
  name: "exec",
  summary: "run a program with tokens that it can use, served to it alone",
  words: { usage: "-- COMMAND [ARGUMENT…]", least: 1, most: 10_000 },
  options: PROGRAM_OPTIONS,
  notes: [...PROGRAM_NOTES, "Ends as the program does: with its exit code, or 128 and the number of its signal."],
  examples: [
    'keywright exec --token demo -- pkcs11-tool --module "$(keywright module-path)" -O',
    "keywright exec --token demo -- openssl req -new -engine pkcs11 -keyform engine -key 'pkcs11:object=www' -subj /CN=www",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const served = await findServed(input.token, input.noUnlock ? "never" : "where known", input, io);
  const guarded = await guard(served, input, { uninitialised: input.uninitialised }, io);
  return runServed(guarded, input.words, workersOf(input, 1));
}
