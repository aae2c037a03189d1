/**
 * Placing a native module: in this process, in threads, or in a child process.
 * @module
 */
import type { Provider } from "../cryptoki/port.ts";
import { readVariables } from "../host/environment.ts";
import { leaveInterrupt } from "../host/exit.ts";
import { conflict, type NativeModuleOptions, type NativeProvider, nativeModule } from "../native/module/index.ts";
import type { ModuleContext, ModuleReference } from "./index.ts";
import { processModule } from "./process.ts";
import { familyOfModule } from "./reach.ts";
import { threadModule } from "./thread.ts";

/** A provider that tells whether a call is inside C. */
export type Closable = Provider & { isBusy(): boolean };

/** A module on the event loop, from before it is loaded until it is closed. */
function interruptible(provider: NativeProvider): Closable {
  let takeBack: () => void = () => undefined;
  return {
    ...provider,
    open() {
      takeBack();
      takeBack = leaveInterrupt();
      return provider.open();
    },
    async close() {
      await provider.close();
      takeBack();
    },
  };
}

/** The variables of this process that say where the library's tokens are: a child gets no others that are not declared. */
function inherited(path: string): Record<string, string> {
  return readVariables(familyOfModule(path).located ?? []);
}

/** @throws ModuleError if there is no such library or it is for another machine */
export function place(reference: ModuleReference, context: ModuleContext): Closable {
  const { module: path, environment, reserved, timeoutMs } = reference;
  const options: NativeModuleOptions = {
    path,
    ...(environment === undefined ? {} : { environment }),
    ...(reserved === undefined ? {} : { reserved }),
  };
  const placement = timeoutMs === undefined ? (reference.placement ?? context.placement ?? "thread") : "process";
  if (placement !== "process" && conflict(options) === undefined) {
    return placement === "direct" ? interruptible(nativeModule(options)) : threadModule(options);
  }
  // A child can always be ended, so it never keeps this process from ending.
  return {
    ...processModule({
      ...options,
      environment: { ...inherited(path), ...environment },
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    }),
    isBusy: () => false,
  };
}
