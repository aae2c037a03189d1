/**
 * Isolation `process`: a module in a child process, with a private channel. What crashes or hangs is the child; every
 * later `open` gets a new one.
 * @module
 */
import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Args, Cryptoki, FunctionName, Provider, Reply, Ulong } from "../cryptoki/port.ts";
import { startProcess } from "../host/entry.ts";
import { ModuleError, type NativeModuleOptions } from "../native/module/index.ts";
import { CALL_FLAGS } from "../spec/flags.ts";
import { Calls } from "./calls.ts";
import { type AnswerMessage, compact, fromFailure, LOADED } from "./messages.ts";

export interface ProcessModuleOptions extends NativeModuleOptions {
  /**
   * How long a call may take, in ms, its turn after other calls of its session included; 120 000 if not given. Waiting for
   * a slot event or a person is not limited.
   */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 120_000;

/** How long a child gets to finalise, and then to end, in ms. */
const FINALISE_MS = 2000;
const END_MS = 500;

/** Calls run in libuv's pool of the child, which has nothing else to do there: so many at the same time. */
const POOL = { UV_THREADPOOL_SIZE: "16" };

/** What to do about a module that is gone. */
const HINTS = ["its sessions are lost: open a session again, which starts the module anew"];

/** A child process with the library in it. */
class Child {
  readonly loaded: Promise<void>;
  /** Why it is gone: "the module crashed (SIGSEGV)"; undefined as long as it lives. */
  gone: string | undefined;
  readonly #process: ChildProcess;
  readonly #calls = new Calls();
  readonly #ended: Promise<void>;
  #applications = 0;

