/**
 * What is served, as data that a thread can be given; and the service that is made of it there.
 * @module
 */
import { Pin } from "../cryptoki/pin.ts";
import type { Awaitable, Structure } from "../cryptoki/port.ts";
import { parseUri } from "../cryptoki/uri.ts";
import { unlock } from "../layers/unlock.ts";
import type { ModuleReference } from "../modules/index.ts";
import { offer } from "../modules/offered.ts";
import { PinMemory } from "../pins/memory.ts";
import type { Service } from "./connections.ts";

/** Plain data, which a thread can be given. */
export interface ServicePlan {
  readonly offers: readonly { readonly reference: ModuleReference; readonly uris: readonly string[] }[];
  /** The state folder: the PIN guard's memory. */
  readonly state: string;
  /** Whether clients are logged in from here, and have no PIN. */
  readonly unlock: boolean;
  /** Whether a person types the PINs with which they are: then the last try is theirs to spend. */
  readonly attended: boolean;
  /** Whether clients may make tokens in slots whose token was never initialised. */
  readonly uninitialised: boolean;
}

/** What a service needs of the program that it is part of. */
export interface ServiceHost {
  /** The user PIN of a token that says this of itself. The bytes are wiped by who gets them. */
  pin(info: Structure<"tokenInfo">): Awaitable<Uint8Array>;
  report(fault: string, error: unknown): void;
}

/** @throws ModuleError, StoreError for what cannot be offered */
export function makeService(plan: ServicePlan, { pin, report }: ServiceHost): Service {
  const unlocked = unlock({
    async pin(_slot, info) {
      const bytes = await pin(info);
      const given = Pin.from(bytes);
      bytes.fill(0);
      return given;
    },
    log: (error) => report("a client was not logged in", error),
  });
  return {
    applications: offer(
      plan.offers.map(({ reference, uris }) => ({ reference, tokens: uris.map(parseUri) })),
      {
        guard: {
          memory: new PinMemory(plan.state),
          attended: (role) => plan.unlock && plan.attended && role === "USER",
        },
        uninitialised: plan.uninitialised,
      },
    ),
    layered: (application) => (plan.unlock ? unlocked(application) : application),
    report,
  };
}
