/**
 * The command. Finds the subcommand, reads its options, runs it, and turns what it throws into an error line, hint lines
 * and an exit code.
 * @module
 */
import { parseArgs } from "node:util";
import { exit, exitOnSignals } from "../host/exit.ts";
import { COMMON, type CommandFile, EXIT, type ExitCode, type Options } from "./command.ts";
import { exitCodeOf, tellError, UsageError } from "./errors.ts";
import { commandHelp, overview, VERSION } from "./help.ts";
import { Io } from "./io.ts";
import { COMMANDS } from "./registry.ts";
import { kebab } from "./words.ts";

async function main(argv: readonly string[], io: Io): Promise<ExitCode> {
  try {
    const code = await dispatch(argv, io);
    await io.written();
    return code;
  } catch (error) {
    tellError(error, io);
    return exitCodeOf(error);
  } finally {
    await io.told();
  }
}

async function dispatch(argv: readonly string[], io: Io): Promise<ExitCode> {
  const words = argv.filter((word) => !word.startsWith("-"));
  if (words.length === 0 && argv.includes("--version")) {
    io.out(VERSION);
    return EXIT.done;
  }
  const entry = COMMANDS.find(({ name }) => {
    const parts = name.split(" ");
    return parts.every((part, i) => argv[i] === part);
  });
  if (entry === undefined) {
    const asked = argv.includes("--help") || argv.includes("-h");
    const isGroup = words.length === 1 && COMMANDS.some(({ name }) => name.startsWith(`${words[0]} `));
    if (words.length === 0 || isGroup) {
      io.out(overview(words[0]));
      return asked ? EXIT.done : EXIT.usage;
    }
    throw await unknownCommand(argv, words);
  }
  const file = await entry.load();
  const rest = argv.slice(entry.name.split(" ").length);
  const own = beforeDashes(rest);
  if (own.includes("--help") || own.includes("-h")) {
    io.out(commandHelp(file.spec));
    return EXIT.done;
  }
  return file.run(await readInput(file, rest), io, COMMANDS);
}

/** Words that begin with no command: one is misspelt, or an option stands in it. */
async function unknownCommand(argv: readonly string[], words: readonly string[]): Promise<UsageError> {
  const meant = COMMANDS.find((one) => one.name.split(" ").every((part, i) => words[i] === part));
  if (meant !== undefined) {
    // The options are not repeated: somebody may have put a PIN there.
    return new UsageError("options stand after the command", [`so: keywright ${meant.name} [OPTION…]`]);
  }
  const name = words.slice(0, 2).join(" ");
  const groups = COMMANDS.map((one) => one.name.split(" ")[0]!);
  const known = [...COMMANDS.map((one) => one.name), ...(words.length === 1 ? new Set(groups) : [])];
  return new UsageError(`there is no command ${JSON.stringify(name)}`, [
    await didYouMean(name, known),
    argv[0]?.startsWith("-") === true ? "options stand after the command" : "",
    "see: keywright --help",
  ]);
}

/** A hint at the name that was probably meant; empty when none is near. */
async function didYouMean(name: string, known: readonly string[]): Promise<string> {
  const { nearest } = await import("../schema/nearest.ts");
  const near = nearest(name, known);
  return near === undefined ? "" : `did you mean ${near}?`;
}

async function readInput({ spec }: CommandFile, argv: readonly string[]): Promise<unknown> {
  const options: Options = { ...COMMON, ...spec.options };
  const config = Object.fromEntries(
    Object.entries(options).map(([name, { kind, short }]) => [
      kebab(name),
      {
        type: kind === "flag" ? ("boolean" as const) : ("string" as const),
        multiple: kind === "texts",
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...argv], options: config, allowPositionals: true, strict: true });
  } catch (error) {
    const message = lower((error as Error).message.split(/\. |\.?\n/)[0]!);
    const unknown = /^unknown option '(-[^']*)'/.exec(message)?.[1];
    const near =
      unknown === undefined
        ? ""
        : await didYouMean(
            unknown,
            Object.keys(config).map((name) => `--${name}`),
          );
    const dashed = /use '(--?[\w-]+)=?-XYZ'/.exec((error as Error).message)?.[1];
    throw new UsageError(message, [
      near,
      dashed === undefined ? "" : `a value that begins with a dash is given so: ${dashed}=-VALUE`,
      `see: keywright ${spec.name} --help`,
    ]);
  }
  const { least, most } = spec.words ?? { least: 0, most: 0 };
  if (parsed.positionals.length < least || parsed.positionals.length > most) {
    const usage = spec.words === undefined ? "no further words" : spec.words.usage;
    throw new UsageError(`keywright ${spec.name} takes ${usage}`, [`see: keywright ${spec.name} --help`]);
  }
  const values = Object.entries(options).map(([name, { kind }]) => {
    const value = parsed.values[kebab(name)];
    return [name, value ?? (kind === "flag" ? false : kind === "texts" ? [] : undefined)];
  });
  return { ...Object.fromEntries(values), words: parsed.positionals };
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** What comes after `--` are words: options there are another program's. */
function beforeDashes(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf("--");
  return end === -1 ? argv : argv.slice(0, end);
}

const argv = process.argv.slice(2);
const options = beforeDashes(argv);
const io = new Io({ json: options.includes("--json"), debug: options.includes("--debug") });
exitOnSignals(() => io.interrupt());
void main(argv, io).then(exit);
