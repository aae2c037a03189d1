/** Other people's programs, run with a built-in token that the built command serves to them. Needs dist. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { peerPath } from "./peers.ts";
import { World } from "./world.ts";

/** The built command. */
export const COMMAND: string = resolve(import.meta.dirname, "../../dist/bin/keywright.js");

/** What programs load. */
export const CLIENT: string = peerPath("p11-kit-client") ?? "p11-kit-client.so";

/** The PINs of every token here. */
export const USER_PIN = "1234-user";
export const SO_PIN = "so-12345678";

/** How long a program may take before it is ended, and its output shown. */
const PATIENCE_MS = 30_000;

/** How a program ended, and what it said. */
export interface Ran {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
  /** Both, as a person would have seen them. */
  readonly said: string;
}

/** A program that runs. */
export class Running {
  readonly #child: ChildProcess;
  readonly #words: string;
  readonly ended: Promise<Ran>;
  #out = "";
  #err = "";
  #said = "";

  constructor(words: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv; input?: string | undefined }) {
    const [program, ...rest] = words as [string, ...string[]];
    this.#words = words.join(" ");
    // A session of its own: no program finds a terminal to ask at, and all of it is ended together.
    this.#child = spawn(program, rest, { cwd: options.cwd, env: options.env, detached: true, stdio: "pipe" });
    this.#child.stdin!.on("error", () => undefined).end(options.input ?? "");
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.#out += text;
      this.#said += text;
    });
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#err += text;
      this.#said += text;
    });
    this.ended = once(this.#child, "close").then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      out: this.#out,
      err: this.#err,
      said: this.#said,
    }));
    // Told by whoever waits for it.
    this.ended.catch(() => undefined);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get said(): string {
    return this.#said;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Waits for the end; of a program that hangs, ends it and says what it said. */
  async end(): Promise<Ran> {
    const ran = await this.#within(this.ended);
    if (ran !== undefined) return ran;
    await this.kill("SIGKILL");
    throw new Error(`${this.#words}: did not end; it said:\n${this.#said}`);
  }

  /** Waits until something is so. */
  async until(isSo: () => boolean | Promise<boolean>): Promise<void> {
    for (const limit = Date.now() + PATIENCE_MS; !(await isSo()); await delay(20)) {
      if (!this.isRunning || Date.now() > limit)
        throw new Error(`${this.#words}: is not ready; it said:\n${this.#said}`);
    }
  }

  /** Sends a signal to the program alone, and waits for its end. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ran> {
    this.#child.kill(signal);
    return this.end();
  }

  /** Sends a signal to it and its children, those that outlived it too. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    try {
      process.kill(-this.pid, signal);
    } catch {
      // Nobody is left.
    }
    await this.#within(this.ended);
  }

  async #within(ended: Promise<Ran>): Promise<Ran | undefined> {
    const stop = new AbortController();
    const late = delay(PATIENCE_MS, undefined, { signal: stop.signal }).catch(() => undefined);
    const ran = await Promise.race([ended, late]);
    stop.abort();
    return ran;
  }
}

export interface RunOptions {
  /** What the program reads; nothing by default. */
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** A declared built-in token `demo`, and programs in its folder. */
export class Programs extends World {
  readonly #running = new Set<Running>();

  constructor(keys: string, pins: "both" | "none" = "both") {
    super({ token: "{ module: softtoken, store: demo.db, label: demo }", keys, pins });
    // Certificates are looked at by programs that have no other clock.
    this.now = new Date();
    mkdirSync(this.path("run"), { mode: 0o700 });
  }

  /** The environment of programs: nothing of a desktop's, no agent's, and places of their own. */
  environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return {
      PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
      HOME: this.folder,
      LC_ALL: "C.UTF-8",
      RUNTIME_DIRECTORY: this.path("run"),
      KEYWRIGHT_LOCKS: process.env.KEYWRIGHT_LOCKS,
      ...more,
    };
  }

  start(words: readonly string[], { input, env }: RunOptions = {}): Running {
    const running = new Running(words, { cwd: this.folder, env: this.environment(env), input });
    this.#running.add(running);
    const forget = () => void this.#running.delete(running);
    void running.ended.then(forget, forget);
    return running;
  }

  run(words: readonly string[], options?: RunOptions): Promise<Ran> {
    return this.start(words, options).end();
  }

  /** Starts the command. */
  keywright(words: readonly string[], options?: RunOptions): Running {
    const end = words.includes("--") ? words.indexOf("--") : words.length;
    const all = [...words.slice(0, end), "--state", this.state, ...words.slice(end)];
    return this.start([process.execPath, COMMAND, ...all], options);
  }

  /** Runs a program through `keywright exec`; it sends no PIN. */
  with(program: readonly string[], options?: RunOptions): Promise<Ran> {
    return this.startWith(program, options).end();
  }

  /** The same, for a program that goes on. */
  startWith(program: readonly string[], options?: RunOptions): Running {
    return this.keywright(["exec", "--verbose", "--token", "demo", "--", ...program], options);
  }

  /** Starts `keywright serve`, and answers the variable that programs need. */
  async serve(words: readonly string[]): Promise<{ server: Running; env: { P11_KIT_SERVER_ADDRESS: string } }> {
    const server = this.keywright(["serve", "--verbose", "--socket", this.path("run/s"), ...words]);
    let address: string | undefined;
    await server.until(() => {
      address = /^P11_KIT_SERVER_ADDRESS='([^']+)'; export/m.exec(server.said)?.[1];
      return address !== undefined;
    });
    return { server, env: { P11_KIT_SERVER_ADDRESS: address! } };
  }

  /** Ends what still runs, and removes the folder. */
  async end(): Promise<void> {
    for (const running of this.#running) {
      await running.kill("SIGTERM");
      await running.kill("SIGKILL");
    }
    this.remove();
  }
}

/** A port of the loopback that nobody has. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Whether somebody listens there; seen without connecting, which a server would tell of. */
export function isListening(port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return ["/proc/net/tcp", "/proc/net/tcp6"]
    .filter((path) => existsSync(path))
    .some((path) => new RegExp(`^ *\\d+: [0-9A-F]+:${hex} [0-9A-F]+:0000 0A`, "m").test(readFileSync(path, "utf8")));
}

/** A key and a certificate that it signs for itself, in `NAME.pem`. */
export function selfSigned(name: string, id: number, type: string, more = ""): string {
  return `  ${name}: { token: demo, id: ${id}, type: "${type}"${more}, certificate: { subject: CN=localhost, publish: [{ path: ${name}.pem }] } }\n`;
}

/** A token with an RSA and an EC key. @param keys declared beside them */
export async function rsaAndEc(keys = ""): Promise<Programs> {
  const programs = new Programs(selfSigned("rsa", 1, "RSA:2048") + selfSigned("ec", 2, "EC:secp256r1") + keys);
  await programs.applied();
  return programs;
}
