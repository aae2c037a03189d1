/**
 * Connecting to a peer: the version byte. From p11-kit-rpc.md, 1.2.
 * @module
 */
import type { Duplex } from "node:stream";
import { VERSION } from "../dialect.ts";
import { Channel, PeerError } from "./channel.ts";
import { ClientConnection } from "./client.ts";

/**
 * Connects and settles on a version: offers the highest, and 0 on a new connection where a peer closes on that
 * (p11-kit up to 0.24.0).
 * @throws PeerError when the peer closes without an answer to either
 */
export async function connectTo(connect: () => Promise<Duplex>): Promise<ClientConnection> {
  for (const offer of [VERSION, 0]) {
    const stream = await connect();
    const version = await handshake(stream, offer);
    if (version !== undefined) return new ClientConnection(new Channel(stream), version);
    stream.destroy();
  }
  throw new PeerError("the peer closes the connection without an answer");
}

/** Offers a version; undefined when the peer closes instead of answering. */
function handshake(stream: Duplex, offer: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const done = (result: number | undefined, error?: Error) => {
      for (const name of ["readable", "end", "close", "error"] as const) stream.off(name, listeners[name]);
      if (error === undefined) resolve(result);
      else reject(new PeerError(error.message));
    };
    const listeners = {
      readable: () => {
        const byte = stream.read(1) as Uint8Array | null;
        if (byte !== null) done(byte[0]);
      },
      end: () => done(undefined),
      close: () => done(undefined),
      error: (error: NodeJS.ErrnoException) => {
        // It closed with our offer unread.
        if (error.code === "EPIPE" || error.code === "ECONNRESET") done(undefined);
        else done(undefined, error);
      },
    };
    for (const name of ["readable", "end", "close", "error"] as const) stream.on(name, listeners[name]);
    stream.write(Uint8Array.of(offer));
  });
}
