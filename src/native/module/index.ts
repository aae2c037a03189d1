/**
 * Native PKCS#11 modules: a vendor's library in this process.
 * @module
 */
import type { Args, Awaitable, Cryptoki, FunctionName, Provider, Reply } from "../../cryptoki/port.ts";
import { Application } from "./application.ts";
import { later, now } from "./calling.ts";
import { claimInstance, type NativeModuleOptions } from "./instance.ts";
import { type Library, loadLibrary } from "./library.ts";

export { installedModules } from "./discovery.ts";
export { ModuleError } from "./errors.ts";
export type { NativeModuleOptions } from "./instance.ts";

/** What takes long, or waits for a person or an event, never runs on the event loop. */
const SLOW: ReadonlySet<FunctionName> = new Set([
  "C_InitToken",
  "C_InitPIN",
  "C_SetPIN",
  "C_Login",
  "C_LoginUser",
  "C_GenerateKey",
  "C_GenerateKeyPair",
  "C_WaitForSlotEvent",
]);

/** A provider over a library, with the applications that it opened. */
export interface NativeProvider extends Provider {
  open(): Cryptoki;
  /** Whether a call has not returned yet. */
  isBusy(): boolean;
}

/**
 * A library in this process (placement `direct`): calls run on the event loop and answer at once, but for those that take
 * long. Applications of the same library share one C_Initialize and, per token, the login state.
 *
 * `open` loads the library. @throws ModuleError if it cannot be used
 */
export function nativeModule(options: NativeModuleOptions): NativeProvider {
  let library: Library | undefined;
  const calls: Cryptoki = {
    call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
      library ??= loadLibrary(options.path);
      return library.call(SLOW.has(fn) ? later : now, fn, args);
    },
  };
  const applications = new Set<Application>();
  return {
    open() {
      const instance = claimInstance(options);
      library ??= loadLibrary(options.path);
      const application = new Application(instance, calls);
      applications.add(application);
      return application;
    },
    async close() {
      for (const application of applications) {
        if (application.isInitialised) await application.call("C_Finalize", {});
      }
      applications.clear();
    },
    isBusy: () => [...applications].some((application) => application.isBusy),
  };
}
