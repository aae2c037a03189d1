/**
 * What a command is: its words, its options, its help, and what it does.
 * @module
 */
import type { Io } from "./io.ts";

/** The one table of exit codes. */
export const EXIT = {
  done: 0,
  failed: 1,
  changesPending: 2,
  stale: 3,
  pin: 4,
  needsConfirmation: 5,
  usage: 64,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  done: "done",
  failed: "failed",
  changesPending: "changes are pending (plan --exit-code)",
  stale: "the plan is stale",
  pin: "a PIN was refused, is locked or was withheld",
  needsConfirmation: "confirmation is needed: use a terminal, or --yes",
  usage: "the command line is not understood",
};

export interface Option<T> {
  readonly kind: "flag" | "text" | "texts";
  readonly about: string;
  /** What the value is, in help: FILE. */
  readonly value: string;
  readonly short?: string;
  /** What it may be, for completion. */
  readonly values?: readonly string[];
  /** For types only. */
  readonly is?: T;
}

/** An option without a value. */
export function flag(about: string): Option<boolean> {
  return { kind: "flag", about, value: "" };
}

/** An option with a value. */
export function text(value: string, about: string, short?: string): Option<string | undefined> {
  return { kind: "text", about, value, ...(short === undefined ? {} : { short }) };
}

/** An option, and values that completion offers for it. */
export function offering<O extends Option<unknown>>(values: readonly string[], option: O): O {
  return { ...option, values };
}

/** An option that may be given more than once. */
export function texts(value: string, about: string): Option<readonly string[]> {
  return { kind: "texts", about, value };
}

export type Options = Readonly<Record<string, Option<unknown>>>;

/** The words after a command that are not options. */
export interface Words {
  /** As help shows them: `[NAME…]`. */
  readonly usage: string;
  readonly least: number;
  readonly most: number;
  /** What they may be, for completion. */
  readonly values?: readonly string[];
}

export interface CommandSpec<O extends Options = Options> {
  readonly name: string;
  readonly summary: string;
  readonly words?: Words;
  readonly options: O;
  /** Lines of help after the options. */
  readonly notes?: readonly string[];
  readonly examples?: readonly string[];
}

export type Input<S extends CommandSpec> = {
  readonly [K in keyof S["options"]]: S["options"][K] extends Option<infer T> ? T : never;
} & { readonly words: readonly string[]; readonly state: string | undefined };

/** Declares a command, keeping the types of its options. */
export function command<const O extends Options>(spec: CommandSpec<O>): CommandSpec<O> {
  return spec;
}

/** A command's file: lazily imported. */
export interface CommandFile {
  readonly spec: CommandSpec;
  // biome-ignore lint/suspicious/noExplicitAny: each command types its own input from its own spec
  run(input: any, io: Io, commands: readonly CommandEntry[]): Promise<ExitCode>;
}

/** A line of the registry: what help shows without importing the command. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<CommandFile>;
}

/** Options that every command takes. */
export const COMMON = {
  state: text(
    "DIR",
    "the state folder (default: $STATE_DIRECTORY, /var/lib/keywright for root, else ~/.local/state/keywright)",
  ),
  debug: flag("tell every call of a token and what it returns, on standard error; never a PIN"),
  help: { ...flag("show this help"), short: "h" },
} as const;
