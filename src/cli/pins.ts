/**
 * PINs for a command: from their sources, and from a person, who is asked once for each and twice for a new one.
 * @module
 */
import type { Pin } from "../cryptoki/pin.ts";
import { isOfNode } from "../host/libc.ts";
import { asksPerson, type PinSource, PinSourceError, readPin } from "../pins/sources.ts";
import type { Io } from "./io.ts";

/**
 * What can be had once only, and may be needed again in this run: what was typed, and what came from a descriptor that
 * may be a pipe. Overwritten when the process ends.
 */
const kept = new Map<string, Pin>();
process.once("exit", () => {
  for (const pin of kept.values()) pin.wipe();
});

/**
 * Reads a PIN.
 * @param purpose what it is for, in words; a person is asked once for each purpose
 * @param isNew whether it is set now: a person gives it twice
 * @throws PinSourceError when the source gives none, or the two differ
 */
export async function commandPin(
  source: PinSource,
  purpose: string,
  folder: string,
  io: Io,
  isNew = false,
): Promise<Pin> {
  // Only then, because finding out whether there is a terminal opens standard input.
  const prompt = asksPerson(source) && io.interactive ? (question: string) => io.askPin(question) : undefined;
  const read = (what: string) => readPin(source, { folder, purpose: what, prompt });
  const name = "fd" in source ? `fd ${source.fd}` : asksPerson(source) ? purpose : undefined;
  if (name === undefined) return read(purpose);
  if ("fd" in source && isOfNode(source.fd)) {
    throw new PinSourceError(
      `${purpose}: there is no file descriptor ${source.fd} that this command was started with`,
      {
        hints: [`open it for the command: keywright … ${source.fd}<FILE`],
      },
    );
  }
  const pin = kept.get(name) ?? (await (isNew && asksPerson(source) ? askTwice(purpose, read) : read(purpose)));
  kept.set(name, pin);
  return pin.copy();
}

async function askTwice(purpose: string, read: (purpose: string) => Promise<Pin>): Promise<Pin> {
  const first = await read(purpose);
  const second = await read(`${purpose}, again`);
  const same = first.equals(second);
  second.wipe();
  if (same) return first;
  first.wipe();
  throw new PinSourceError(`the two answers for ${purpose} differ`, { hints: ["nothing was changed; try again"] });
}
