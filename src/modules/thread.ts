/**
 * Placement `thread`: a module's calls run in Workers of their own, so that a blocked call blocks neither the event loop
 * nor libuv's pool. There are as many Workers as calls at the same time, up to a limit.
 * @module
 */
import type { Worker } from "node:worker_threads";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Args, Cryptoki, FunctionName, Reply, Ulong } from "../cryptoki/port.ts";
import { startThread } from "../host/entry.ts";
import { applicationsOf, type NativeModuleOptions, type NativeProvider } from "../native/module/index.ts";
import { Calls } from "./calls.ts";
import { type AnswerMessage, compact, fromFailure, LOADED } from "./messages.ts";

/** How many calls of one module run at the same time; more wait for their turn. */
const MOST_THREADS = 8;

/** One Worker; it makes its calls one after the other. */
class Thread {
  readonly calls = new Calls();
  readonly loaded: Promise<void>;
  readonly #worker: Worker;

  constructor(path: string, onIdle: () => void, onEnd: () => void) {
    this.#worker = startThread("module-thread", path);
    this.loaded = new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        reject(error);
        this.calls.failAll((fn) => new CryptokiError(fn, "CKR_GENERAL_ERROR", error.message, { cause: error }));
      };
      this.#worker.on("message", (message: AnswerMessage) => {
        const [id, , failure] = message;
        if (id !== LOADED) {
          this.calls.settle(message);
          if (this.calls.size === 0) {
            this.#worker.unref();
            onIdle();
          }
        } else if (failure === undefined) resolve();
        else fail(fromFailure(failure));
      });
      this.#worker.on("error", fail);
      this.#worker.on("exit", () => {
        onEnd();
        fail(new Error("the module's thread ended"));
      });
    });
    // Only the first one's is waited for; the others' calls fail with it.
    this.loaded.catch(() => {});
  }

  call(fn: FunctionName, args: unknown): Promise<unknown> {
    const { id, answer } = this.calls.add(fn);
    this.#worker.ref();
    this.#worker.postMessage([id, 0, fn, compact(args)]);
    return answer;
  }

  /** Lets the process end although this Worker is there. */
  unref(): void {
    this.#worker.unref();
  }

  /** Ends the Worker, unless it is inside C: nothing can end it then. */
  async end(): Promise<void> {
    if (this.calls.size === 0) await this.#worker.terminate();
  }
}

/** The plain calls of a library, each in a Worker that is free. */
class ThreadPool implements Cryptoki {
  readonly #path: string;
  readonly #threads = new Set<Thread>();
  readonly #queue: ((thread: Thread) => void)[] = [];
  /**
   * Where an encryption goes on: the memory that the module may write an initialisation vector to (see
   * native/module/kept.ts) is known to the Worker that began it.
   */
  readonly #begun = new Map<Ulong, Thread>();

  constructor(path: string) {
    this.#path = path;
  }

  /** Loads the library. @throws ModuleError */
  async start(): Promise<void> {
    const thread = this.#add();
    try {
      await thread.loaded;
    } finally {
      thread.unref();
    }
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Promise<Reply<F>> {
    const { session } = args as { session?: Ulong };
    const thread = this.#bound(fn, session) ?? this.#idle() ?? this.#another();
    if (thread !== undefined) return this.#run(thread, fn, args);
    return new Promise((resolve) => {
      this.#queue.push((free) => resolve(this.#run(free, fn, args)));
    });
  }

  #run<F extends FunctionName>(thread: Thread, fn: F, args: Args<F>): Promise<Reply<F>> {
    if (fn === "C_EncryptInit") this.#begun.set((args as Args<"C_EncryptInit">).session, thread);
    else if (fn === "C_CloseSession") this.#begun.delete((args as Args<"C_CloseSession">).session);
    else if (fn === "C_CloseAllSessions" || fn === "C_Finalize") this.#begun.clear();
    return thread.call(fn, args) as Promise<Reply<F>>;
  }

  /** The thread that has to make this call, even if it is busy. */
  #bound(fn: FunctionName, session: Ulong | undefined): Thread | undefined {
    if (session === undefined || !(fn === "C_CloseSession" || fn.startsWith("C_Encrypt"))) return undefined;
    return this.#begun.get(session);
  }

  #another(): Thread | undefined {
    return this.#threads.size < MOST_THREADS ? this.#add() : undefined;
  }

  #idle(): Thread | undefined {
    for (const thread of this.#threads) if (thread.calls.size === 0) return thread;
    return undefined;
  }

  #add(): Thread {
    const thread: Thread = new Thread(
      this.#path,
      () => this.#queue.shift()?.(thread),
      () => this.#threads.delete(thread),
    );
    this.#threads.add(thread);
    return thread;
  }

  async end(): Promise<void> {
    await Promise.all([...this.#threads].map((thread) => thread.end()));
  }
}

/** A library of this process, called from threads of its own. @throws ModuleError as {@link applicationsOf} does */
export function threadModule(options: NativeModuleOptions): NativeProvider {
  const pool = new ThreadPool(options.path);
  const provider = applicationsOf(options, async () => {
    await pool.start();
    return pool;
  });
  return {
    ...provider,
    async close() {
      await provider.close();
      await pool.end();
    },
  };
}
