/** Servers of p11-kit's protocol, each a process of its own: p11-kit's, in C, and ours. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { WorkerSettings } from "./workers.ts";

/** What programs load to reach a server. */
export const CLIENT_LIBRARY = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so";

export class Server {
  readonly #child: ChildProcess;
  readonly #token: WorkerSettings;
  readonly #path: string;

  private constructor(child: ChildProcess, token: WorkerSettings, path: string) {
    this.#child = child;
    this.#token = token;
    this.#path = path;
  }

  /** `p11-kit server`, with a token of a library. */
  static async ofPkit(folder: string, token: WorkerSettings): Promise<Server> {
    const path = socketIn(folder);
    const words = ["server", "-f", "-n", path, "--provider", token.module, "pkcs11:"];
    return Server.#start("p11-kit", words, token, path);
  }

  /** `keywright serve`. @param options more words for it */
  static async ofKeywright(
    folder: string,
    command: string,
    token: WorkerSettings,
    options: readonly string[] = [],
  ): Promise<Server> {
    const path = socketIn(folder);
    const words = [command, "serve", ...tokenWords(token), `pkcs11:token=${token.label}`, "--socket", path, ...options];
    return Server.#start(process.execPath, words, token, path);
  }

  static async #start(program: string, words: readonly string[], token: WorkerSettings, path: string): Promise<Server> {
    const child = spawn(program, words, {
      env: { ...process.env, ...token.environment },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const { done } = await createInterface({ input: child.stdout! })[Symbol.asyncIterator]().next();
    if (done === true) throw new Error(`it ended: ${program} ${words.join(" ")}`);
    return new Server(child, token, path);
  }

  /** Its process. */
  get pid(): number {
    return this.#child.pid!;
  }

  /** What a program has in its environment to find it. */
  get environment(): Readonly<Record<string, string>> {
    return { P11_KIT_SERVER_ADDRESS: this.address };
  }

  get address(): string {
    return `unix:path=${this.#path}`;
  }

  /** Its token, for a program that is a client. */
  get client(): WorkerSettings {
    const { label, pin, state } = this.#token;
    return { module: CLIENT_LIBRARY, environment: this.environment, label, pin, state };
  }

  /** Ends it. @returns its exit code; null where a signal ended it */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      await ended;
    }
    return this.#child.exitCode;
  }
}

/** How a token is named on a command line of ours. */
export function tokenWords({ module, store, state }: WorkerSettings): string[] {
  return ["--module", module, "--state", state, ...(store === undefined ? [] : ["--store", store])];
}

function socketIn(folder: string): string {
  return join(mkdtempSync(join(folder, "served-")), "socket");
}
