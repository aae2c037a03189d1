/**
 * `keywright token restore`
 * @module
 */
import { resolve } from "node:path";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { referenceOf, TARGET_OPTIONS } from "../target.ts";

const { store } = TARGET_OPTIONS;

export const spec = command({
  name: "token restore",
  summary: "make the built-in store from a backup",
  words: { usage: "FILE", least: 1, most: 1 },
  options: { store },
  notes: [
    "A store that is there is never replaced: move it away first, and the files -wal and -shm beside it with it.",
  ],
  examples: ["keywright token restore /media/usb/tokens.db"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const { restoreStore } = await import("../../softtoken/index.ts");
  const reference = referenceOf("softtoken", input);
  const source = resolve(input.words[0]!);
  await restoreStore(source, reference.store!);
  io.tell(`restored ${reference.store}`);
  return EXIT.done;
}
