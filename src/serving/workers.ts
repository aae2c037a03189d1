/**
 * The threads of a server: each connection goes to the one that has fewest.
 * @module
 */
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import type { Worker } from "node:worker_threads";
import { handOver, peerOf } from "../host/connections.ts";
import { startThread } from "../host/entry.ts";
import type { Client } from "../layers/client.ts";
import type { TracedCall } from "../layers/trace/trace.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import type { Questions, ServicePlan } from "./service.ts";

/** How long a thread that could not begin is left alone, in ms. */
const RESTART_MS = 1000;

interface Thread {
  readonly worker: Worker;
  connections: number;
  isReady: boolean;
  isGone: boolean;
  /** Descriptors that it was given, and has not taken yet. */
  readonly given: Set<number>;
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
    const client = this.#host.client ?? clientOf(socket, at);
    if (this.#isStranger(client)) {
      socket.destroy();
      this.#host.report("a connection was refused", `uid ${client.uid} is not this user, and there is no policy`, []);
      return;
    }
    const [first, ...others] = this.#threads.filter(({ isGone }) => !isGone);
    try {
      if (first === undefined) throw new Error("no thread of the server is there");
      const thread = others.reduce((least, one) => (one.connections < least.connections ? one : least), first);
      const fd = handOver(socket);
      thread.connections += 1;
      thread.given.add(fd);
      send(thread.worker, { kind: "connection", fd, client });
    } catch (error) {
      socket.destroy();
      this.#host.report("a connection was lost before it was served", (error as Error).message, []);
    }
  }

  /** Another user's process, which a socket that somebody else made may let in. */
  #isStranger({ uid }: Client): boolean {
    return !this.#plan.others && uid !== undefined && uid !== 0 && uid !== process.getuid?.();
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
      isGone: false,
      given: new Set(),
      ended: new Promise((resolve) => worker.once("exit", () => resolve())),
    };
    worker.on("message", (message: FromWorker) => this.#on(thread, message));
    worker.on("error", (error) => {
      thread.isGone = true;
      this.#host.report("a thread of the server ended, and its connections", error.message, []);
    });
    worker.once("exit", () => this.#ended(thread));
    return thread;
  }

  /** Another thread in the place of one that ended; what it was given and did not take is closed. */
  #ended(thread: Thread): void {
    thread.isGone = true;
    for (const fd of thread.given) {
      try {
        closeSync(fd);
      } catch {
        // It was taken after all, and went with the thread.
      }
    }
    thread.given.clear();
    const restart = () => {
      const place = this.#threads.indexOf(thread);
      if (!this.#isEnding && place >= 0) this.#threads[place] = this.#start();
    };
    // One that could not begin may not be able to the next time either.
    if (thread.isReady) restart();
    else setTimeout(restart, RESTART_MS).unref();
  }

  #on(thread: Thread, message: FromWorker): void {
    switch (message.kind) {
      case "taken":
        thread.given.delete(message.fd);
        break;
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
