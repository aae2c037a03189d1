/**
 * What the commands share that hand tokens to other programs: which tokens, with whose PIN, and how clients find them.
 * @module
 */
import { mkdtempSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { Pin } from "../cryptoki/pin.ts";
import { formatUri } from "../cryptoki/uri.ts";
import { takeVariable } from "../host/environment.ts";
import { makePrivateFolder } from "../host/files.ts";
import { runtimeFolder } from "../host/folders.ts";
import { findLibrary } from "../native/module/discovery.ts";
import { ModuleError } from "../native/module/errors.ts";
import { attendedBy, pinFor } from "../pins/roles.ts";
import type { PinSource } from "../pins/sources.ts";
import type { ServicePlan } from "../serving/service.ts";
import { flag, text } from "./command.ts";
import { CommandError, UsageError } from "./errors.ts";
import type { Io } from "./io.ts";
import { chosenState } from "./surroundings.ts";
import { findTarget, pinContext, pinsAt, TARGET_OPTIONS, type Target, type TargetInput } from "./target.ts";

/** Options of every command that serves tokens. */
export const SERVING_OPTIONS = {
  ...TARGET_OPTIONS,
  unlock: flag("log clients in from here: they need no PIN, and none that they send is taken"),
  uninitialised: flag("offer slots whose token was never initialised too, so that clients can make one"),
  workers: text("N", "threads that connections are spread over (default: one for each core)"),
} as const;

/** What the command line says of it. */
export interface ServingInput extends TargetInput {
  readonly words: readonly string[];
  /** `where known`: if there is a source of every token's user PIN. */
  readonly unlock: boolean | "where known";
  readonly uninitialised: boolean;
  readonly workers: string | undefined;
}

/** Tokens to serve, and where their PINs come from. */
export interface Serving {
  readonly plan: ServicePlan;
  /** The tokens, as URIs. */
  readonly uris: readonly string[];
  /** The user PIN of the tokens of an offer, by its place in the plan. */
  pin(place: number): Promise<Uint8Array>;
}

/** The tokens that the command line names; without a word, those of the module. */
export async function findServing(input: ServingInput, io: Io): Promise<Serving> {
  const words = input.words.length === 0 ? [undefined] : input.words;
  const targets: { target: Target; uri: string }[] = [];
  for (const word of words) {
    const target = await findTarget(word, input, io);
    targets.push({ target, uri: tokenUri(target) });
  }
  for (const { target } of targets) {
    keepFromChildren(target.pins.pin);
    keepFromChildren(target.pins.soPin);
  }
  const readers = targets.map(({ target, uri }) => {
    // A person is asked where that was wanted, and not for what may need no PIN at all.
    const pins = input.unlock === true ? pinsAt(target, io) : target.pins;
    const name = target.declared?.name ?? target.uri.path.token ?? uri;
    return { name, attended: attendedBy(pins)("USER"), read: pinFor(pins, "USER", pinContext(target, name, io)) };
  });
  const without = readers.find(({ read }) => read === undefined);
  const isUnlocked = input.unlock === "where known" ? without === undefined : input.unlock;
  if (isUnlocked && without !== undefined) {
    throw new UsageError(`--unlock needs the user PIN of ${without.name}`, [
      "declare it (pin), give a source with --pin, or run this at a terminal",
    ]);
  }
  return {
    plan: {
      offers: targets.map(({ target, uri }, i) => ({
        reference: target.reference,
        uris: [uri],
        attended: readers[i]!.attended,
      })),
      state: chosenState(input),
      unlock: isUnlocked,
      uninitialised: input.uninitialised,
    },
    uris: targets.map(({ uri }) => uri),
    async pin(place) {
      const { read, name } = readers[place]!;
      if (read === undefined) throw new CommandError(`no PIN is known of ${name}`);
      const pin = await read();
      const bytes = pin.use((given) => Uint8Array.from(given));
      pin.wipe();
      return bytes;
    },
  };
}

/** What a PIN is read from is not for the programs that are run here to inherit. */
function keepFromChildren(source: PinSource | Pin | undefined): void {
  if (source !== undefined && "env" in source) takeVariable(source.env);
}

/** The token alone of what a target names. */
function tokenUri({ uri }: Target): string {
  const { object: _object, id: _id, type: _type, ...path } = uri.path;
  return formatUri({ path, query: {} });
}

/** How many threads. @throws UsageError */
export function workersOf({ workers }: Pick<ServingInput, "workers">, usual: number = availableParallelism()): number {
  if (workers === undefined) return usual;
  const count = Number(workers);
  if (/^\d+$/.test(workers) && count >= 1 && count <= 64) return count;
  throw new UsageError(`--workers takes a number from 1 to 64, not ${JSON.stringify(workers)}`);
}

/** Tells what clients were refused, if that was asked for. */
export function reporter(verbose: boolean, io: Io): (fault: string, error: string, hints: readonly string[]) => void {
  return (fault, error, hints) => {
    if (!verbose) return;
    io.tell(`keywright: ${fault}${error === "" ? "" : `: ${error}`}`);
    for (const hint of hints) io.tell(`keywright: hint: ${hint}`);
  };
}

/** A folder of our own for the socket, as near to the root as its path's length wants. */
export function privateFolder(prefix: string): string {
  let base: string;
  try {
    base = runtimeFolder();
    makePrivateFolder(base);
  } catch {
    base = tmpdir();
  }
  return mkdtempSync(join(base, prefix));
}

/** The address of a socket, as p11-kit's client reads it: percent-decoded. */
export function addressOf(path: string): string {
  return `unix:path=${path.replaceAll("%", "%25")}`;
}

/** The variable in which p11-kit's client looks for its server. */
export const ADDRESS_VARIABLE = "P11_KIT_SERVER_ADDRESS";

/** The library that programs load to use what is served. @throws ModuleError when it is not on this machine */
export function clientLibrary(): string {
  const found = findLibrary("p11-kit-client.so");
  if (found !== undefined) return found;
  throw new ModuleError("p11-kit-client.so", "it is not on this machine", {
    hints: ["on Debian: apt-get install p11-kit-modules"],
  });
}
