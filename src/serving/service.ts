/**
 * What is served, as data that a thread can be given; and the service that is made of it there.
 * @module
 */
import { Pin } from "../cryptoki/pin.ts";
import type { Awaitable } from "../cryptoki/port.ts";
import { parseUri } from "../cryptoki/uri.ts";
import { unlock } from "../layers/unlock.ts";
import type { ModuleReference } from "../modules/index.ts";
import { offer } from "../modules/offered.ts";
import { PinMemory } from "../pins/memory.ts";
import type { Service } from "./connections.ts";

/** Plain data, which a thread can be given. */
export interface ServicePlan {
  readonly offers: readonly OfferPlan[];
  /** The state folder: the PIN guard's memory. */
  readonly state: string;
  /** Whether clients are logged in from here, and have no PIN. */
  readonly unlock: boolean;
  /** Whether clients may make tokens in slots whose token was never initialised. */
  readonly uninitialised: boolean;
}

/** Tokens of one module. */
export interface OfferPlan {
  readonly reference: ModuleReference;
  /** The tokens' URIs. */
  readonly uris: readonly string[];
  /** Whether a person types the user PIN: then the last try is theirs to spend. */
  readonly attended: boolean;
}

/** What a service needs of the program that it is part of. */
export interface ServiceHost {
  /** The user PIN of the tokens of an offer, by its place in the plan. The bytes are wiped by who gets them. */
  pin(place: number): Awaitable<Uint8Array>;
  report(fault: string, error: unknown): void;
}

/** @throws ModuleError, StoreError for what cannot be offered */
export function makeService(plan: ServicePlan, { pin, report }: ServiceHost): Service {
  const offering = offer(
    plan.offers.map(({ reference, uris, attended }, place) => ({
      reference,
      tokens: uris.map(parseUri),
      attended: (role: "USER" | "SO") => plan.unlock && attended && role === "USER",
      place,
    })),
    { memory: new PinMemory(plan.state), uninitialised: plan.uninitialised },
  );
  const unlocked = unlock({
    async pin(slot, info) {
      const from = offering.offerOf(slot, info);
      if (from === undefined) throw new Error(`no PIN is known of the token ${JSON.stringify(info.label)}`);
      const bytes = await pin(from.place);
      const given = Pin.from(bytes);
      bytes.fill(0);
      return given;
    },
    log: (error) => report("a client was not logged in", error),
  });
  return {
    applications: offering,
    layered: (application) => (plan.unlock ? unlocked(application) : application),
    report,
  };
}
