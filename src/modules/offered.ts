/**
 * Tokens of one or more modules as one module: what a server serves. Each application is new in every module, and sees
 * only the tokens that are offered, in slots and sessions of its own numbers.
 * @module
 */
import type { Cryptoki } from "../cryptoki/port.ts";
import type { Pkcs11Uri } from "../cryptoki/uri.ts";
import type { PinMemory } from "../pins/memory.ts";
import { type GuardContext, openGuarded } from "./guarded.ts";
import type { ModuleReference } from "./index.ts";
import { OfferedApplication } from "./offered-application.ts";
import { type Applications, allOfOne, onePerApplication, type Started } from "./pool.ts";
import { reachOf } from "./reach.ts";
import { type Choice, SlotNumbers } from "./slots.ts";

/** A module, and which of its tokens are offered. */
export interface OfferedModule extends Choice {
  readonly applications: Applications;
}

/** The tokens of modules, as one. */
export function offered(modules: readonly OfferedModule[]): Applications {
  const numbers = new SlotNumbers();
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
 * process for each, whatever isolation is declared: within one process it has one login for all.
 * @throws ModuleError, StoreError as {@link openGuarded} does
 */
export function offer(offers: readonly Offer[], options: OfferOptions): Applications {
  const { memory, ready = 1, uninitialised = false } = options;
  const byReach = new Map<string, Offer[]>();
  for (const one of offers) {
    const reach = reachOf(one.reference);
    byReach.set(reach, [...(byReach.get(reach) ?? []), one]);
  }
  const modules = [...byReach.values()].map((same): OfferedModule => {
    const attended: GuardContext["attended"] = (role) => same.every((one) => one.attended?.(role) === true);
    return {
      tokens: same.flatMap(({ tokens }) => tokens),
      uninitialised,
      applications: applicationsOf(same[0]!.reference, { memory, attended }, ready),
    };
  });
  return offered(modules);
}

function applicationsOf(reference: ModuleReference, guard: GuardContext, ready: number): Applications {
  if (reference.module === "softtoken") return allOfOne(openGuarded(reference, guard));
  const placed: ModuleReference = { ...reference, isolation: "process" };
  return onePerApplication(() => openGuarded(placed, guard), ready);
}
