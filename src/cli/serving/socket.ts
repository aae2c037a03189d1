/**
 * A socket of our own on which tokens are served, and how programs find it.
 * @module
 */
import { mkdtempSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makePrivateFolder } from "../../host/files.ts";
import { runtimeFolder } from "../../host/folders.ts";
import { keepMemory } from "../../host/processes.ts";
import { listenAt } from "../../host/sockets.ts";
import { findLibrary } from "../../native/module/discovery.ts";
import { ModuleError } from "../../native/module/errors.ts";
import { Workers } from "../../serving/workers.ts";
import type { Guarded } from "./guards.ts";

/** The variable in which p11-kit's client looks for its server. */
export const ADDRESS_VARIABLE = "P11_KIT_SERVER_ADDRESS";

/** The address of a socket, as p11-kit's client reads it: percent-decoded. */
export function addressOf(path: string): string {
  return `unix:path=${path.replaceAll("%", "%25")}`;
}

/** The library that programs load to use what is served. @throws ModuleError when it is not on this machine */
export function clientLibrary(): string {
  const found = findLibrary("p11-kit-client.so");
  if (found !== undefined) return found;
  throw new ModuleError("p11-kit-client.so", "it is not on this machine", {
    hints: ["on Debian: apt-get install p11-kit-modules"],
  });
}

/** A folder of our own for a socket, in the runtime folder where there is one. */
export function privateFolder(prefix: string): string {
  let base: string;
  try {
    base = runtimeFolder();
    makePrivateFolder(base);
  } catch {
    base = tmpdir();
  }
  return mkdtempSync(join(base, prefix));
}

export interface ServedSocket {
  /** When nobody listens any more. */
  readonly closed: Promise<void>;
  /** Lets calls under way be answered, and leaves no file. Safe to repeat. */
  close(): Promise<void>;
}

/**
 * Listens on a path of ours, or on a socket that systemd handed over, and serves who connects.
 * @param at the path, or the descriptor
 * @throws HostError for a path that cannot be had
 */
export async function listenFor(guarded: Guarded, at: string | number, workers: number): Promise<ServedSocket> {
  keepMemory();
  const server = createServer({ pauseOnConnect: true });
  const closed = new Promise<void>((done) => server.once("close", done));
  const file = typeof at === "string" ? await listenAt(server, at) : undefined;
  if (typeof at === "number") await new Promise<void>((done) => server.listen({ fd: at }, done));
  const threads = new Workers(guarded.plan, workers, guarded.host);
  const name = typeof at === "string" ? at : `fd ${at}`;
  server.on("connection", (socket) => threads.take(socket, name));
  let closing: Promise<void> | undefined;
  return {
    closed,
    close() {
      closing ??= (async () => {
        server.close();
        await file?.remove();
        await threads.finish();
        await guarded.close();
      })();
      return closing;
    },
  };
}
