/**
 * Placement `process`: a module in a child process, with a private channel. What crashes or hangs is the child; every
 * later `open` gets a new one.
 * @module
 */
import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { FunctionName, Provider } from "../cryptoki/port.ts";
import { startProcess } from "../host/entry.ts";
import { ModuleError, type NativeModuleOptions } from "../native/module/index.ts";
import { Calls } from "./calls.ts";
import { type AnswerMessage, compact, fromFailure, LOADED } from "./messages.ts";
import { type Link, RevivedApplication, waitsForOthers } from "./revived.ts";

export interface ProcessModuleOptions extends NativeModuleOptions {
  /**
   * How long a call may take, in ms, its turn after other calls of its session included; 120 000 if not given. Waiting for
   * a slot event or a person is not limited.
   */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 120_000;

/** How long a child gets to end, in ms. */
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

/** A library in a child process of its own. `open` throws a ModuleError if it cannot be loaded there. */
export function processModule(options: ProcessModuleOptions): Provider {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const children = new Set<Child>();
  const applications = new Set<RevivedApplication>();
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

  /** A new application in a child. */
  function linkTo(child: Child): Link {
    const application = child.application();
    return {
      get gone() {
        return child.gone;
      },
      call: (fn, args) => child.call(application, fn, args, timeoutMs),
    };
  }

  return {
    async open() {
      const application = new RevivedApplication(linkTo(await living()), async () => linkTo(await living()), HINTS);
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
