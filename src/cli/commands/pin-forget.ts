/**
 * `keywright pin forget`
 * @module
 */
import { isUri, parseUri } from "../../cryptoki/uri.ts";
import { PinMemory, type TokenIdentity } from "../../pins/memory.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import type { Io } from "../io.ts";
import { chosenState, FILE_OPTION, loadDeclaration } from "../surroundings.ts";
import { count } from "../words.ts";

export const spec = command({
  name: "pin forget",
  summary: "forget which PINs a token refused, so that they may be tried again",
  words: { usage: "TOKEN", least: 1, most: 1 },
  options: { ...FILE_OPTION },
  notes: [
    "TOKEN is a label, a declared name or a PKCS#11 URI. Opens no token: a locked or absent one can be forgotten too.",
  ],
  examples: ["keywright pin forget demo"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const [word] = input.words as [string];
  const labels = new Set([word]);
  const declared = isUri(word) ? undefined : await loadDeclaration(input).catch(() => undefined);
  const label =
    declared !== undefined && Object.hasOwn(declared.tokens, word) ? declared.tokens[word]?.label : undefined;
  if (label !== undefined) labels.add(label);
  const uri = isUri(word) ? parseUri(word).path : undefined;
  const matches = (token: TokenIdentity) =>
    uri === undefined
      ? labels.has(token.label)
      : (uri.token ?? token.label) === token.label &&
        (uri.serial ?? token.serial) === token.serial &&
        (uri.manufacturer ?? token.manufacturer) === token.manufacturer &&
        (uri.model ?? token.model) === token.model;
  const forgotten = await new PinMemory(chosenState(input)).forget(matches);
  io.tell(
    forgotten === 0 ? `nothing was remembered of ${word}` : `forgot the refused PINs of ${count(forgotten, "token")}`,
  );
  return EXIT.done;
}
