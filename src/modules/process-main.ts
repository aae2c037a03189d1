/**
 * The program of a child process: loads a library, serves its applications, and ends with its parent.
 * @module
 */
import type { Args, Awaitable, Cryptoki } from "../cryptoki/port.ts";
import { closeAtExit, exit } from "../host/exit.ts";
import { type NativeModuleOptions, type NativeProvider, nativeModule } from "../native/module/index.ts";
import { type AnswerMessage, type CallMessage, LOADED, toFailure } from "./messages.ts";

// Ctrl-C reaches the whole foreground group; it is the parent that decides.
for (const signal of ["SIGINT", "SIGHUP", "SIGQUIT"] as const) process.on(signal, () => {});

function answer(message: AnswerMessage): void {
  // A parent that is gone gets no answer; "disconnect" below deals with that.
  if (process.connected) process.send!(message, () => {});
}

function serve(provider: NativeProvider): void {
  const applications = new Map<number, Awaitable<Cryptoki>>();
  process.on("message", async ([id, number, fn, args]: CallMessage) => {
    try {
      const application = applications.get(number) ?? provider.open();
      applications.set(number, application);
      answer([id, await (await application).call(fn, args as Args<typeof fn>)]);
    } catch (error) {
      answer([id, undefined, toFailure(error)]);
    }
  });
}

// The environment was given at the start, so that C sees it; the rest comes with the first message.
process.once("message", (options: NativeModuleOptions) => {
  try {
    const provider = nativeModule(options, "none");
    closeAtExit(provider);
    serve(provider);
    void provider.open();
    answer([LOADED, undefined]);
  } catch (error) {
    answer([LOADED, undefined, toFailure(error)]);
  }
});
process.once("disconnect", () => exit(0));
