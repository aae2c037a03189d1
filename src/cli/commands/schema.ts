/**
 * `keywright schema`
 * @module
 */
import { declarationSchema } from "../../lifecycle/declaration.ts";
import { command, EXIT, type ExitCode } from "../command.ts";
import type { Io } from "../io.ts";

export const spec = command({
  name: "schema",
  summary: "print the JSON Schema of the declaration",
  options: {},
  notes: ["An editor that knows JSON Schema checks and completes keys.yaml with it."],
  examples: ["keywright schema > keys.schema.json"],
});

export async function run(_input: object, io: Io): Promise<ExitCode> {
  io.out(JSON.stringify(declarationSchema(), undefined, 2));
  return EXIT.done;
}
