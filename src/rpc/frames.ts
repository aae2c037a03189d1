/**
 * Frames: `u32 code, u32 options length, u32 body length, options, body`. From p11-kit-rpc.md, 1.3.
 * @module
 */
import { CodecError } from "../codec/errors.ts";
import { MAX_BODY, MAX_OPTIONS } from "./limits.ts";

export interface Frame {
  /** Chosen by the client, echoed by the server; never 0. */
  readonly code: number;
  readonly options: Uint8Array;
  readonly body: Uint8Array;
}

const HEADER = 12;

export function encodeFrame({ code, options, body }: Frame): Uint8Array {
  const frame = new Uint8Array(HEADER + options.length + body.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, code);
  view.setUint32(4, options.length);
  view.setUint32(8, body.length);
  frame.set(options, HEADER);
  frame.set(body, HEADER + options.length);
  return frame;
}

/** A frame that is larger than is taken here: it is passed over. */
export interface Oversized {
  readonly code: number;
  /** `"a body of 4294967295 bytes; at most 16777216 are taken"` */
  readonly fault: string;
}

/** Puts frames together from what arrives, however it is cut. */
export class FrameReader {
  #held = new Uint8Array(0);
  /** How much of `held` is filled. */
  #filled = 0;
  /** How much of an oversized frame is still to be passed over. */
  #skip = 0;
  /** How much had arrived before the frame under way. */
  #before = 0;

  /** Whether a frame has begun and is not complete. */
  get isWithin(): boolean {
    return this.#filled > 0 || this.#skip > 0;
  }

  /**
   * Takes what arrived; answers the frames that are complete. Their parts are views of `arrived` where that has the
   * whole frame, so they are to be used, or copied, before its memory is used again.
   * @throws CodecError for a code of 0; nothing more can be read then
   */
  take(arrived: Uint8Array): (Frame | Oversized)[] {
    // Not as a Buffer, whose `slice` is no copy.
    const chunk = new Uint8Array(arrived.buffer, arrived.byteOffset, arrived.length);
    const frames: (Frame | Oversized)[] = [];
    let at = 0;
    while (at < chunk.length) {
      const left = chunk.length - at;
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, left);
        this.#skip -= skipped;
        at += skipped;
      } else if (this.#filled === 0 && left >= HEADER && left >= lengthOf(chunk, at)) {
        const length = lengthOf(chunk, at);
        const bytes = chunk.subarray(at, at + length);
        frames.push(this.#oversized(bytes) ?? frameOf(bytes));
        at += length;
        this.#before += length;
      } else {
        at += this.#hold(chunk.subarray(at));
        const frame = this.#complete();
        if (frame !== undefined) frames.push(frame);
      }
    }
    return frames;
  }

  /** Keeps what belongs to the frame under way, or to its header, which says how much that is; answers how much it was. */
  #hold(chunk: Uint8Array): number {
    const wanted = this.#filled < HEADER ? HEADER : lengthOf(this.#held, 0);
    const part = chunk.subarray(0, wanted - this.#filled);
    const size = this.#filled + part.length;
    if (size > this.#held.length) {
      // Room for what has come, never for what is only announced; what is outgrown is wiped, for it may hold a PIN.
      const old = this.#held;
      this.#held = new Uint8Array(Math.min(Math.max(wanted, 64), Math.max(size, old.length * 2, 64)));
      this.#held.set(old.subarray(0, this.#filled));
      old.fill(0);
    }
    this.#held.set(part, this.#filled);
    this.#filled = size;
    return part.length;
  }

  /** The frame under way, once it is complete, or once its header says that it is too large. */
  #complete(): Frame | Oversized | undefined {
    if (this.#filled < HEADER) return undefined;
    const length = lengthOf(this.#held, 0);
    const oversized = this.#oversized(this.#held);
    if (oversized !== undefined) this.#skip = length - this.#filled;
    else if (this.#filled < length) return undefined;
    const bytes = this.#held.subarray(0, this.#filled);
    this.#held = new Uint8Array(0);
    this.#filled = 0;
    this.#before += length;
    return oversized ?? frameOf(bytes);
  }

  #oversized(header: Uint8Array): Oversized | undefined {
    const view = new DataView(header.buffer, header.byteOffset, HEADER);
    const [code, options, body] = [view.getUint32(0), view.getUint32(4), view.getUint32(8)];
    if (code === 0) throw new CodecError("frame/code", this.#before, "it is 0");
    if (options > MAX_OPTIONS) return { code, fault: `options of ${options} bytes; at most ${MAX_OPTIONS} are taken` };
    return body > MAX_BODY ? { code, fault: `a body of ${body} bytes; at most ${MAX_BODY} are taken` } : undefined;
  }
}

/** The length of the frame whose header starts there, header included. */
function lengthOf(bytes: Uint8Array, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER);
  return HEADER + view.getUint32(4) + view.getUint32(8);
}

function frameOf(bytes: Uint8Array): Frame {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER);
  const body = HEADER + view.getUint32(4);
  return { code: view.getUint32(0), options: bytes.subarray(HEADER, body), body: bytes.subarray(body) };
}
