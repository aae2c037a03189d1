/**
 * Serving a module of one's own, from the process that has it.
 * @module
 */
import { createServer } from "node:net";
import { FUNCTION, kind, members, optional, requireArguments, TEXT } from "../cryptoki/arguments.ts";
import type { Cryptoki, Provider } from "../cryptoki/port.ts";
import { peerOf } from "../host/connections.ts";
import { listenAt } from "../host/sockets.ts";
import type { Client } from "../layers/client.ts";
import { allOfOne } from "../modules/pool.ts";
import { Connections } from "./connections.ts";

export interface ServeModuleOptions {
  /** The path of the Unix socket. Its folder is made where it is missing, and has to be this user's alone. */
  readonly socket: string;
  /** Puts layers over the application of a client: who it is, is known as far as the system tells. */
  readonly layered?: (application: Cryptoki, client: Client) => Cryptoki;
  /** Told what went wrong that a client is told as a return value only. */
  readonly report?: (fault: string, error: unknown) => void;
}

/** A module that is served. */
export interface ServedModule {
  /** What programs need in `P11_KIT_SERVER_ADDRESS`, and `openModule` as the module's name. */
  readonly address: string;
  /** Lets calls under way be answered, closes the connections, removes the socket. */
  close(): Promise<void>;
}

const PROVIDER = kind(
  "a provider, which has open() and close()",
  (value) => typeof value === "object" && value !== null && "open" in value,
);

/**
 * Serves a module over p11-kit's protocol, so that every program can load it as `p11-kit-client.so`. Each connection is an
 * application of its own: one `provider.open()`. The provider stays the caller's to close.
 * @param provider a module written as a map of handlers (`fromHandlers`), or any other
 * @throws ArgumentError; KeywrightError for a socket that cannot be had
 */
export async function serveModule(provider: Provider, options: ServeModuleOptions): Promise<ServedModule> {
  requireArguments("serveModule", {
    provider: [provider, PROVIDER],
    options: [options, members({ socket: TEXT, layered: optional(FUNCTION), report: optional(FUNCTION) })],
  });
  const { socket: path, layered = (application) => application, report = () => undefined } = options;
  const { start } = allOfOne(provider);
  const connections = new Connections({ applications: { start, close: async () => undefined }, layered, report });
  const server = createServer();
  const file = await listenAt(server, path);
  server.on("connection", (socket) => {
    const { program, ...peer } = peerOf(socket) ?? {};
    void connections.serve(socket, { ...peer, ...(program === undefined ? {} : { program }), socket: file.path });
  });
  return {
    address: `unix:path=${file.path.replaceAll("%", "%25")}`,
    async close() {
      server.close();
      await file.remove();
      await connections.finish();
    },
  };
}
