/**
 * How a server tells where it is.
 * @module
 */
import type { View } from "../io.ts";

export interface ServeValue {
  readonly environment: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly tokens: readonly string[];
}

const single = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** How each shell sets a variable for the programs that it runs. */
export const SHELLS = {
  sh: (name: string, value: string) => `${name}=${single(value)}; export ${name};`,
  csh: (name: string, value: string) => `setenv ${name} ${single(value).replaceAll("!", "\\!")};`,
  fish: (name: string, value: string) => `set -gx ${name} '${value.replaceAll(/[\\']/g, "\\$&")}';`,
} as const;

export type Shell = keyof typeof SHELLS;

export function serveView(shell: Shell): View<ServeValue> {
  return {
    schema: "keywright/serve/1",
    human: ({ environment }) =>
      Object.entries(environment)
        .map(([name, value]) => SHELLS[shell](name, value))
        .join("\n"),
  };
}
