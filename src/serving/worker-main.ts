/**
 * The program of a server's thread: serves the connections that it is given.
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { KeywrightError } from "../cryptoki/errors.ts";
import { takeOver } from "../host/connections.ts";
import { Connections } from "./connections.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { makeService, type ServicePlan } from "./service.ts";

const port = parentPort!;

function tell(message: FromWorker): void {
  port.postMessage(message);
}

const questions = new Map<number, { resolve(pin: Uint8Array): void; reject(error: Error): void }>();
let asked = 0;

const service = makeService(workerData as ServicePlan, {
  pin: (place) =>
    new Promise((resolve, reject) => {
      asked += 1;
      questions.set(asked, { resolve, reject });
      tell({ kind: "pin", id: asked, place });
    }),
  report: (fault, error) => {
    const hints = error instanceof KeywrightError ? error.hints : [];
    tell({ kind: "report", fault, error: error instanceof Error ? error.message : String(error ?? ""), hints });
  },
});
const connections = new Connections(service);

port.on("message", async (message: ToWorker) => {
  switch (message.kind) {
    case "connection":
      await connections.serve(takeOver(message.fd), message.client);
      tell({ kind: "ended" });
      break;
    case "answer": {
      const question = questions.get(message.id);
      questions.delete(message.id);
      if ("pin" in message) question?.resolve(message.pin);
      else question?.reject(new Error(message.fault));
      break;
    }
    case "finish":
      await connections.finish();
      port.close();
      break;
  }
});
