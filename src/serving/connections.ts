/**
 * Connections that are served, each with an application of its own and the layers over it.
 * @module
 */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Cryptoki } from "../cryptoki/port.ts";
import { descriptorOf, receiveNow, sendNow, yieldNow } from "../host/connections.ts";
import { HostError } from "../host/errors.ts";
import type { Client } from "../layers/client.ts";
import type { Applications, Started } from "../modules/pool.ts";
import { ServedConnection, type Shortcut } from "../rpc/server.ts";

/** What every connection is served with. */
export interface Service {
  readonly applications: Applications;
  /** Puts the layers over the application of a client. */
  layered(application: Cryptoki, client: Client): Cryptoki;
  /** Told what went wrong that a client is told as a return value only. */
  report(fault: string, error: unknown): void;
}

/** A connection that broke, or is closed, is the stream's own to notice. */
function shortcutOf(socket: Socket): Shortcut {
  const unlessBroken = (work: () => number, otherwise: number): number => {
    try {
      return work();
    } catch (error) {
      if (error instanceof HostError) return otherwise;
      throw error;
    }
  };
  return {
    receive: (into) => unlessBroken(() => receiveNow(descriptorOf(socket), into), 0),
    send: (bytes) => unlessBroken(() => sendNow(descriptorOf(socket), bytes), -1),
    yield: yieldNow,
  };
}

/** How long calls under way get to be answered when the server ends, in ms. */
const GRACE_MS = 1500;

export class Connections {
  readonly #service: Service;
  readonly #open = new Set<ServedConnection>();
  readonly #serving = new Set<Promise<void>>();
  #isEnding = false;

  constructor(service: Service) {
    this.#service = service;
  }

  /** Serves a connection until it ends. Never throws. @param stream that nobody has read from */
  serve(stream: Duplex, client: Client): Promise<void> {
    const serving = this.#serve(stream, client).finally(() => this.#serving.delete(serving));
    this.#serving.add(serving);
    return serving;
  }

  async #serve(stream: Duplex, client: Client): Promise<void> {
    const { report, layered } = this.#service;
    const started = await this.#start();
    // What has closed meanwhile says so no more.
    if (!stream.destroyed) {
      const connection = new ServedConnection(stream, layered(started.cryptoki, client), {
        report,
        ...(stream instanceof Socket ? { shortcut: shortcutOf(stream) } : {}),
      });
      this.#open.add(connection);
      if (this.#isEnding) connection.finish();
      await connection.ended;
      this.#open.delete(connection);
    }
    await started.end().catch((error: unknown) => report("an application could not be ended", error));
  }

  /** An application; one that refuses everything where there is none, because a connection is not to be closed. */
  async #start(): Promise<Started> {
    try {
      return await this.#service.applications.start();
    } catch (error) {
      this.#service.report("a client gets nothing, because its module cannot be opened", error);
      return {
        cryptoki: {
          call(fn) {
            throw new CryptokiError(fn, "CKR_DEVICE_ERROR");
          },
        },
        end: async () => undefined,
      };
    }
  }

  /** Lets calls under way be answered, closes the connections, and lets go of what was started. */
  async finish(): Promise<void> {
    this.#isEnding = true;
    for (const connection of this.#open) connection.finish();
    const late = setTimeout(() => {
      for (const connection of this.#open) connection.cut();
    }, GRACE_MS);
    await Promise.all(this.#serving);
    clearTimeout(late);
    await this.#service.applications.close();
  }
}
