/**
 * The program of a server's thread: serves the connections that it is given.
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { KeywrightError } from "../cryptoki/errors.ts";
import { takeOver } from "../host/connections.ts";
import { Connections } from "./connections.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { makeService, type Questions, type ServicePlan } from "./service.ts";

const port = parentPort!;

function tell(message: FromWorker): void {
  port.postMessage(message);
}

const questions = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
let asked = 0;

/** Asks who started this thread. */
function ask<Q extends keyof Questions>(
  what: Q,
): (...of: Parameters<Questions[Q]>) => Promise<Awaited<ReturnType<Questions[Q]>>> {
  return (...of) =>
    new Promise((resolve, reject) => {
      asked += 1;
      questions.set(asked, { resolve: resolve as (value: unknown) => void, reject });
      tell({ kind: "question", id: asked, what, of });
    });
}

const making = makeService(workerData as ServicePlan, {
  pin: ask("pin"),
  count: ask("count"),
  confirm: ask("confirm"),
  record: ask("record"),
  trace: (call) => tell({ kind: "trace", call }),
  report(fault, error) {
    const hints = error instanceof KeywrightError ? error.hints : [];
    tell({ kind: "report", fault, error: error instanceof Error ? error.message : String(error ?? ""), hints });
  },
}).then((service) => new Connections(service));

port.on("message", async (message: ToWorker) => {
  switch (message.kind) {
    case "connection":
      await serve(message);
      tell({ kind: "ended" });
      break;
    case "answer":
      questions.get(message.id)?.resolve(message.value);
      questions.delete(message.id);
      break;
    case "failure":
      questions.get(message.id)?.reject(new Error(message.fault));
      questions.delete(message.id);
      break;
    case "finish":
      await (await making).finish();
      port.close();
      break;
  }
});
async function serve({ fd, client }: Extract<ToWorker, { kind: "connection" }>): Promise<void> {
  const connections = await making;
  const socket = takeOver(fd);
  tell({ kind: "taken", fd });
  await connections.serve(socket, client);
}

making.then(
  () => tell({ kind: "ready" }),
  (error: unknown) => {
    throw error;
  },
);
