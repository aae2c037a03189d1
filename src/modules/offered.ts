/**
 * Tokens of one or more modules as one module: what a server serves. Each application is new in every module, and sees
 * only the tokens that are offered, in slots and sessions of its own numbers.
 * @module
 */
import type { Cryptoki, Structure, Ulong } from "../cryptoki/port.ts";
import { matchesToken, type Pkcs11Uri } from "../cryptoki/uri.ts";
import type { PinMemory } from "../pins/memory.ts";
import { isPeer } from "./address.ts";
import { type GuardContext, openGuarded } from "./guarded.ts";
import type { ModuleReference } from "./index.ts";
import { OfferedApplication } from "./offered-application.ts";
import { type Applications, allOfOne, onePerApplication, type Started } from "./pool.ts";
import { reachOf } from "./reach.ts";
import { type Choice, SlotNumbers } from "./slots.ts";

/** A module, and which of its tokens are offered. */
interface OfferedModule extends Choice {
  readonly applications: Applications;
}

/** The tokens of modules, as one. */
function offered(modules: readonly OfferedModule[], numbers: SlotNumbers): Applications {
  return {
    async start() {
      const started = await startAll(modules);
      const inner = started.map(({ cryptoki }, index) => ({ ...modules[index]!, cryptoki }));
      const application = new OfferedApplication(inner, numbers);
      return {
        cryptoki: { call: (fn, args) => application.call(fn, args) } satisfies Cryptoki,
        async end() {
          application.end();
          await Promise.all(started.map((one) => one.end()));
        },
      };
    },
    async close() {
      await Promise.all(modules.map(({ applications }) => applications.close()));
    },
  };
}

/** One application of each, or of none. */
async function startAll(modules: readonly OfferedModule[]): Promise<Started[]> {
  const settled = await Promise.allSettled(modules.map(({ applications }) => applications.start()));
  const failed = settled.find((one) => one.status === "rejected");
  const started = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  if (failed === undefined) return started;
  await Promise.allSettled(started.map((one) => one.end()));
  throw failed.reason;
}

/** Tokens to offer, and the module that they are in. */
export interface Offer {
  readonly reference: ModuleReference;
  /** Which of the module's tokens; `pkcs11:` alone, parsed, is all of them. */
  readonly tokens: readonly Pkcs11Uri[];
  /**
   * Whether a person types the PIN of a role; nobody does where absent. Of several offers of one module the guard takes the
   * one that spends fewer tries.
   */
  readonly attended?: GuardContext["attended"];
}

/** What is offered. */
export interface Offering<O extends Offer> extends Applications {
  /** The offer that the token in a slot is of, by what the token says of itself: its PIN is that offer's. */
  offerOf(slot: Ulong, token: Structure<"tokenInfo">): O | undefined;
}

export interface OfferOptions {
  /** Of the PIN guard, which is under every login. */
  readonly memory: PinMemory;
  /** How many processes of each library are started ahead; 1 by default. */
  readonly ready?: number;
  /** Whether tokens that were never initialised are offered too, so that a client may make them; false by default. */
  readonly uninitialised?: boolean;
}

/**
 * What is offered of modules as they are declared, guarded. The built-in token keeps applications apart; a library gets a
 * process for each, whatever placement is declared: within one process it has one login for all.
 * @throws ModuleError, StoreError as {@link openGuarded} does
 */
export function offer<O extends Offer>(offers: readonly O[], options: OfferOptions): Offering<O> {
  const { memory, ready = 1, uninitialised = false } = options;
  const byReach = new Map<string, O[]>();
  for (const one of offers) {
    const reach = reachOf(one.reference);
    byReach.set(reach, [...(byReach.get(reach) ?? []), one]);
  }
  const groups = [...byReach.values()];
  const modules = groups.map((same): OfferedModule => {
    const attended: GuardContext["attended"] = (role) => same.every((one) => one.attended?.(role) === true);
    return {
      tokens: same.flatMap(({ tokens }) => tokens),
      uninitialised,
      applications: applicationsOf(same[0]!.reference, { memory, attended }, ready),
    };
  });
  const numbers = new SlotNumbers();
  return {
    ...offered(modules, numbers),
    offerOf(slot, token) {
      const place = numbers.at(slot);
      if (place === undefined) return undefined;
      const facts = { slot: place.slot, token };
      return groups[place.module]!.find(({ tokens }) => tokens.some((uri) => matchesToken(ofToken(uri), facts)));
    },
  };
}

/** Without what it says of the library and of the slot: those are known to be right. */
function ofToken({ path, query }: Pkcs11Uri): Pkcs11Uri {
  const rest = Object.entries(path).filter(([name]) => !/^(?:library|slot)-(?!id$)/.test(name));
  return { path: Object.fromEntries(rest), query };
}

function applicationsOf(reference: ModuleReference, guard: GuardContext, ready: number): Applications {
  if (reference.module === "softtoken") return allOfOne(openGuarded(reference, guard));
  const placed: ModuleReference = isPeer(reference.module) ? reference : { ...reference, placement: "process" };
  return onePerApplication(() => openGuarded(placed, guard), ready);
}
