/**
 * Help texts, made from the same tables as the commands.
 * @module
 */

import manifest from "../../package.json" with { type: "json" };
import { COMMON, type CommandSpec, EXIT, EXIT_MEANINGS, type Options } from "./command.ts";
import { COMMANDS } from "./registry.ts";
import { kebab } from "./words.ts";

export const VERSION: string = manifest.version;

const WIDTH = 28;

/** `keywright --help`; or the commands that begin with a word. */
export function overview(group?: string): string {
  const shown = COMMANDS.filter(({ name }) => group === undefined || name.startsWith(`${group} `));
  const rows = (shown.length > 0 ? shown : COMMANDS).map(({ name, summary }) => row(name, summary));
  const codes = Object.entries(EXIT).map(([name, code]) => row(String(code), EXIT_MEANINGS[name as keyof typeof EXIT]));
  return [
    "keywright: private keys in PKCS#11 tokens, declared in a file, for their whole life",
    "",
    "usage: keywright COMMAND [OPTION…]",
    "",
    ...rows,
    "",
    "exit codes:",
    ...codes,
    "",
    "keywright COMMAND --help tells more; keywright --version prints the version",
  ].join("\n");
}

/** `keywright COMMAND --help`. */
export function commandHelp(spec: CommandSpec): string {
  const section = (title: string, lines: readonly string[] | undefined) =>
    lines === undefined || lines.length === 0 ? [] : ["", title, ...lines.map((line) => `  ${line}`)];
  return [
    `usage: keywright ${[spec.name, ...usageOf(spec.words?.usage)].join(" ")}`,
    "",
    spec.summary,
    "",
    ...optionRows(spec.options),
    ...optionRows(COMMON),
    ...(spec.notes === undefined ? [] : ["", ...spec.notes]),
    ...section("examples:", spec.examples),
  ].join("\n");
}

function optionRows(options: Options): string[] {
  return Object.entries(options).map(([name, { kind, value, short, about }]) => {
    const long = `--${kebab(name)}${value === "" ? "" : ` ${value}`}`;
    return row(`${short === undefined ? "" : `-${short}, `}${long}${kind === "texts" ? " …" : ""}`, about);
  });
}

function row(left: string, right: string): string {
  return left.length < WIDTH ? `  ${left.padEnd(WIDTH)}${right}` : `  ${left}\n  ${" ".repeat(WIDTH)}${right}`;
}

/** Options stand after the words, but before a program of the user's own, which has options of its own. */
function usageOf(words: string | undefined): string[] {
  if (words === undefined) return ["[OPTION…]"];
  return words.startsWith("--") ? ["[OPTION…]", words] : [words, "[OPTION…]"];
}
