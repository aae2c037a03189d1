/**
 * Files that commands read and write.
 * @module
 */
import { accessSync, closeSync, constants, fstatSync, lstatSync, openSync, rmSync, type Stats } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { CodecError } from "../codec/errors.ts";
import { explainSystem, HostError } from "../host/errors.ts";
import { endingWaitsFor } from "../host/exit.ts";
import { readFile, temporaryName, writeAtomic } from "../host/files.ts";
import { X509Error } from "../x509/errors.ts";
import { text } from "./command.ts";
import { CommandError, UsageError } from "./errors.ts";
import type { Io } from "./io.ts";

export const OUT_OPTION = { out: text("FILE", "where the result goes (default: standard output)", "o") } as const;
export const IN_OPTION = { in: text("FILE", "what is read (default: standard input)", "i") } as const;

/** Permission bits of a file that is new, before the umask. */
const EVERYBODY = 0o666;
export const OWNER_ALONE = 0o600;

/** Writes a result to the file that was named, else to standard output; bytes never to a terminal. */
export async function writeOut(
  result: string | Uint8Array,
  input: { readonly out: string | undefined },
  io: Io,
  mode: number = EVERYBODY,
): Promise<void> {
  if (input.out !== undefined) return writeTo(input.out, result, mode);
  if (typeof result === "string") return io.out(result.replace(/\n$/, ""));
  if (io.outputIsTerminal)
    throw new UsageError("bytes are not put on a terminal", ["add --out FILE, or redirect the output"]);
  io.outBytes(result);
}

/**
 * Writes to what stands at a path, as a shell's `>` would: a file keeps its owner and mode, a link is followed, a device or
 * FIFO gets the bytes. A file that is new, or ours, is written whole or not at all.
 * @param mode permission bits of a file that is new; lessened by the umask
 * @throws HostError
 */
export async function writeTo(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  let there: Stats | undefined;
  let bits = mode;
  try {
    there = lstatSync(path, { throwIfNoEntry: false });
    if (there === undefined) bits = modeOfNew(path, mode);
    else if (there.isFile()) accessSync(path, constants.W_OK);
  } catch (error) {
    throw notWritten(path, error);
  }
  if (there === undefined) return writeAtomic(path, data, { mode: bits });
  if (!isReplaceable(path, there)) return writeInto(path, data, mode);
  return writeAtomic(path, data, { mode: there.mode & 0o777, owner: { uid: there.uid, gid: there.gid } });
}

/** Whether another file in its place would be the same for everybody: it has one name, and we may give it its owner. */
function isReplaceable(path: string, there: Stats): boolean {
  if (!there.isFile() || there.nlink !== 1) return false;
  const user = process.geteuid!();
  const isOurs = there.uid === user && [process.getegid!(), ...process.getgroups!()].includes(there.gid);
  if (user !== 0 && !isOurs) return false;
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The kernel follows links, and refuses those that others laid in a folder for everybody. */
async function writeInto(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  try {
    // A FIFO waits for its reader in a thread.
    await endingWaitsFor(async () => {
      const file = await open(path, "w", mode);
      try {
        await file.writeFile(data);
      } finally {
        await file.close();
      }
    });
  } catch (error) {
    throw notWritten(path, error);
  }
}

/** The kernel alone knows the umask, and what the folder says. */
function modeOfNew(path: string, mode: number): number {
  const probe = temporaryName(`${path}.`, ".tmp");
  const file = openSync(probe, "wx", mode);
  try {
    return fstatSync(file).mode & 0o777;
  } finally {
    closeSync(file);
    rmSync(probe);
  }
}

function notWritten(path: string, error: unknown): HostError {
  return new HostError(`cannot write ${path}: ${explainSystem(error)}`, { cause: error });
}

/** Reads what a file holds. @throws CommandError naming the file, where that is none of what it should be */
export function fromFile<T>(file: string | undefined, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof X509Error || error instanceof CodecError)) throw error;
    throw new CommandError(`${file ?? "standard input"}: ${error.message}`, "hints" in error ? error.hints : []);
  }
}

/** Reads the file that was named, else standard input to its end. */
export async function readIn(file: string | undefined): Promise<Buffer> {
  try {
    if (file !== undefined) return await readFile(file);
  } catch (error) {
    throw new HostError(`cannot read ${file}: ${explainSystem(error)}`, { cause: error });
  }
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
