/** Connections under a policy. */
import type { Client } from "../../src/layers/client.ts";
import type { UseCounters } from "../../src/layers/policy/counters.ts";
import { enforcePolicy } from "../../src/layers/policy/enforce.ts";
import { readPolicy } from "../../src/layers/policy/policy.ts";
import type { Refusal } from "../../src/layers/refusals.ts";
import type { Rig } from "../softtoken/rig.ts";
import { type Connection, connect, tokenWithKeys } from "./rig.ts";

export const NEVER: UseCounters = { take: () => undefined };

interface Given {
  client?: Client;
  counters?: UseCounters;
  now?: () => Date;
  rig?: Rig;
}

/** A connection under a policy for `web`, and what was refused. */
export async function under(yaml: string, given: Given = {}): Promise<Connection & { refused: Refusal[]; rig: Rig }> {
  const rig = given.rig ?? (await tokenWithKeys());
  const refused: Refusal[] = [];
  const policy = await readPolicy(yaml, "policy.yaml");
  const layer = enforcePolicy({
    policy,
    client: given.client ?? { uid: 33 },
    counters: given.counters ?? NEVER,
    log: (refusal) => void refused.push(refusal),
    ...(given.now === undefined ? {} : { now: given.now }),
  });
  return { ...(await connect(rig, layer)), refused, rig };
}

export const web = (keys: string, more = "") => `clients: { web: { uid: [33], ${more} keys: [ ${keys} ] } }`;
export const SIGN_WWW = "{ label: www, operations: [sign] }";
