/**
 * Slot events of several modules as those of one (C_WaitForSlotEvent).
 * @module
 */
import { after } from "../cryptoki/awaitable.ts";
import { CryptokiError, failedWith } from "../cryptoki/errors.ts";
import type { Awaitable, Cryptoki, Reply, Ulong } from "../cryptoki/port.ts";
import { CALL_FLAGS } from "../spec/flags.ts";
import type { Place } from "./slots.ts";

/** The number of a slot here; undefined where its events are nobody's business. */
type NumberOf = (place: Place) => Awaitable<number | undefined>;

interface Happened {
  readonly module: number;
  readonly slot?: Ulong;
  readonly error?: unknown;
}

const DONT_BLOCK = CALL_FLAGS.CKF_DONT_BLOCK[0];

export class SlotEvents {
  readonly #modules: readonly Cryptoki[];
  /** Calls that wait in modules. One that was not first goes on waiting, for the next call here. */
  readonly #waiting = new Map<number, Promise<Happened>>();

  constructor(modules: readonly Cryptoki[]) {
    this.#modules = modules;
  }

  /** An event that happened; the modules are asked in turn. @throws CryptokiError CKR_NO_EVENT */
  poll(numberOf: NumberOf, module = 0): Awaitable<Reply<"C_WaitForSlotEvent">> {
    const cryptoki = this.#modules[module];
    if (cryptoki === undefined) throw new CryptokiError("C_WaitForSlotEvent", "CKR_NO_EVENT");
    return after(
      () =>
        after(
          () => cryptoki.call("C_WaitForSlotEvent", { flags: DONT_BLOCK }),
          ({ slot }): Ulong | undefined => slot,
          (error) => {
            if (failedWith(error, "CKR_NO_EVENT", "CKR_FUNCTION_NOT_SUPPORTED")) return undefined;
            throw error;
          },
        ),
      (slot) => {
        if (slot === undefined) return this.poll(numberOf, module + 1);
        return after(
          () => numberOf({ module, slot }),
          (number) => (number === undefined ? this.poll(numberOf, module) : { slot: number }),
        );
      },
    );
  }

  /** Waits in every module that can; those that cannot have no part in it, unless none can. */
  async wait(numberOf: NumberOf): Promise<Reply<"C_WaitForSlotEvent">> {
    const unable = new Map<number, unknown>();
    for (;;) {
      for (const [module, cryptoki] of this.#modules.entries()) {
        if (!unable.has(module) && !this.#waiting.has(module)) this.#waiting.set(module, begin(module, cryptoki));
      }
      const { module, slot, error } = await Promise.race(this.#waiting.values());
      this.#waiting.delete(module);
      if (failedWith(error, "CKR_FUNCTION_NOT_SUPPORTED")) {
        unable.set(module, error);
        if (unable.size === this.#modules.length) throw error;
      } else if (slot === undefined) throw error;
      else {
        const number = await numberOf({ module, slot });
        if (number !== undefined) return { slot: number };
      }
    }
  }
}

/** Never rejects: nobody may be waiting for it any more. */
async function begin(module: number, cryptoki: Cryptoki): Promise<Happened> {
  try {
    return { module, slot: (await cryptoki.call("C_WaitForSlotEvent", { flags: 0 })).slot };
  } catch (error) {
    return { module, error };
  }
}
