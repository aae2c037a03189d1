/**
 * `keywright token delete`
 * @module
 */
import { tokenMarker, unmark } from "../../lifecycle/markers.ts";
import { withTokenLocks } from "../../lifecycle/token-locks.ts";
import { reachOfDeclared } from "../../modules/declared.ts";
import { command, EXIT, type ExitCode, type Input } from "../command.ts";
import { confirmDestruction, YES_OPTION } from "../confirm.ts";
import { UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { chosenState } from "../surroundings.ts";
import { findTarget, lockOptions, TARGET_OPTIONS, withToken } from "../target.ts";

const { pin: _pin, ...OPTIONS } = TARGET_OPTIONS;

export const spec = command({
  name: "token delete",
  summary: "delete a token of the built-in store, with everything in it",
  words: { usage: "TOKEN", least: 1, most: 1 },
  options: { ...OPTIONS, ...YES_OPTION },
  notes: [
    "Only the built-in token can be deleted; other tokens are emptied by token init, or by their vendor's program.",
  ],
  examples: ["keywright token delete 'pkcs11:token=demo' --yes"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const target = await findTarget(input.words[0], input, io);
  const { module, store } = target.reference;
  if (module !== "softtoken" || store === undefined) {
    throw new UsageError(`${module} is not the built-in token`, ["token init empties a token of another kind"]);
  }
  const { label, serialNumber, uri } = await withToken(target, input, io, async ({ token }) => ({
    ...token.info,
    uri: token.uri,
  }));
  await confirmDestruction("this token and every key in it will be destroyed", [uri], input, io);
  const { deleteToken } = await import("../../softtoken/index.ts");
  await withTokenLocks([uri], lockOptions(io), () => deleteToken(store, label, serialNumber));
  const { declared, folder } = target;
  if (declared !== undefined) {
    // That it is away is no surprise to the next apply.
    const state = chosenState(input);
    await unmark(
      tokenMarker("tokens", declared, { state, reach: (token) => reachOfDeclared(token, { folder, state }) }),
    );
  }
  io.tell(`deleted ${uri}`);
  return EXIT.done;
}
