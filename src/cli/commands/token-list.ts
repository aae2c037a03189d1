/**
 * `keywright token list`
 * @module
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { ModuleReference } from "../../modules/index.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import { tellError } from "../errors.ts";
import type { Io } from "../io.ts";
import { loadDeclaration } from "../surroundings.ts";
import { findTarget, hasTokens, referenceOf, TARGET_OPTIONS, withModule } from "../target.ts";
import { type TokenValue, tokenListView, tokenValue } from "../views/token.ts";

const { pin: _pin, ...OPTIONS } = TARGET_OPTIONS;

export const spec = command({
  name: "token list",
  summary: "list the tokens of a module, or of every declared one",
  options: { ...OPTIONS, json: flag("print JSON (schema keywright/token-list/1)") },
  notes: ["Without --module: the modules of the declaration, and the built-in token's store."],
  examples: ["keywright token list", "keywright token list --module /usr/lib/softhsm/libsofthsm2.so"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const tokens: TokenValue[] = [];
  let failed = false;
  for (const reference of await references(input, io)) {
    if (!hasTokens(reference)) continue;
    try {
      await withModule(reference, input, {}, io, async (module) => {
        for (const token of await module.tokens()) tokens.push(tokenValue(token, reference.module));
      });
    } catch (error) {
      // One broken module does not hide the tokens of the others.
      if (input.module !== undefined) throw error;
      tellError(error, io);
      failed = true;
    }
  }
  io.show(tokenListView, { tokens });
  return failed ? EXIT.failed : EXIT.done;
}

async function references(input: Input<typeof spec>, io: Io): Promise<ModuleReference[]> {
  if (input.module !== undefined) return [referenceOf(input.module, input)];
  const own = referenceOf("softtoken", input);
  if (input.file === undefined && !existsSync(resolve("keys.yaml"))) return [own];
  const declaration = await loadDeclaration(input);
  const declared: ModuleReference[] = [];
  for (const name of Object.keys(declaration.tokens)) declared.push((await findTarget(name, input, io)).reference);
  const text = (reference: ModuleReference) => JSON.stringify(reference);
  return [...new Map([...declared, own].map((reference) => [text(reference), reference])).values()];
}
