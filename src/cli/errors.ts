/**
 * What people see when something fails: an error line, hint lines, an exit code.
 * @module
 */
import { CodecError } from "../codec/errors.ts";
import { CryptokiError, KeywrightError } from "../cryptoki/errors.ts";
import { HostError } from "../host/errors.ts";
import { EXIT, type ExitCode } from "./command.ts";
import type { Io } from "./io.ts";

/** An error of the command's own; empty hints are left out. */
abstract class CliError extends KeywrightError {
  constructor(message: string, hints: readonly string[] = []) {
    super(message, { hints: hints.filter((hint) => hint !== "") });
  }
}

/** A command line that is not understood. */
export class UsageError extends CliError {
  override readonly code = "ERR_USAGE";
}

/** A command that is understood, and cannot be done with what is there. */
export class CommandError extends CliError {
  override readonly code = "ERR_COMMAND";
}

/** Reads what stands on the command line. @throws UsageError for what cannot be read, naming the option */
export function fromArgument<T>(option: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof UsageError) throw error;
    throw new UsageError(`${option}: ${error.message}`, error instanceof KeywrightError ? error.hints : []);
  }
}

/** A name on the command line that the declaration does not have. */
export class UnknownNameError extends CliError {
  override readonly code = "ERR_UNKNOWN_NAME";
}

/** Several objects, or none, are what was asked for: those that there are. */
export class ObjectChoiceError extends KeywrightError {
  override readonly code = "ERR_OBJECT_NOT_FOUND";

  constructor(message: string, choices: readonly string[]) {
    super(message, { hints: ["say which is meant:", ...choices.map((choice) => `  ${choice}`)] });
  }
}

/** An id or label that another object has. */
export class TakenError extends KeywrightError {
  override readonly code = "ERR_TAKEN";

  constructor(message: string, holders: readonly string[], hints: readonly string[] = []) {
    super(message, { hints: ["it belongs to:", ...holders.map((uri) => `  ${uri}`), ...hints] });
  }
}

/** A destructive command that nobody has confirmed. */
export class NotConfirmedError extends KeywrightError {
  override readonly code = "ERR_NOT_CONFIRMED";

  /** @param asked whether somebody was asked, and said no */
  constructor(what: string, asked = false) {
    super(`not confirmed: ${what}`, { hints: [asked ? "nothing was changed" : "run it in a terminal, or add --yes"] });
  }
}

/** The exit code of an error, by its code. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CryptokiError) return error.isPin ? EXIT.pin : EXIT.failed;
  if (!(error instanceof KeywrightError)) return EXIT.failed;
  switch (error.code) {
    case "ERR_USAGE":
    // Those of declarations are faults of the declaration.
    case "ERR_URI":
      return EXIT.usage;
    case "ERR_PLAN_STALE":
      return EXIT.stale;
    case "ERR_NOT_CONFIRMED":
      return EXIT.needsConfirmation;
    case "ERR_PIN_MISSING":
    case "ERR_PIN_SOURCE":
      return EXIT.pin;
    default:
      return EXIT.failed;
  }
}

/** Prints an error; one that was not foreseen with its stack, for it is a fault of ours. */
export function tellError(error: unknown, io: Io): void {
  if (error instanceof KeywrightError || error instanceof HostError) {
    io.tell(`keywright: error: ${error.message}`);
    for (const hint of error.hints) io.tell(`keywright: hint: ${hint}`);
    if (error.cause instanceof Error) io.debug(`cause: ${error.cause.message}`);
    return;
  }
  if (error instanceof CodecError) {
    io.tell(`keywright: error: ${error.message}`);
    return;
  }
  io.tell(`keywright: error: ${error instanceof Error ? error.message : String(error)}`);
  io.tell("keywright: hint: this is a fault of Keywright, not yours; please report it with the lines below");
  io.tell(error instanceof Error ? (error.stack ?? "") : "");
}
