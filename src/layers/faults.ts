/**
 * Faults on purpose: a layer that makes one call fail, before it reaches the module or after the module has done it.
 * @module
 */
import { after } from "../cryptoki/awaitable.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Reply } from "../cryptoki/port.ts";
import type { ReturnName } from "../spec/returns.ts";

export interface Fault {
  /** Which call fails, counted from 0 over everything that passes. */
  readonly at: number;
  /** `before`: the module is not called; `after`: it is, and its reply is lost. */
  readonly when: "before" | "after";
  readonly rv: ReturnName;
  /** Fails only calls of these functions; `at` then counts those alone. */
  readonly only?: readonly FunctionName[];
}

/** Counts the calls that pass, and makes one fail. It lives longer than one application, so that it fails once. */
export class FaultInjector {
  readonly #fault: Fault | undefined;
  #passed = 0;
  #fired: FunctionName | undefined;

  /** @param fault what fails; undefined only counts */
  constructor(fault?: Fault) {
    this.#fault = fault;
  }

  /** How many calls have passed. */
  get passed(): number {
    return this.#passed;
  }

  /** The function that was made to fail; undefined while none was. */
  get fired(): FunctionName | undefined {
    return this.#fired;
  }

  /** The layer. */
  readonly layer = (inner: Cryptoki): Cryptoki => ({
    call: <F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> => {
      const fault = this.#fault;
      const counted = fault?.only === undefined || fault.only.includes(fn);
      const hit = counted && this.#fired === undefined && this.#passed === fault?.at;
      if (counted) this.#passed += 1;
      if (!hit || fault === undefined) return inner.call(fn, args);
      this.#fired = fn;
      const error = () => new CryptokiError(fn, fault.rv, `injected ${fault.when} the call`);
      if (fault.when === "before") throw error();
      const fail = (): never => {
        throw error();
      };
      return after(() => inner.call(fn, args), fail, fail);
    },
  });
}
