/**
 * The way into a module: wherever it runs, the PIN guard is under every login.
 * @module
 */
import { type Cryptoki, guardsPins, type Provider, tellsPinTries } from "../cryptoki/port.ts";
import { familyOfToken } from "../families/families.ts";
import { type GuardOptions, guardPins } from "../pins/guard.ts";
import type { PinMemory } from "../pins/memory.ts";
import { explained } from "./explained.ts";
import { type ModuleReference, openProvider } from "./index.ts";
import { familyOfModule, reachOf } from "./reach.ts";
import { locate } from "./stores.ts";

export interface GuardContext {
  readonly memory: PinMemory;
  /** Whether a person types the PIN of a role; nobody does where absent. */
  readonly attended?: GuardOptions["attended"];
}

/**
 * A provider of a module, guarded. Where it runs is what the reference says, else what its family wants; a store is made
 * when it is opened.
 * @param layer a layer between the guard and the module, such as the fault layer of tests
 * @throws ModuleError when there is no such module, StoreError when its family cannot use the store
 */
export function openGuarded(
  wanted: ModuleReference,
  context: GuardContext,
  layer: (inner: Cryptoki) => Cryptoki = (inner) => inner,
): Provider {
  const { reference, prepare } = locate(wanted);
  const family = familyOfModule(reference.module);
  const provider = openProvider(reference, { placement: family.placement });
  const options = {
    memory: context.memory,
    attended: context.attended ?? (() => false),
    reach: reachOf(reference),
    habits: (info: Parameters<typeof familyOfToken>[0]) => familyOfToken(info, reference.module),
  };
  return {
    async open() {
      await prepare();
      const inner = await provider.open();
      const elsewhere = () => guardsPins(inner);
      const tries = tellsPinTries(inner) ? { tries: inner.pinTries.bind(inner) } : {};
      return explained(guardPins(layer(inner), { ...options, ...tries, elsewhere }), family);
    },
    close: () => provider.close(),
  };
}
