/** A module behind our own server, on a socket in a folder of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Provider } from "../../src/cryptoki/port.ts";
import { ServedConnection, type ServeOptions } from "../../src/rpc/server.ts";

export interface Served {
  readonly path: string;
  /** As a module is called. */
  readonly address: string;
  readonly connections: Set<ServedConnection>;
  /** Ends every connection, and listens no more until {@link start}. */
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Serves an application of the provider to each connection, in this process. */
export async function served(provider: Provider, options: ServeOptions = {}): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), "keywright-served-"));
  const path = join(folder, "socket");
  const connections = new Set<ServedConnection>();
  let server: Server | undefined;
  const start = async () => {
    server = createServer(async (socket) => {
      const connection = new ServedConnection(socket, await provider.open(), options);
      connections.add(connection);
      await connection.ended;
      connections.delete(connection);
    });
    await new Promise<void>((resolve) => server?.listen(path, resolve));
  };
  const stop = async () => {
    server?.close();
    for (const connection of connections) connection.finish();
    await Promise.all([...connections].map(({ ended }) => ended));
  };
  await start();
  return {
    path,
    address: `unix:path=${path}`,
    connections,
    stop,
    start,
    async close() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
