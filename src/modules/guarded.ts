/**
 * The way into a module: wherever it runs, the PIN guard is under every login.
 * @module
 */
import { realpathSync } from "node:fs";
import { type Cryptoki, type Provider, tellsPinTries } from "../cryptoki/port.ts";
import { familyOfLibrary, familyOfToken } from "../families/families.ts";
import { guardPins } from "../pins/guard.ts";
import type { PinMemory } from "../pins/memory.ts";
import { explained } from "./explained.ts";
import { type ModuleReference, openProvider } from "./index.ts";
import { locate } from "./stores.ts";

export interface GuardContext {
  readonly memory: PinMemory;
  /** Whether a person gives the PINs. */
  readonly attended: boolean;
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
  const family = familyOfLibrary(reference.module);
  const provider = openProvider(reference, { placement: family.placement });
  const options = {
    memory: context.memory,
    attended: context.attended,
    reach: reachOf(reference),
    neverLocks: (info: Parameters<typeof familyOfToken>[0]) => familyOfToken(info, reference.module).neverLocks,
  };
  return {
    async open() {
      await prepare();
      const inner = await provider.open();
      const tries = tellsPinTries(inner) ? { tries: inner.pinTries.bind(inner) } : {};
      return explained(guardPins(layer(inner), { ...options, ...tries }), family);
    },
    close: () => provider.close(),
  };
}

/** Tells tokens apart that say nothing of themselves: the module's real path, its environment, its pReserved. */
function reachOf({ module, environment, reserved, store }: ModuleReference): string {
  const sorted = Object.entries(environment ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([realPath(module), sorted, reserved ?? "", store ?? ""]);
}

function realPath(module: string): string {
  try {
    return realpathSync(module);
  } catch {
    // A bare name, found in the usual folders, or the built-in token.
    return module;
  }
}
