/**
 * Streams to peers: over a socket, or over the standard input and output of a command.
 * @module
 */
import type { ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { createConnection } from "node:net";
import { Duplex, type Readable, type Writable } from "node:stream";
import { FOR_SSH, readVariables, scrubbedEnvironment } from "../host/environment.ts";
import { explainSystem } from "../host/errors.ts";
import { keepDescriptors } from "../host/libc.ts";
import { ModuleError } from "../native/module/errors.ts";
import type { Peer } from "./address.ts";

/** A stream, and whether this process stays alive for it. */
export interface PeerStream {
  readonly stream: Duplex;
  hold(isHeld: boolean): void;
}

/** @throws ModuleError when nobody can be reached */
export async function connectPeer(
  module: string,
  peer: Peer,
  environment: Readonly<Record<string, string>>,
): Promise<PeerStream> {
  try {
    return peer.kind === "socket" ? await toSocket(peer.path) : await toCommand(peer, environment);
  } catch (error) {
    throw new ModuleError(module, `cannot connect: ${explainSystem(error)}`, {
      cause: error,
      hints: [
        peer.kind === "socket"
          ? "is the server running? keywright serve, or p11-kit server, prints the address that it listens at"
          : `is ${peer.program} installed, and can it be run by this user?`,
      ],
    });
  }
}

async function toSocket(path: string): Promise<PeerStream> {
  const socket = createConnection(path);
  await once(socket, "connect");
  return {
    stream: socket,
    hold(isHeld) {
      if (isHeld) socket.ref();
      else socket.unref();
    },
  };
}

async function toCommand(
  { program, words }: Peer & { kind: "command" },
  environment: Readonly<Record<string, string>>,
): Promise<PeerStream> {
  const { spawn } = await import("node:child_process");
  keepDescriptors();
  const child = spawn(program, [...words], {
    env: scrubbedEnvironment({ ...readVariables(FOR_SSH), ...environment }),
    stdio: ["pipe", "pipe", 2],
  }) as Child;
  await once(child, "spawn");
  const stream = new CommandStream(program, child);
  return { stream, hold: (isHeld) => stream.hold(isHeld) };
}

/** How long a command gets to end after its input was closed, and then after SIGTERM, in ms. */
const END_MS = 3000;

type Child = ChildProcessByStdio<Writable, Readable, null>;

/** A command's input and output as one stream, which ends with the command. */
class CommandStream extends Duplex {
  readonly #child: Child;
  readonly #exited: Promise<unknown>;

  constructor(program: string, child: Child) {
    super();
    this.#child = child;
    this.#exited = once(child, "exit");
    child.stdout.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) child.stdout.pause();
    });
    // What the command says by its end is worth waiting for.
    child.stdout.on("end", () => {
      void this.#exited.then(() => {
        const { exitCode, signalCode } = child;
        if (exitCode === 0) this.push(null);
        else
          this.destroy(
            new Error(`${program} ended ${signalCode === null ? `with code ${exitCode}` : `by ${signalCode}`}`),
          );
      });
    });
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => this.destroy(error));
  }

  hold(isHeld: boolean): void {
    const parts = [this.#child, this.#child.stdin, this.#child.stdout] as { ref?(): void; unref?(): void }[];
    for (const part of parts) {
      if (isHeld) part.ref?.();
      else part.unref?.();
    }
  }

  override _read(): void {
    this.#child.stdout.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // A command that reads no more ends, and what it says by that is told.
    this.#child.stdin.write(chunk, () => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const child = this.#child;
    child.stdin.end();
    child.stdout.destroy();
    if (child.exitCode === null && child.signalCode === null) {
      const timers = [
        setTimeout(() => child.kill("SIGTERM"), END_MS),
        setTimeout(() => child.kill("SIGKILL"), 2 * END_MS),
      ];
      for (const timer of timers) timer.unref();
      void this.#exited.then(() => timers.forEach(clearTimeout));
    }
    done(error);
  }
}
