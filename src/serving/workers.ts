/**
 * The threads of a server: each connection goes to the one that has fewest.
 * @module
 */
import type { Socket } from "node:net";
import type { Worker } from "node:worker_threads";
import { handOver, peerOf } from "../host/connections.ts";
import { startThread } from "../host/entry.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import type { ServiceHost, ServicePlan } from "./service.ts";

interface Thread {
  readonly worker: Worker;
  connections: number;
  readonly ended: Promise<void>;
}

/** Reports carry the message of the error, and its hints, not the error itself: it happened in another thread. */
export interface WorkersHost extends Omit<ServiceHost, "report"> {
  report(fault: string, error: string, hints: readonly string[]): void;
}

export class Workers {
  readonly #plan: ServicePlan;
  readonly #host: WorkersHost;
  readonly #threads: Thread[];
  #isEnding = false;

  /** @param count how many threads */
  constructor(plan: ServicePlan, count: number, host: WorkersHost) {
    this.#plan = plan;
    this.#host = host;
    this.#threads = Array.from({ length: count }, () => this.#start());
  }

  /** How many connections are served now. */
  get connections(): number {
    return this.#threads.reduce((sum, { connections }) => sum + connections, 0);
  }

  /** Gives a connection to a thread. @param socket of a server with `pauseOnConnect` */
  take(socket: Socket): void {
    const thread = this.#threads.reduce((least, one) => (one.connections < least.connections ? one : least));
    try {
      const client = peerOf(socket);
      const fd = handOver(socket);
      thread.connections += 1;
      send(thread.worker, { kind: "connection", fd, client });
    } catch (error) {
      socket.destroy();
      this.#host.report("a connection was lost before it was served", (error as Error).message, []);
    }
  }

  /** Lets calls under way be answered, and ends the threads. */
  async finish(): Promise<void> {
    this.#isEnding = true;
    for (const { worker } of this.#threads) send(worker, { kind: "finish" });
    await Promise.all(this.#threads.map(({ ended }) => ended));
  }

  #start(): Thread {
    const worker = startThread("serve-thread", this.#plan);
    const thread: Thread = {
      worker,
      connections: 0,
      ended: new Promise((resolve) => worker.once("exit", () => resolve())),
    };
    worker.on("message", (message: FromWorker) => this.#on(thread, message));
    worker.on("error", (error) =>
      this.#host.report("a thread of the server ended, and its connections", error.message, []),
    );
    worker.once("exit", () => {
      const place = this.#threads.indexOf(thread);
      if (!this.#isEnding && place >= 0) this.#threads[place] = this.#start();
    });
    return thread;
  }

  #on(thread: Thread, message: FromWorker): void {
    if (message.kind === "ended") thread.connections -= 1;
    else if (message.kind === "report") this.#host.report(message.fault, message.error, message.hints);
    else {
      const { id, place } = message;
      Promise.resolve(this.#host.pin(place)).then(
        (pin) => {
          send(thread.worker, { kind: "answer", id, pin });
          pin.fill(0);
        },
        (error: Error) => send(thread.worker, { kind: "answer", id, fault: error.message }),
      );
    }
  }
}

function send(worker: Worker, message: ToWorker): void {
  worker.postMessage(message);
}
