/**
 * `keywright completion`
 * @module
 */
import { COMMON, type CommandEntry, command, EXIT, type ExitCode, type Input } from "../command.ts";
import { UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { kebab } from "../words.ts";

export const spec = command({
  name: "completion",
  summary: "print the completion script of a shell",
  words: { usage: "bash|zsh|fish", least: 1, most: 1, values: ["bash", "zsh", "fish"] },
  options: {},
  examples: [
    "keywright completion bash > /etc/bash_completion.d/keywright",
    "keywright completion fish > ~/.config/fish/completions/keywright.fish",
  ],
});

interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly {
    readonly name: string;
    readonly about: string;
    readonly isFile: boolean;
    readonly hasValue: boolean;
    readonly values: readonly string[];
  }[];
  /** Of the words after it. */
  readonly words: { readonly isFile: boolean; readonly values: readonly string[] };
}

export async function run(input: Input<typeof spec>, io: Io, commands: readonly CommandEntry[]): Promise<ExitCode> {
  const [shell] = input.words as [string];
  const scripts: Readonly<Record<string, (entries: readonly Entry[]) => string>> = { bash, zsh, fish };
  const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
  if (script === undefined)
    throw new UsageError(`no completion for ${JSON.stringify(shell)}`, ["shells: bash, zsh, fish"]);
  const entries: Entry[] = [];
  for (const { name, summary, load } of commands) {
    const { spec: of } = await load();
    const options = Object.entries({ ...of.options, ...COMMON }).map(([option, { about, value, values = [] }]) => ({
      name: kebab(option),
      about,
      isFile: ["FILE", "MODULE", "DIR", "PATH"].includes(value),
      hasValue: value !== "",
      values,
    }));
    const words = { isFile: of.words?.usage.includes("FILE") === true, values: of.words?.values ?? [] };
    entries.push({ name, summary, options, words });
  }
  io.out(script(entries));
  return EXIT.done;
}

function bash(entries: readonly Entry[]): string {
  const cases = entries.map(
    ({ name, options }) => `    "${name}") words="${options.map((o) => `--${o.name}`).join(" ")}" ;;`,
  );
  const groups = [...new Set(entries.map(({ name }) => name.split(" ")[0]!))];
  const second = groups
    .map(
      (group) =>
        [group, entries.flatMap(({ name }) => (name.startsWith(`${group} `) ? [name.split(" ")[1]!] : []))] as const,
    )
    .filter(([, names]) => names.length > 0)
    .map(([group, names]) => `    "${group}") words="${names.join(" ")}" ;;`);
  const values = new Map(
    entries.flatMap(({ options }) =>
      options.flatMap((o) => (o.values.length > 0 ? [[o.name, o.values] as const] : [])),
    ),
  );
  const offered = [...values].map(([name, of]) => `    "--${name}") words="${of.join(" ")}" ;;`);
  for (const { name, words } of entries) {
    if (words.values.length > 0) second.push(`    "${name}") words="${words.values.join(" ")}" ;;`);
  }
  return `# bash completion for keywright
_keywright() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words="" one="\${COMP_WORDS[1]}" two="\${COMP_WORDS[1]} \${COMP_WORDS[2]}"
  if [ "$COMP_CWORD" = 1 ]; then
    words="${groups.join(" ")}"
  elif [ "\${COMP_WORDS[COMP_CWORD-1]:0:2}" = "--" ] && [ "\${current:0:1}" != "-" ]; then
    case "\${COMP_WORDS[COMP_CWORD-1]}" in
${offered.join("\n")}
    esac
  elif [ "\${current:0:1}" = "-" ]; then
    case "$two" in
${cases.filter((line) => line.includes(" ", 5) && /^ {4}"\S+ \S+"/.test(line)).join("\n")}
    esac
    [ -n "$words" ] || case "$one" in
${cases.filter((line) => /^ {4}"\S+"\)/.test(line)).join("\n")}
    esac
  elif [ "$COMP_CWORD" = 2 ]; then
    case "$one" in
${second.join("\n")}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _keywright keywright`;
}

function zsh(entries: readonly Entry[]): string {
  return `#compdef keywright
autoload -U +X bashcompinit && bashcompinit
${bash(entries)}`;
}

function fish(entries: readonly Entry[]): string {
  const quote = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines: string[] = ["# fish completion for keywright", "complete -c keywright -f"];
  for (const { name, summary, options, words } of entries) {
    const [group, verb] = name.split(" ") as [string, string | undefined];
    const seen =
      verb === undefined
        ? `__fish_seen_subcommand_from ${group}`
        : `__fish_seen_subcommand_from ${group}; and __fish_seen_subcommand_from ${verb}`;
    if (verb === undefined)
      lines.push(`complete -c keywright -n __fish_use_subcommand -a ${group} -d ${quote(summary)}`);
    else {
      lines.push(`complete -c keywright -n __fish_use_subcommand -a ${group}`);
      lines.push(
        `complete -c keywright -n ${quote(`__fish_seen_subcommand_from ${group}`)} -a ${verb} -d ${quote(summary)}`,
      );
    }
    if (words.isFile) lines.push(`complete -c keywright -n ${quote(seen)} -F`);
    if (words.values.length > 0) {
      lines.push(`complete -c keywright -n ${quote(seen)} -a ${quote(words.values.join(" "))}`);
    }
    for (const option of options) {
      const values = option.values.length === 0 ? "" : ` -a ${quote(option.values.join(" "))}`;
      const takes = option.isFile ? " -r -F" : option.hasValue ? ` -x${values}` : "";
      lines.push(`complete -c keywright -n ${quote(seen)} -l ${option.name}${takes} -d ${quote(option.about)}`);
    }
  }
  return [...new Set(lines)].join("\n");
}
