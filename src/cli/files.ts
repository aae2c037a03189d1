/**
 * Files that commands read and write.
 * @module
 */
import { explainSystem, HostError } from "../host/errors.ts";
import { readFile, writeAtomic } from "../host/files.ts";
import { text } from "./command.ts";
import { UsageError } from "./errors.ts";
import type { Io } from "./io.ts";

export const OUT_OPTION = { out: text("FILE", "where the result goes (default: standard output)", "o") } as const;
export const IN_OPTION = { in: text("FILE", "what is read (default: standard input)", "i") } as const;

/** Writes a result to the file that was named, else to standard output; bytes never to a terminal. */
export async function writeOut(
  result: string | Uint8Array,
  input: { readonly out: string | undefined },
  io: Io,
): Promise<void> {
  if (input.out !== undefined) return writeAtomic(input.out, result, { mode: 0o644 });
  if (typeof result === "string") return io.out(result.replace(/\n$/, ""));
  if (io.outputIsTerminal)
    throw new UsageError("bytes are not put on a terminal", ["add --out FILE, or redirect the output"]);
  io.outBytes(result);
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
