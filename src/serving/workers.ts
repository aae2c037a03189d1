/**
 * The threads of a server: each connection goes to the one that has fewest.
 * @module
 */
import type { Socket } from "node:net";
import type { Worker } from "node:worker_threads";
import { handOver, peerOf } from "../host/connections.ts";
import { startThread } from "../host/entry.ts";
import type { Client } from "../layers/client.ts";
import type { TracedCall } from "../layers/trace/trace.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import type { Questions, ServicePlan } from "./service.ts";

interface Thread {
  readonly worker: Worker;
  connections: number;
  isReady: boolean;
  readonly ended: Promise<void>;
}

/** What the threads are answered. Of an error in another thread there are the message and the hints. */
export interface WorkersHost extends Questions {
  report(fault: string, error: string, hints: readonly string[]): void;
  trace(call: TracedCall): void;
  /** What clients are known as, where the process that connects is not the client itself. */
  readonly client?: Client | undefined;
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

  /**
   * Gives a connection to a thread.
   * @param socket of a server with `pauseOnConnect`
   * @param at the socket that it came by
   */
  take(socket: Socket, at: string): void {
    const thread = this.#threads.reduce((least, one) => (one.connections < least.connections ? one : least));
    try {
      const client = this.#host.client ?? clientOf(socket, at);
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
      isReady: false,
      ended: new Promise((resolve) => worker.once("exit", () => resolve())),
    };
    worker.on("message", (message: FromWorker) => this.#on(thread, message));
    worker.on("error", (error) =>
      this.#host.report("a thread of the server ended, and its connections", error.message, []),
    );
    worker.once("exit", () => {
      const place = this.#threads.indexOf(thread);
      // One that could not begin could not begin again.
      if (!this.#isEnding && thread.isReady && place >= 0) this.#threads[place] = this.#start();
    });
    return thread;
  }

  #on(thread: Thread, message: FromWorker): void {
    switch (message.kind) {
      case "ready":
        thread.isReady = true;
        break;
      case "ended":
        thread.connections -= 1;
        break;
      case "report":
        this.#host.report(message.fault, message.error, message.hints);
        break;
      case "trace":
        this.#host.trace(message.call);
        break;
      case "question":
        void this.#answer(thread.worker, message);
        break;
    }
  }

  async #answer(worker: Worker, { id, what, of }: Extract<FromWorker, { kind: "question" }>): Promise<void> {
    try {
      const value = await (this.#host[what] as (...args: readonly unknown[]) => unknown)(...of);
      send(worker, { kind: "answer", id, value });
      // A PIN; the thread has its own copy.
      if (value instanceof Uint8Array) value.fill(0);
    } catch (error) {
      send(worker, { kind: "failure", id, fault: error instanceof Error ? error.message : String(error) });
    }
  }
}

function clientOf(socket: Socket, at: string): Client {
  const peer = peerOf(socket);
  if (peer === undefined) return { socket: at };
  const { program, ...known } = peer;
  return { ...known, ...(program === undefined ? {} : { program }), socket: at };
}

function send(worker: Worker, message: ToWorker): void {
  worker.postMessage(message);
}
