/**
 * `keywright schema`
 * @module
 */

import { policySchema } from "../../layers/policy/policy.ts";
import { declarationSchema } from "../../lifecycle/declaration.ts";
import { command, EXIT, type ExitCode, flag, type Input } from "../command.ts";
import type { Io } from "../io.ts";

export const spec = command({
  name: "schema",
  summary: "print the JSON Schema of the declaration",
  options: { policy: flag("of a policy instead") },
  notes: ["An editor that knows JSON Schema checks and completes keys.yaml, or a policy, with it."],
  examples: ["keywright schema > keys.schema.json", "keywright schema --policy > policy.schema.json"],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  io.out(JSON.stringify(input.policy ? policySchema() : declarationSchema(), undefined, 2));
  return EXIT.done;
}
