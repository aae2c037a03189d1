/**
 * `keywright pin forget`
 * @module
 */
import { existsSync } from "node:fs";
import { isUri, type Pkcs11Uri, parseUri } from "../../cryptoki/uri.ts";
import type { TokenDeclaration } from "../../lifecycle/declaration.ts";
import { PinMemory, type TokenIdentity } from "../../pins/memory.ts";
import { uriOf } from "../../pins/refusals.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import { declaredPath } from "../declared-tokens.ts";
import { UnknownNameError } from "../errors.ts";
import type { Io } from "../io.ts";
import { chosenState, DEFAULT_FILE, FILE_OPTION, loadDeclaration } from "../surroundings.ts";
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
  const memory = new PinMemory(chosenState(input));
  const { declared, failure } = isUri(word) ? {} : await declaredToken(word, input);
  const wanted = [
    ...(isUri(word) ? [parseUri(word).path] : [{ token: word }]),
    ...(declared === undefined ? [] : [declaredPath(declared)]),
  ];
  const forgotten = await memory.forget((token) => wanted.some((path) => matches(path, token)));
  if (forgotten > 0) io.tell(`forgot the refused PINs of ${count(forgotten, "token")}`);
  else if (failure !== undefined) throw failure;
  else if (declared !== undefined && tells(declaredPath(declared))) io.tell(`nothing was remembered of ${word}`);
  else throw unknown(word, await memory.tokens());
  return EXIT.done;
}

/** The token of a declared name. A declaration with a fault does not keep a label from being forgotten. */
async function declaredToken(
  word: string,
  input: Input<typeof spec>,
): Promise<{ declared?: TokenDeclaration; failure?: unknown }> {
  if (input.file === undefined && !existsSync(DEFAULT_FILE)) return {};
  try {
    const { tokens } = await loadDeclaration(input);
    const declared = Object.hasOwn(tokens, word) ? tokens[word] : undefined;
    return declared === undefined ? {} : { declared };
  } catch (failure) {
    return { failure };
  }
}

const NAMES = ["token", "manufacturer", "serial", "model"] as const;

/** Whether a path says anything that is remembered of a token; a slot's number is not. */
function tells(path: Pkcs11Uri["path"]): boolean {
  return NAMES.some((name) => path[name] !== undefined);
}

function matches(path: Pkcs11Uri["path"], { label: token, manufacturer, serial, model }: TokenIdentity): boolean {
  const own = { token, manufacturer, serial, model };
  return tells(path) && NAMES.every((name) => path[name] === undefined || path[name] === own[name]);
}

function unknown(word: string, tokens: readonly TokenIdentity[]): UnknownNameError {
  return new UnknownNameError(
    `nothing is remembered of a token ${JSON.stringify(word)}`,
    // One that is declared by its slot alone is among these, for a slot's number is not remembered.
    tokens.length === 0
      ? ["no token has refused a PIN"]
      : ["refused PINs are remembered of:", ...tokens.map((token) => `  ${uriOf(token)}`)],
  );
}