  constructor({ path, environment, reserved }: NativeModuleOptions, timeoutMs: number) {
    this.#process = startProcess("module-process", { ...POOL, ...environment });
    this.#ended = new Promise((resolve) => {
      this.#process.once("exit", (code, signal) => {
        this.#end(`the module's process ended ${signal === null ? `with code ${code}` : `by ${signal}`}`);
        resolve();
      });
    });
    // It could not be started, or a message could not be sent to it any more.
    this.#process.on("error", (error) => this.kill(`the module's process cannot be reached: ${error.message}`));
    this.loaded = new Promise((resolve, reject) => {
      this.#process.on("message", (message: AnswerMessage) => {
        const [id, , failure] = message;
        if (id !== LOADED) this.#calls.settle(message);
        else if (failure === undefined) resolve();
        else reject(fromFailure(failure));
        this.#hold();
      });
      void this.#ended.then(() => reject(new ModuleError(path, this.gone ?? "")));
    });
    // Loading runs code of the library as well.
    const timer = setTimeout(
      () => this.kill(`the module was not loaded within ${timeoutMs} ms and was ended`),
      timeoutMs,
    );
    this.loaded.then(
      () => clearTimeout(timer),
      () => clearTimeout(timer),
    );
    this.#process.send({ path, ...(reserved === undefined ? {} : { reserved }) });
  }

  /** The number of a new application. */
  application(): number {
    return ++this.#applications;
  }

  async call(application: number, fn: FunctionName, args: unknown, timeoutMs: number): Promise<unknown> {
    const { id, answer } = this.#calls.add(fn);
    this.#process.send([id, application, fn, compact(args)]);
    this.#hold();
    const timer = waitsForOthers(fn, args)
      ? undefined
      : setTimeout(() => this.kill(`the module did not answer ${fn} within ${timeoutMs} ms and was ended`), timeoutMs);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it at once. */
  kill(reason: string): void {
    this.#end(reason);
    this.#process.kill("SIGKILL");
  }

  /** Lets it end, and ends it if it does not. */
  async close(): Promise<void> {
    // C_Finalize has ended what waited for an event; those answers may still be on their way.
    await Promise.race([this.#calls.answered(), delay(END_MS, undefined, { ref: false })]);
    if (this.#process.connected) this.#process.disconnect();
    this.#process.ref();
    const isOver = await Promise.race([this.#ended.then(() => true), delay(END_MS, false, { ref: false })]);
    if (!isOver) this.kill("the module did not end and was ended");
    await this.#ended;
  }

  #end(reason: string): void {
    this.gone ??= reason;
    const detail = this.gone;
    this.#calls.failAll((fn) => new CryptokiError(fn, "CKR_DEVICE_REMOVED", detail, { hints: HINTS }));
  }

  /** This process stays alive for a child with calls under way, and only then. */
  #hold(): void {
    if (this.#calls.size > 0) {
      this.#process.ref();
      this.#process.channel?.ref();
    } else {
      this.#process.unref();
      this.#process.channel?.unref();
    }
  }
}

/** Whether a call waits for an event, or for a person at the token's own keypad. */
function waitsForOthers(fn: FunctionName, args: unknown): boolean {
  if (fn === "C_WaitForSlotEvent") {
    return (Number((args as Args<"C_WaitForSlotEvent">).flags) & CALL_FLAGS.CKF_DONT_BLOCK[0]) === 0;
  }
  const { pin, oldPin } = args as { pin?: unknown; oldPin?: unknown };
  return pin === null || oldPin === null;
}

/**
 * An application in a child. Once its child is gone so are its sessions; the next call that needs none starts another
 * child, initialised as before.
 */
class RemoteApplication implements Cryptoki {
  readonly #start: () => Promise<Child>;
  readonly #timeoutMs: number;
  #child: Child;
  #number: number;
  /** What it was initialised with; undefined while it is not. */
  #initialised: Args<"C_Initialize"> | undefined;
  #fresh: Promise<void> | undefined;
  readonly #sessions = new SessionNames();

  constructor(child: Child, start: () => Promise<Child>, timeoutMs: number) {
    this.#child = child;
    this.#number = child.application();
    this.#start = start;
    this.#timeoutMs = timeoutMs;
  }

  async call<F extends FunctionName>(fn: F, args: Args<F>): Promise<Reply<F>> {
    const { session } = args as { session?: Ulong };
    const { gone } = this.#child;
    if (gone !== undefined) {
      this.#sessions.loseAll(gone);
      if (session === undefined) {
        if (fn === "C_Finalize") {
          this.#initialised = undefined;
          return {} as Reply<F>;
        }
        this.#fresh ??= this.#startAnew(fn).finally(() => {
          this.#fresh = undefined;
        });
      }
    }
    if (session === undefined) {
      await this.#fresh;
      return this.#opened(fn, await this.#send(fn, args));
    }
    const real = this.#sessions.real(fn, session);
    const reply = await this.#send(fn, real === session ? args : { ...args, session: real });
    if (fn === "C_CloseSession") this.#sessions.closed(session);
    return reply;
  }

  #opened<F extends FunctionName>(fn: F, reply: Reply<F>): Reply<F> {
    if (fn !== "C_OpenSession") return reply;
    const { session } = reply as Reply<"C_OpenSession">;
    return { ...reply, session: this.#sessions.opened(session) };
  }

  async #send<F extends FunctionName>(fn: F, args: Args<F>): Promise<Reply<F>> {
    const reply = (await this.#child.call(this.#number, fn, args, this.#timeoutMs)) as Reply<F>;
    if (fn === "C_Initialize") this.#initialised = args as Args<"C_Initialize">;
    if (fn === "C_Finalize") this.#initialised = undefined;
    return reply;
  }

  /** Another child in place of one that is gone, initialised unless the call is about to do so. */
  async #startAnew(fn: FunctionName): Promise<void> {
    this.#child = await this.#start();
    this.#number = this.#child.application();
    if (this.#initialised !== undefined && fn !== "C_Initialize") await this.#send("C_Initialize", this.#initialised);
  }

  /** Finalises, if there is something to finalise and it does not take too long. */
  async close(): Promise<void> {
    if (this.#initialised === undefined || this.#child.gone !== undefined) return;
    const finalised = this.call("C_Finalize", {}).catch(() => {}); // a module that fails here is ended anyway
    await Promise.race([finalised, delay(FINALISE_MS, undefined, { ref: false })]);
  }
}

/** The sessions of one application over several children: the handles of one that is gone may be given anew by the next. */
class SessionNames {
  /** By the handle that the caller has: the handle in the child. */
  readonly #open = new Map<Ulong, Ulong>();
  /** By the handle that the caller has: why it is lost. */
  readonly #lost = new Map<Ulong, string>();
  #next = 2 ** 52;

  opened(real: Ulong): Ulong {
    const name = this.#lost.has(real) || this.#open.has(real) ? this.#next++ : real;
    this.#open.set(name, real);
    return name;
  }

  closed(name: Ulong): void {
    this.#open.delete(name);
  }

  loseAll(reason: string): void {
    for (const name of this.#open.keys()) this.#lost.set(name, reason);
    this.#open.clear();
  }

  /** @throws CryptokiError for a session that is lost */
  real(fn: FunctionName, name: Ulong): Ulong {
    const reason = this.#lost.get(name);
    if (reason !== undefined) {
      throw new CryptokiError(fn, "CKR_SESSION_HANDLE_INVALID", `session ${name}: ${reason}`, { hints: HINTS });
    }
    return this.#open.get(name) ?? name;
  }
}

/** A library in a child process of its own. `open` throws a ModuleError if it cannot be loaded there. */
export function processModule(options: ProcessModuleOptions): Provider {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const children = new Set<Child>();
  const applications = new Set<RemoteApplication>();
  let current: Promise<Child> | undefined;

  async function launch(): Promise<Child> {
    const child = new Child(options, timeoutMs);
    children.add(child);
    await child.loaded;
    return child;
  }

  /** The child that is there, or a new one if it is gone or could not load. */
  async function living(): Promise<Child> {
    const child = await current?.catch(() => undefined);
    if (child !== undefined && child.gone === undefined) return child;
    current = launch();
    return current;
  }

  return {
    async open() {
      const application = new RemoteApplication(await living(), living, timeoutMs);
      applications.add(application);
      return application;
    },
    async close() {
      await Promise.all([...applications].map((application) => application.close()));
      applications.clear();
      await Promise.all([...children].map((child) => child.close()));
      children.clear();
    },
  };
}
