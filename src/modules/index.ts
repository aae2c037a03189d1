/**
 * From a reference to a module to a provider of it: which module, and where it runs.
 * @module
 */
import type { Provider } from "../cryptoki/port.ts";
import { closeAtExit } from "../host/exit.ts";
import { ModuleError } from "../native/module/errors.ts";
import { isPeer } from "./address.ts";

/**
 * Where a native module runs: `direct` on the event loop, for modules that never wait; `thread` in threads of its own in
 * this process; `process` in a child process, which alone survives a crash and can be ended when it hangs.
 */
export type Placement = "direct" | "thread" | "process";

/** A module and how to open it. */
export interface ModuleReference {
  /**
   * The path of a library, or its bare name in the usual folders; `softtoken` is the built-in token; `unix:path=/…` and
   * `|command …` reach a module elsewhere, over p11-kit's protocol.
   */
  readonly module: string;
  /** Variables that the module reads, set before it is loaded. */
  readonly environment?: Readonly<Record<string, string>>;
  /** What `pReserved` of C_Initialize points to (NSS). */
  readonly reserved?: string;
  readonly placement?: Placement;
  /** How long a call may take, in ms, before the module counts as hung. Only a process can be ended: it implies one. */
  readonly timeoutMs?: number;
  /** Where the objects live: the file of the built-in token, or a folder of SoftHSM2, TPM2 or NSS (see guarded.ts). */
  readonly store?: string;
  /** What the token in the store is called, where the store does not say (NSS). */
  readonly label?: string;
  /** log2 of scrypt's N for PINs that the built-in token is given, 10 to 20; 16 by default. */
  readonly scryptCost?: number;
  /** Whether the SO PIN of a built-in token that is initialised opens it; true by default. */
  readonly soRecovery?: boolean;
}

/** What the caller knows about modules that the reference does not say. */
export interface ModuleContext {
  /** Where a module runs whose reference does not say; `thread` if absent. */
  readonly placement?: Placement;
}

/**
 * A provider of the module. It is closed when the process ends through `host/exit`.
 *
 * One library is one instance per process: if it is in this process already with another environment or `pReserved`, it
 * gets a process of its own whatever the placement.
 * Its `open` throws ModuleError if there is no such library or it is for another machine.
 * @throws ModuleError for a time limit that the placement cannot keep
 */
export function openProvider(reference: ModuleReference, context: ModuleContext = {}): Provider {
  if (reference.module === "softtoken") return builtIn(reference);
  if (isPeer(reference.module)) return remote(reference);
  const { placement, timeoutMs } = reference;
  if (timeoutMs !== undefined && (placement ?? "process") !== "process") {
    throw new ModuleError(reference.module, `a time limit needs a process of its own, not ${placement}`);
  }
  let placed: Promise<Provider> | undefined;
  let forget: () => void = () => undefined;
  return {
    async open() {
      // What crosses into C takes time to load, and most commands on the built-in token have no need of it.
      placed ??= import("./place.ts").then(({ place }) => {
        const provider = place(reference, context);
        forget = closeAtExit(provider);
        return provider;
      });
      return (await placed).open();
    },
    async close() {
      await (await placed?.catch(() => undefined))?.close();
      forget();
    },
  };
}

/** The built-in token, whose room is loaded only where it is used. */
function builtIn({ module, store, scryptCost, soRecovery }: ModuleReference): Provider {
  if (store === undefined) throw new ModuleError(module, "the built-in token needs a store, the file that it lives in");
  let provider: Provider | undefined;
  return {
    async open() {
      const { softToken } = await import("../softtoken/index.ts");
      provider ??= softToken({
        store,
        ...(scryptCost === undefined ? {} : { scryptCost }),
        ...(soRecovery === undefined ? {} : { soRecovery }),
      });
      return provider.open();
    },
    close: () => provider?.close(),
  };
}

/** A peer, whose room is loaded only where it is used. */
function remote(reference: ModuleReference): Provider {
  if (reference.reserved !== undefined || reference.placement !== undefined) {
    const what = reference.reserved === undefined ? "placement" : "reserved";
    throw new ModuleError(reference.module, `${what} is for a library that is loaded here; this one is elsewhere`);
  }
  let provider: Provider | undefined;
  let forget: () => void = () => undefined;
  return {
    async open() {
      const { remoteModule } = await import("./remote.ts");
      if (provider === undefined) {
        provider = remoteModule(reference);
        forget = closeAtExit({ ...provider, isBusy: () => false });
      }
      return provider.open();
    },
    async close() {
      await provider?.close();
      forget();
    },
  };
}
