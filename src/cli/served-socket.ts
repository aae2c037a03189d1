/**
 * A socket of our own on which tokens are served.
 * @module
 */
import { createServer } from "node:net";
import { listenAt } from "../host/sockets.ts";
import { Workers, type WorkersHost } from "../serving/workers.ts";
import type { Serving } from "./serving.ts";

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
export async function listenFor(
  { plan, pin }: Serving,
  at: string | number,
  workers: number,
  report: WorkersHost["report"],
): Promise<ServedSocket> {
  const server = createServer({ pauseOnConnect: true });
  const closed = new Promise<void>((done) => server.once("close", done));
  const file = typeof at === "string" ? await listenAt(server, at) : undefined;
  if (typeof at === "number") await new Promise<void>((done) => server.listen({ fd: at }, done));
  const threads = new Workers(plan, workers, { pin, report });
  server.on("connection", (socket) => threads.take(socket));
  let closing: Promise<void> | undefined;
  return {
    closed,
    close() {
      closing ??= (async () => {
        server.close();
        await file?.remove();
        await threads.finish();
      })();
      return closing;
    },
  };
}
