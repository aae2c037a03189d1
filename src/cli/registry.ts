/**
 * The commands, in the order of the help. A command's file is imported when it runs.
 * @module
 */
import type { CommandFile } from "./command.ts";

interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CommandFile>;
}

export const COMMANDS: readonly Entry[] = [
  { name: "plan", summary: "show what apply would do", load: () => import("./commands/plan.ts") },
  { name: "apply", summary: "bring the tokens to what is declared", load: () => import("./commands/apply.ts") },
  {
    name: "status",
    summary: "show where every declared key stands, and what else the tokens hold",
    load: () => import("./commands/status.ts"),
  },
  { name: "uri", summary: "print the PKCS#11 URI of declared keys", load: () => import("./commands/uri.ts") },
  { name: "schema", summary: "print the JSON Schema of the declaration", load: () => import("./commands/schema.ts") },
];
