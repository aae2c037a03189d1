/**
 * The program of a Worker: loads a library and makes its calls, one at a time.
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import type { Args, Cryptoki } from "../cryptoki/port.ts";
import { libraryCalls } from "../native/module/index.ts";
import { type AnswerMessage, type CallMessage, LOADED, toFailure } from "./messages.ts";

const port = parentPort!;

function answer(message: AnswerMessage): void {
  port.postMessage(message);
}

function serve(library: Cryptoki): void {
  port.on("message", ([id, , fn, args]: CallMessage) => {
    try {
      answer([id, library.call(fn, args as Args<typeof fn>)]);
    } catch (error) {
      answer([id, undefined, toFailure(error)]);
    }
  });
}

try {
  serve(libraryCalls(workerData as string, "all"));
  answer([LOADED, undefined]);
} catch (error) {
  answer([LOADED, undefined, toFailure(error)]);
}
