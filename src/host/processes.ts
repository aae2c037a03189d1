/**
 * Child processes. A child gets a few variables of ours and those that it is given, never the whole environment; it
 * inherits no lock and no open file: Node opens its own close-on-exec, and those that it was started with are kept.
 * @module
 */
import { closeSync, constants, openSync } from "node:fs";
import { scrubbedEnvironment } from "./environment.ts";
import { explainSystem, HostError } from "./errors.ts";
import { keepDescriptors, libc } from "./libc.ts";

/** How long to read on after a child's end, in ms. */
const DRAIN_MS = 500;

export interface RunOptions {
  readonly arguments?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly input?: Uint8Array | string;
  /** Where the child's output goes: to our standard error, or back to the caller. */
  readonly output: "show" | "return";
  readonly folder?: string;
  /** In ms; the child is killed then. No limit by default. */
  readonly timeoutMs?: number;
}

export interface RunResult {
  /** The exit code; null when a signal ended the child. */
  readonly status: number | null;
  readonly signal: string | null;
  /** Standard output, where it was asked for. */
  readonly output: Buffer;
}

/**
 * Runs a program to its end. Waits for the program itself, not for what it left running in the background.
 * @throws HostError when it cannot be started
 */
export async function run(program: string, options: RunOptions): Promise<RunResult> {
  // Imported here: it costs 6 ms at start, and most commands run no program.
  const { spawn } = await import("node:child_process");
  keepDescriptors();
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...(options.arguments ?? [])], {
      env: scrubbedEnvironment(options.environment),
      stdio: ["pipe", options.output === "return" ? "pipe" : 2, 2],
      ...(options.folder === undefined ? {} : { cwd: options.folder }),
      ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs, killSignal: "SIGKILL" as const }),
    });
    const chunks: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", (error) =>
      reject(new HostError(`cannot run ${program}: ${explainSystem(error)}`, { cause: error })),
    );
    child.on("exit", (status, signal) => {
      const finish = () => {
        clearTimeout(drain);
        child.stdout?.destroy();
        const output = Buffer.concat(chunks);
        // It may be a PIN.
        for (const chunk of chunks) chunk.fill(0);
        resolve({ status, signal, output });
      };
      // A background process of the child may hold the pipe open for ever: what came soon after the end is the answer.
      const drain = setTimeout(finish, DRAIN_MS);
      child.on("close", finish);
    });
    // A program that does not read its input closes the pipe; that is its right.
    child.stdin!.on("error", () => undefined);
    child.stdin!.end(options.input ?? "");
  });
}

/**
 * From now on this process, all its threads, leaves no core file, and no other program of its user can read its memory:
 * keys and PINs are in it. Programs that it starts are not meant. On Linux alone.
 */
export function keepMemory(): void {
  if (libc().setDumpable(0) !== 0) {
    throw new HostError(`prctl(PR_SET_DUMPABLE, 0): errno ${libc().errno()}, expected 0`, {
      hints: ["let this service call prctl: its memory, with keys and PINs, could be read and dumped otherwise"],
    });
  }
}

/** Whether Ctrl-C at a terminal reaches us, and so the programs that we started, by itself. */
export function isInForeground(): boolean {
  let terminal: number;
  try {
    terminal = openSync("/dev/tty", constants.O_RDONLY | constants.O_NOCTTY);
  } catch {
    return false;
  }
  try {
    return libc().tcgetpgrp(terminal) === libc().getpgrp();
  } finally {
    closeSync(terminal);
  }
}
