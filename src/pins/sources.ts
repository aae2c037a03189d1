/**
 * Where a PIN comes from. Every source gives bytes; any bytes are a PIN.
 * @module
 */
import { accessSync, closeSync, constants, fstatSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { KeywrightError } from "../cryptoki/errors.ts";
import { Pin } from "../cryptoki/pin.ts";
import { UriError } from "../cryptoki/uri.ts";
import { readVariable, takeVariable } from "../host/environment.ts";
import { explainSystem, HostError } from "../host/errors.ts";
import { run } from "../host/processes.ts";
import { openForReading, readInherited, readOpened } from "../host/reading.ts";

/** A declared source of a PIN; one field says which kind it is. */
export type PinSource =
  | { readonly file: string; readonly allowWorldReadable?: boolean }
  | { readonly env: string }
  | { readonly credential: string }
  | { readonly fd: number }
  | { readonly command: readonly string[] }
  | { readonly prompt: true };

/** Asks a person for a PIN, without echo; the answer is bytes that the caller wipes. */
export type Prompt = (question: string) => Promise<Uint8Array>;

export interface SourceContext {
  /** The folder that relative paths start from. */
  readonly folder: string;
  /** Absent where nobody can be asked. */
  readonly prompt?: Prompt | undefined;
  /** What the PIN is for: `"the user PIN of demo"`. */
  readonly purpose: string;
}

/** A source that gave no PIN. Never carries the PIN. */
export class PinSourceError extends KeywrightError {
  override readonly code = "ERR_PIN_SOURCE";
}

/** A PIN longer than this is a mistake: the path of a large file, an endless command. In bytes. */
const MOST = 4096;
/** With a newline, and one byte that tells that there is more. */
const MOST_READ = MOST + 3;

/**
 * Reads a PIN from its source. One newline at its end is not part of it (a file made with an editor has one).
 * @throws PinSourceError naming the source and the fault
 */
export async function readPin(source: PinSource, context: SourceContext): Promise<Pin> {
  const bytes = await readSource(source, context);
  try {
    const pin = trimNewline(bytes);
    if (pin.length === 0) throw refuse(context, `${describe(source)} is empty`);
    if (pin.length > MOST) throw refuse(context, `${describe(source)} has ${bytes.length} bytes, more than ${MOST}`);
    return Pin.from(pin);
  } finally {
    bytes.fill(0);
  }
}

/**
 * Tells what is plain of a source without reading it: a file that is missing, that we may not read, or that everybody may.
 * @throws PinSourceError as reading it would
 */
export function requireSource(source: PinSource, context: SourceContext): void {
  if (!("file" in source)) return;
  const path = resolve(context.folder, source.file);
  try {
    accessSync(path, constants.R_OK);
  } catch (error) {
    throw refuse(context, `${path}: ${explainSystem(error)}`, [], error);
  }
  requireShut(path, statSync(path).mode, source, context);
}

/** Whether reading this source asks a person. */
export function asksPerson(source: PinSource): boolean {
  return "prompt" in source;
}

/** A source in words, for messages: `"the file /etc/user.pin"`. */
export function describe(source: PinSource): string {
  if ("file" in source) return `the file ${source.file}`;
  if ("env" in source) return `the environment variable ${source.env}`;
  if ("credential" in source) return `the credential ${source.credential}`;
  if ("fd" in source) return `file descriptor ${source.fd}`;
  if ("command" in source) return `the command ${source.command[0]}`;
  return "the prompt";
}

function refuse(context: SourceContext, fault: string, hints: string[] = [], cause?: unknown): PinSourceError {
  return new PinSourceError(
    `no PIN for ${context.purpose}: ${fault}`,
    cause === undefined ? { hints } : { hints, cause },
  );
}

async function readSource(source: PinSource, context: SourceContext): Promise<Uint8Array> {
  if ("file" in source) return readFile(resolve(context.folder, source.file), source, context);
  if ("env" in source) {
    const value = takeVariable(source.env);
    if (value === undefined) throw refuse(context, `the environment variable ${source.env} is not set`);
    return Buffer.from(value);
  }
  if ("credential" in source) return readCredential(source.credential, context);
  if ("fd" in source) return readDescriptor(source.fd, context);
  if ("command" in source) return readCommand(source.command, context);
  if (context.prompt === undefined) {
    throw refuse(context, "it is to be asked for, and there is no terminal to ask on", [
      "run it in a terminal, or give another source",
    ]);
  }
  return context.prompt(`PIN: ${context.purpose}`);
}

async function readFile(
  path: string,
  source: { allowWorldReadable?: boolean },
  context: SourceContext,
): Promise<Uint8Array> {
  let fd: number | undefined;
  try {
    fd = openForReading(path);
    requireShut(path, fstatSync(fd).mode, source, context);
    return await readOpened(fd, MOST_READ);
  } catch (error) {
    if (error instanceof PinSourceError) throw error;
    const hints = error instanceof HostError ? [...error.hints] : [];
    throw refuse(context, `${path}: ${explainSystem(error)}`, hints, error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function requireShut(
  path: string,
  mode: number,
  source: { allowWorldReadable?: boolean },
  context: SourceContext,
): void {
  if (source.allowWorldReadable === true || (mode & 0o004) === 0 || shutByFolder(path)) return;
  throw refuse(context, `everybody on this machine can read ${path}`, [
    `chmod 600 ${path}`,
    "or declare allowWorldReadable: true where that is wanted, as for a throw-away token",
  ]);
}

/** Whether a folder above the file keeps others out. */
function shutByFolder(path: string): boolean {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return true;
    if (folder === dirname(folder)) return false;
  }
}

/** systemd puts credentials into a folder that the service alone can read (systemd.exec(5), LoadCredential=). */
function readCredential(name: string, context: SourceContext): Promise<Uint8Array> {
  const folder = readVariable("CREDENTIALS_DIRECTORY");
  if (folder === undefined) {
    throw refuse(context, `there is no $CREDENTIALS_DIRECTORY to read the credential ${name} from`, [
      "run it as a systemd service with LoadCredential= or LoadCredentialEncrypted=",
    ]);
  }
  return readFile(join(folder, name), { allowWorldReadable: true }, context);
}

async function readDescriptor(fd: number, context: SourceContext): Promise<Uint8Array> {
  try {
    return await readInherited(fd, MOST_READ);
  } catch (error) {
    throw refuse(context, `file descriptor ${fd}: ${explainSystem(error)}`, [], error);
  }
}

async function readCommand(command: readonly string[], context: SourceContext): Promise<Uint8Array> {
  const [program, ...rest] = command;
  if (program === undefined) throw refuse(context, "the command is empty");
  const { status, signal, output } = await run(program, { arguments: rest, output: "return", folder: context.folder });
  if (status !== 0) {
    output.fill(0);
    throw refuse(context, `${program} ended with ${signal ?? `exit code ${status}`}`);
  }
  return output;
}

function trimNewline(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  if (end > 0 && bytes[end - 1] === 0x0a) end -= 1;
  if (end > 0 && end < bytes.length && bytes[end - 1] === 0x0d) end -= 1;
  return bytes.subarray(0, end);
}

/**
 * The source that a URI's `pin-source` names (RFC 7512 section 2.4): a path, or a file: URI.
 * @throws UriError for a file: URI that is none
 * @throws PinSourceError for `|command`, which a URI may carry from anywhere; declare it as `command:` instead
 */
export function pinSourceFromUri(value: string): PinSource {
  if (value.startsWith("|")) {
    throw new PinSourceError("a command in a URI's pin-source is not run", {
      hints: ['declare it instead: pin: { command: ["/path/to/program", "argument"] }'],
    });
  }
  if (!value.startsWith("file:")) return { file: value };
  const rest = value.slice("file:".length);
  try {
    return { file: decodeURIComponent(rest.startsWith("//") ? new URL(value).pathname : rest) };
  } catch (error) {
    throw new UriError("the pin-source of the URI is a file: URI with a broken %-escape or host", {
      hints: ["a %-escape within it is escaped once more: pin-source=file:/a%2520b for the file /a b (RFC 7512 2.4)"],
      cause: error,
    });
  }
}
