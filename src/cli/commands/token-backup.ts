/**
 * `keywright token backup`
 * @module
 */
import { resolve } from "node:path";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { referenceOf, TARGET_OPTIONS } from "../target.ts";

const { store } = TARGET_OPTIONS;

export const spec = command({
  name: "token backup",
  summary: "copy the built-in store, with every token in it, to a file",
  words: { usage: "FILE", least: 1, most: 1 },
  options: { store },
  notes: ["The copy is as sealed as the store: whoever has it can try PINs against it without the count of tries."],
  examples: ["keywright token backup /media/usb/tokens.db"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const { backupStore } = await import("../../softtoken/index.ts");
  const file = resolve(input.words[0]!);
  await backupStore(referenceOf("softtoken", input).store!, file);
  io.tell(`wrote ${file}`);
  return EXIT.done;
}
