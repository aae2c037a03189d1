/**
 * Native PKCS#11 modules: a vendor's library in this process.
 * @module
 */
import { after } from "../../cryptoki/awaitable.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Provider, Reply } from "../../cryptoki/port.ts";
import { Application } from "./application.ts";
import { later, now } from "./calling.ts";
import { claimInstance, type NativeModuleOptions } from "./instance.ts";
import { type Library, loadLibrary } from "./library.ts";

export { ModuleError } from "./errors.ts";
export { conflict, type NativeModuleOptions } from "./instance.ts";

/** What takes long, or waits for a person or an event, never runs on the event loop. */
const SLOW: ReadonlySet<FunctionName> = new Set([
  "C_Finalize",
  "C_InitToken",
  "C_InitPIN",
  "C_SetPIN",
  "C_Login",
  "C_LoginUser",
  "C_GenerateKey",
  "C_GenerateKeyPair",
  "C_WaitForSlotEvent",
]);

/** Which calls of a library run on the event loop: the quick ones, all, or none. */
export type OnLoop = "quick" | "all" | "none";

/** The plain calls of a library; neither ordered nor counted. Loads it. @throws ModuleError if it cannot be used */
export function libraryCalls(path: string, onLoop: OnLoop): Cryptoki {
  const library: Library = loadLibrary(path);
  return {
    call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
      const isOnLoop = onLoop === "all" || (onLoop === "quick" && !SLOW.has(fn));
      return library.call(isOnLoop ? now : later, fn, args);
    },
  };
}

/** A provider over a library of this process. */
export interface NativeProvider extends Provider {
  /** Whether a call has not returned yet. */
  isBusy(): boolean;
}

/**
 * Applications of a library of this process, wherever its calls run: they share one C_Initialize and, per token, the
 * login state.
 * @param start makes the plain calls, at the first `open`
 * @throws ModuleError if the library is in this process with another environment or `pReserved`
 */
export function applicationsOf(options: NativeModuleOptions, start: () => Awaitable<Cryptoki>): NativeProvider {
  const instance = claimInstance(options);
  const applications = new Set<Application>();
  let calls: Awaitable<Cryptoki> | undefined;
  let isLoading = false;
  return {
    open() {
      return after(
        () => {
          if (calls === undefined) {
            isLoading = true;
            calls = start();
          }
          return calls;
        },
        (library) => {
          isLoading = false;
          calls = library;
          const application = new Application(instance, library);
          applications.add(application);
          return application;
        },
        (error) => {
          isLoading = false;
          calls = undefined;
          throw error;
        },
      );
    },
    async close() {
      for (const application of applications) {
        if (application.isInitialised) await application.call("C_Finalize", {});
        // One that is still inside C, waiting for an event, goes on counting as busy.
        if (!application.isBusy) applications.delete(application);
      }
    },
    // A library that is being loaded may be inside C as well: what it runs then is its own.
    isBusy: () => isLoading || [...applications].some((application) => application.isBusy),
  };
}

/**
 * A library in this process (placement `direct`): calls run on the event loop and answer at once, but for those that take
 * long.
 * @param onLoop which calls; `none` in a process that has nothing else to do
 * @throws ModuleError if there is no such library, it is for another machine, or it is in this process with another
 *   environment or `pReserved`; `open` throws it if the library cannot be loaded
 */
export function nativeModule(options: NativeModuleOptions, onLoop: OnLoop = "quick"): NativeProvider {
  return applicationsOf(options, () => libraryCalls(options.path, onLoop));
}
