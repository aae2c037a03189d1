/**
 * Requests out, answers back by their codes: several calls may be under way on one connection.
 * @module
 */
import type { Duplex } from "node:stream";
import { encodeFrame, type Frame, FrameReader, type Oversized } from "../frames.ts";

/** The code of a connection's first call, as p11-kit's client has it. */
const FIRST_CODE = 0x10;
const LAST_CODE = 0xffff_ffff;

/** What came back for a request. */
export type Answer = Pick<Frame, "options" | "body">;

interface Waiting {
  resolve(answer: Answer): void;
  reject(error: PeerError): void;
}

/** A peer that cannot be talked to: nobody there, or one that does not speak the protocol. */
export class PeerError extends Error {
  override readonly name = "PeerError";
}

/** One connection, after its version was settled. */
export class Channel {
  readonly #stream: Duplex;
  readonly #frames = new FrameReader();
  readonly #waiting = new Map<number, Waiting>();
  #code = FIRST_CODE;
  #gone: string | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on("data", (chunk: Uint8Array) => this.#take(chunk));
    stream.once("close", () => this.#over("the connection to the peer ended"));
    stream.on("error", (error) => this.#over(`the connection to the peer failed: ${error.message}`));
  }

  /** Why nothing can be sent any more; undefined as long as it can. */
  get gone(): string | undefined {
    return this.#gone;
  }

  /** Ends the connection. @param reason what requests under way are failed with */
  close(reason: string): void {
    this.#over(reason);
    this.#stream.destroy();
  }

  /** Sends a request, and wipes it: a PIN may be in it. @throws PeerError when the connection is, or goes, over */
  send(body: Uint8Array, options: Uint8Array): Promise<Answer> {
    if (this.#gone !== undefined) return Promise.reject(new PeerError(this.#gone));
    const code = this.#code;
    this.#code = code === LAST_CODE ? FIRST_CODE : code + 1;
    const frame = encodeFrame({ code, options, body });
    body.fill(0);
    return new Promise((resolve, reject) => {
      this.#waiting.set(code, { resolve, reject });
      this.#stream.write(frame, () => frame.fill(0));
    });
  }

  #take(chunk: Uint8Array): void {
    let frames: (Frame | Oversized)[];
    try {
      frames = this.#frames.take(chunk);
    } catch (error) {
      this.close(`what the peer sent is no frame: ${(error as Error).message}`);
      return;
    }
    for (const frame of frames) {
      const waiting = this.#waiting.get(frame.code);
      this.#waiting.delete(frame.code);
      if ("fault" in frame) waiting?.reject(new PeerError(`the peer's answer has ${frame.fault}`));
      else waiting?.resolve(frame);
    }
  }

  #over(reason: string): void {
    if (this.#gone !== undefined) return;
    this.#gone = reason;
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of all) reject(new PeerError(reason));
  }
}
