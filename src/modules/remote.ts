/**
 * A module at the other end of a connection that speaks p11-kit's protocol.
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { CryptokiError, failedWith } from "../cryptoki/errors.ts";
import type { Args, FunctionName, Provider } from "../cryptoki/port.ts";
import { ModuleError } from "../native/module/errors.ts";
import { PeerError } from "../rpc/client/channel.ts";
import type { ClientConnection } from "../rpc/client/client.ts";
import { connectTo } from "../rpc/client/connect.ts";
import { CALL_FLAGS } from "../spec/flags.ts";
import { parsePeer } from "./address.ts";
import type { ModuleReference } from "./index.ts";
import { type Link, RevivedApplication, waitsForOthers } from "./revived.ts";
import { connectPeer, type PeerStream } from "./streams.ts";

/** How long connecting may take, and a call, where the reference does not say, in ms: a person may have to type a password. */
const DEFAULT_TIMEOUT_MS = 120_000;

/** How often a peer is asked for slot events: a call that waits there would hold up all others of the connection. */
const EVENT_MS = 250;

/** What to do about a peer that is gone. */
const HINTS = ["its sessions are lost: open a session again, which connects anew"];

/** @throws ModuleError for an address that is not understood */
export function remoteModule(reference: ModuleReference): Provider {
  const { module, environment = {}, timeoutMs = DEFAULT_TIMEOUT_MS } = reference;
  const peer = parsePeer(module);
  const applications = new Set<RevivedApplication>();
  const links = new Set<RemoteLink>();

  async function link(): Promise<Link> {
    let held: PeerStream | undefined;
    const late = setTimeout(
      () => held?.stream.destroy(new Error(`the peer did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    try {
      const connection = await connectTo(async () => {
        held = await connectPeer(module, peer, environment);
        return held.stream;
      });
      const made = new RemoteLink(connection, held!, timeoutMs);
      links.add(made);
      return made;
    } catch (error) {
      if (error instanceof PeerError) throw new ModuleError(module, error.message, { cause: error });
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  return {
    async open() {
      const application = new RevivedApplication(await link(), link, HINTS);
      applications.add(application);
      return application;
    },
    async close() {
      await Promise.all([...applications].map((application) => application.close()));
      applications.clear();
      for (const made of links) made.close();
      links.clear();
    },
  };
}

/** A connection; this process stays alive for it while a call is under way, and only then. */
class RemoteLink implements Link {
  readonly #connection: ClientConnection;
  readonly #stream: PeerStream;
  readonly #timeoutMs: number;
  #underWay = 0;

  constructor(connection: ClientConnection, stream: PeerStream, timeoutMs: number) {
    this.#connection = connection;
    this.#stream = stream;
    this.#timeoutMs = timeoutMs;
    stream.hold(false);
  }

  get gone(): string | undefined {
    return this.#connection.gone;
  }

  get guardsPins(): boolean {
    return this.#connection.isKeywright;
  }

  close(): void {
    this.#connection.close();
  }

  async call(fn: FunctionName, args: unknown): Promise<unknown> {
    if (fn === "C_WaitForSlotEvent") return this.#event(args as Args<"C_WaitForSlotEvent">);
    const reply = await this.#call(fn, args);
    // Servers do not take another C_Initialize on a connection; the next one gets a connection of its own.
    if (fn === "C_Finalize") this.#connection.close("it was finalised");
    return reply;
  }

  async #event(args: Args<"C_WaitForSlotEvent">): Promise<unknown> {
    const dontBlock = CALL_FLAGS.CKF_DONT_BLOCK[0];
    const blocks = (Number(args.flags) & dontBlock) === 0;
    for (;;) {
      try {
        return await this.#call("C_WaitForSlotEvent", { flags: dontBlock });
      } catch (error) {
        if (this.gone === "it was finalised")
          throw new CryptokiError("C_WaitForSlotEvent", "CKR_CRYPTOKI_NOT_INITIALIZED");
        if (!blocks || !failedWith(error, "CKR_NO_EVENT")) throw error;
      }
      await delay(EVENT_MS);
    }
  }

  async #call(fn: FunctionName, args: unknown): Promise<unknown> {
    this.#underWay += 1;
    this.#stream.hold(true);
    const limit = this.#timeoutMs;
    const timer = waitsForOthers(fn, args)
      ? undefined
      : setTimeout(() => this.#connection.close(`the peer did not answer ${fn} within ${limit} ms`), limit);
    try {
      return await this.#connection.call(fn, args as Args<FunctionName>);
    } finally {
      clearTimeout(timer);
      this.#underWay -= 1;
      if (this.#underWay === 0) this.#stream.hold(false);
    }
  }
}
