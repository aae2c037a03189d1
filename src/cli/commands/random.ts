/**
 * `keywright random`
 * @module
 */
import { command, EXIT, type ExitCode, flag, type Input, text } from "../command.ts";
import { CommandError, UsageError } from "../errors.ts";
import { OUT_OPTION, OWNER_ALONE, writeOut } from "../files.ts";
import type { Io } from "../io.ts";
import { findTarget, TARGET_OPTIONS, withToken } from "../target.ts";

const { pin: _pin, ...OPTIONS } = TARGET_OPTIONS;
const MOST = 1024 * 1024;

export const spec = command({
  name: "random",
  summary: "random bytes from a token",
  words: { usage: "[TOKEN]", least: 0, most: 1 },
  options: {
    ...OPTIONS,
    bytes: text("N", `how many, 1 to ${MOST} (default: 32)`),
    hex: flag("in hexadecimal"),
    ...OUT_OPTION,
  },
  examples: ["keywright random demo --bytes 16 --hex"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const length = Number(input.bytes ?? 32);
  if (!Number.isInteger(length) || length < 1 || length > MOST)
    throw new UsageError(`--bytes takes a number from 1 to ${MOST}`);
  const target = await findTarget(input.words[0], input, io).catch((error: unknown) => {
    throw meant(error, input.words[0]) ?? error;
  });
  await withToken(target, input, io, async ({ token }) => {
    const bytes = await token.withSession({}, (session) => session.random(length));
    await writeOut(input.hex ? `${Buffer.from(bytes).toString("hex")}\n` : bytes, input, io, OWNER_ALONE);
  });
  return EXIT.done;
}

/** A number in the place of a token that nobody declared. */
function meant(error: unknown, word: string | undefined): UsageError | undefined {
  const isUnknown = error instanceof CommandError || error instanceof UsageError;
  if (!isUnknown || word === undefined || !/^\d+$/.test(word)) return undefined;
  return new UsageError(`${word} is not a declared token`, [
    `for ${word} random bytes: keywright random --bytes ${word}`,
  ]);
}
