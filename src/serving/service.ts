/**
 * What is served, as data that a thread can be given; and the service that is made of it there.
 * @module
 */
import { Pin } from "../cryptoki/pin.ts";
import type { Awaitable, Cryptoki } from "../cryptoki/port.ts";
import { parseUri } from "../cryptoki/uri.ts";
import { type AuditEntry, refusalEntry } from "../layers/audit/lines.ts";
import { recordUses } from "../layers/audit/record.ts";
import type { Client } from "../layers/client.ts";
import { confirmUses } from "../layers/confirm/confirm.ts";
import type { Question } from "../layers/confirm/confirmer.ts";
import type { Exhausted, UseCounters } from "../layers/policy/counters.ts";
import { enforcePolicy } from "../layers/policy/enforce.ts";
import { readPolicy } from "../layers/policy/policy.ts";
import type { Refusal } from "../layers/refusals.ts";
import { type TracedCall, traceCalls } from "../layers/trace/trace.ts";
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
  /** A policy's text, and the file that it is from. */
  readonly policy?: { readonly text: string; readonly file: string } | undefined;
  /** Whether other users' programs may connect: a policy says what they may. Else this user and root alone. */
  readonly others: boolean;
  /** Whether a person is asked before a key is used. */
  readonly confirm: boolean;
  /** Whether each use of a key is recorded. */
  readonly audit: boolean;
  /** Whether each call is traced, and with secrets. */
  readonly trace?: { readonly secrets: boolean } | undefined;
}

/** Tokens of one module. */
export interface OfferPlan {
  readonly reference: ModuleReference;
  /** The tokens' URIs. */
  readonly uris: readonly string[];
  /** Whether a person types the user PIN: then the last try is theirs to spend. */
  readonly attended: boolean;
}

/** What the threads of a server ask the one that started them: there is one of each for all connections. */
export interface Questions {
  /** The user PIN of the tokens of an offer, by its place in the plan. The bytes are wiped by who gets them. */
  pin(place: number): Awaitable<Uint8Array>;
  /** A use of a key, which may be one too many. */
  count(...args: Parameters<UseCounters["take"]>): Awaitable<Exhausted | undefined>;
  /** Whether a person allows a use. */
  confirm(question: Question, connection: string): Awaitable<boolean>;
  /** Writes a line of the audit log. */
  record(entry: AuditEntry): Awaitable<void>;
}

/** What a service needs of the program that it is part of. */
export interface ServiceHost extends Questions {
  /** Told what went wrong that a client is told as a return value only. */
  report(fault: string, error: unknown): void;
  trace(call: TracedCall): void;
}

/** @throws ModuleError, StoreError for what cannot be offered, PolicyError */
export async function makeService(plan: ServicePlan, host: ServiceHost): Promise<Service> {
  const policy = plan.policy === undefined ? undefined : await readPolicy(plan.policy.text, plan.policy.file);
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
      const bytes = await host.pin(from.place);
      const given = Pin.from(bytes);
      bytes.fill(0);
      return given;
    },
    log: (error) => host.report("a client was not logged in", error),
  });
  const log = async (refusal: Refusal): Promise<void> => {
    host.report("a client was refused", new Error(`${refusal.function}: ${refusal.reason} (${refusal.by})`));
    if (plan.audit) await host.record(refusalEntry(refusal));
  };
  // One of each for all connections, wherever they are kept.
  const confirmer = {
    isRemembered: () => false,
    confirm: async (...of: Parameters<Questions["confirm"]>) => host.confirm(...of),
  };
  const counters: UseCounters = { take: (...of) => host.count(...of) };
  return {
    applications: offering,
    /** From the token to the client: what is nearer to the token is asked last. */
    layered(application: Cryptoki, client: Client): Cryptoki {
      const layers: ((inner: Cryptoki) => Cryptoki)[] = [];
      if (plan.unlock) layers.push(unlocked);
      if (plan.audit) layers.push(recordUses({ client, append: (entry) => host.record(entry) }));
      if (plan.confirm) layers.push(confirmUses({ confirmer, client, log }));
      if (policy !== undefined) layers.push(enforcePolicy({ policy, client, counters, log }));
      if (plan.trace !== undefined) layers.push(traceCalls({ sink: (call) => host.trace(call), ...plan.trace }));
      return layers.reduce((inner, layer) => layer(inner), application);
    },
    report: (fault, error) => host.report(fault, error),
  };
}
