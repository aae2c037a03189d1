/**
 * What a guarding layer refuses, and why.
 * @module
 */
import { after } from "../cryptoki/awaitable.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Awaitable } from "../cryptoki/port.ts";
import type { FunctionName } from "../spec/functions.ts";
import type { Operation } from "../spec/operations.ts";
import type { ReturnName } from "../spec/returns.ts";
import type { Client } from "./client.ts";
import type { KeyName } from "./facts.ts";

/** A call that a layer did not let through. */
export interface Refusal {
  readonly client: Client;
  readonly function: FunctionName;
  readonly rv: ReturnName;
  /** What it is that refused: `policy.yaml: clients.web.keys.0`, or `confirmation`. */
  readonly by: string;
  /** In words: `sign is refused outside Mon-Fri 08:00-18:00`. */
  readonly reason: string;
  readonly operation?: Operation;
  readonly key?: KeyName;
  /** Such as `CKM_ECDSA`. */
  readonly mechanism?: string;
}

/** The error that the client's side gets; of it a remote client sees the return value alone. */
function refusalError({ function: fn, rv, by, reason }: Refusal): CryptokiError {
  return new CryptokiError(fn, rv, reason, { hints: [`${by} refused it`] });
}

/** Tells a refusal and throws it; also where it cannot be told. */
export function refuse(refusal: Refusal, log: (refusal: Refusal) => Awaitable<void>): Awaitable<never> {
  const fail = () => {
    throw refusalError(refusal);
  };
  return after(() => log(refusal), fail, fail);
}
