/**
 * Which tokens are handed to other programs, and where their PINs come from.
 * @module
 */
import type { Pin } from "../../cryptoki/pin.ts";
import { formatUri, parseUri } from "../../cryptoki/uri.ts";
import { takeVariable } from "../../host/environment.ts";
import { isPeer } from "../../modules/address.ts";
import type { ModuleReference } from "../../modules/index.ts";
import { attendedBy, pinFor } from "../../pins/roles.ts";
import type { PinSource } from "../../pins/sources.ts";
import type { OfferPlan } from "../../serving/service.ts";
import { CommandError, UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { findTarget, hasTokens, pinContext, pinsAt, type Target, type TargetInput, withModule } from "../target.ts";

/** How clients are logged in: from here; by themselves; from here where every token's user PIN is known. */
export type Unlocking = "always" | "never" | "where known";

/** Tokens to serve. */
export interface ServedTokens {
  readonly offers: readonly OfferPlan[];
  readonly isUnlocked: boolean;
  /** The tokens, as URIs. */
  readonly uris: readonly string[];
  /** The keys that were named, as URIs; empty where a whole token was named among others. */
  readonly keys: readonly string[];
  readonly targets: readonly Target[];
  /** The user PIN of the tokens of an offer, by its place. */
  pin(place: number): Promise<Uint8Array>;
}

/** What the command line names; without a word, the tokens of the module. */
export async function findServed(
  words: readonly string[],
  unlocking: Unlocking,
  input: TargetInput,
  io: Io,
): Promise<ServedTokens> {
  const targets: Target[] = [];
  for (const word of words.length === 0 ? [undefined] : words) targets.push(await findTarget(word, input, io));
  const readers = targets.map((target) => {
    // A person is asked where that was wanted, and not for what may need no PIN at all.
    const pins = unlocking === "always" ? pinsAt(target, io) : target.pins;
    const name = target.declared?.name ?? target.uri.path.token ?? tokenUri(target);
    return { name, attended: attendedBy(pins)("USER"), read: pinFor(pins, "USER", pinContext(target, name, io)) };
  });
  const without = readers.find(({ read }) => read === undefined);
  const isUnlocked = unlocking === "always" || (unlocking === "where known" && without === undefined);
  if (isUnlocked && without !== undefined) {
    throw new UsageError(`the user PIN of ${without.name} has to be known, to log clients in from here`, [
      "declare it (pin), give a source with --pin, or run this at a terminal",
    ]);
  }
  for (const { pins } of targets) {
    keepFromChildren(pins.pin);
    keepFromChildren(pins.soPin);
  }
  return {
    offers: targets.map((target, i) => ({
      reference: target.reference,
      uris: [tokenUri(target)],
      attended: readers[i]!.attended,
    })),
    isUnlocked,
    uris: targets.map(tokenUri),
    keys: targets.every(namesKey) ? targets.map(keyUri) : [],
    targets,
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

/**
 * Looks at what is to be served, so that a mistyped name is told now and not to each client.
 * @throws KeywrightError for a module that cannot be opened
 */
export async function lookAtServed({ targets, uris }: ServedTokens, input: TargetInput, io: Io): Promise<void> {
  for (const [i, { reference }] of targets.entries()) {
    if (!hasTokens(reference)) continue;
    // A library runs in a process of its own, as it will for each client.
    const isLibrary = reference.module !== "softtoken" && !isPeer(reference.module);
    const placed: ModuleReference = isLibrary ? { ...reference, placement: "process" } : reference;
    await withModule(placed, input, {}, io, async (module) => {
      const there = await module.matching(parseUri(uris[i]!));
      if (there.length === 0) io.warn(`no token matches ${uris[i]} now; one that comes later will be served`);
    });
  }
}

/** What a PIN is read from is not for the programs that are run here to inherit. */
function keepFromChildren(source: PinSource | Pin | undefined): void {
  if (source !== undefined && "env" in source) takeVariable(source.env);
}

function namesKey({ uri: { path } }: Target): boolean {
  return path.object !== undefined || path.id !== undefined;
}

/** The token alone of what a target names. */
function tokenUri({ uri }: Target): string {
  const { object: _object, id: _id, type: _type, ...path } = uri.path;
  return formatUri({ path, query: {} });
}

/** The key, without what a policy does not compare: the library and the slot. */
function keyUri({ uri: { path } }: Target): string {
  const { token, manufacturer, serial, model, object, id, type } = path;
  const said = Object.entries({ token, manufacturer, serial, model, object, id, type });
  return formatUri({ path: Object.fromEntries(said.filter(([, value]) => value !== undefined)), query: {} });
}
