/**
 * How the inside of the token says no. The name of the function is added where calls come in (provider.ts).
 * @module
 */
import type { ReturnName } from "../spec/returns.ts";

/** A return value other than CKR_OK, and what it is about. */
export class Refusal extends Error {
  readonly rv: ReturnName;

  constructor(rv: ReturnName, detail = "") {
    super(detail);
    this.name = "Refusal";
    this.rv = rv;
  }
}

export function refuse(rv: ReturnName, detail = ""): never {
  throw new Refusal(rv, detail);
}

/** Runs a decoder or a cryptographic call; whatever it throws becomes this refusal. */
export function orRefuse<T>(rv: ReturnName, detail: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) throw error;
    return refuse(rv, detail);
  }
}
