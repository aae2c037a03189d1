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

/** Puts frames together from what arrives, however it is cut. */
export class FrameReader {
  #held = new Uint8Array(0);
  /** How much of `held` is filled. */
  #filled = 0;
  /** How much of what arrived before the frame under way, for error messages. */
  #before = 0;

  /** Whether a frame has begun and is not complete. */
  get isWithin(): boolean {
    return this.#filled > 0;
  }

  /** How many bytes the frame under way still needs, as far as is known; 0 between frames. */
  get missing(): number {
    return this.#filled === 0 ? 0 : this.#wanted() - this.#filled;
  }

  /**
   * Takes what arrived; answers the frames that are complete. Their parts are views of `chunk` where one chunk has the
   * whole frame, so they are to be used, or copied, before the chunk's memory is used again.
   * @throws CodecError for a code of 0, or a frame larger than is allowed; nothing more can be read then
   */
  take(chunk: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#filled === 0) {
        const length = chunk.length - at < HEADER ? undefined : this.#length(chunk, at);
        if (length !== undefined && chunk.length - at >= length) {
          frames.push(frameOf(chunk.subarray(at, at + length)));
          at += length;
          this.#before += length;
          continue;
        }
      }
      at += this.#hold(chunk.subarray(at));
      if (this.#filled >= HEADER && this.#filled === this.#wanted()) {
        frames.push(frameOf(this.#held.subarray(0, this.#filled)));
        this.#before += this.#filled;
        this.#held = new Uint8Array(0);
        this.#filled = 0;
      }
    }
    return frames;
  }

  /** Keeps what belongs to the frame under way; answers how much that was. */
  #hold(chunk: Uint8Array): number {
    let taken = 0;
    // The header first: it says how much belongs to the frame.
    while (taken < chunk.length && this.#filled < this.#wanted()) {
      const wanted = this.#wanted();
      const part = chunk.subarray(taken, taken + wanted - this.#filled);
      this.#grow(this.#filled + part.length, wanted);
      this.#held.set(part, this.#filled);
      this.#filled += part.length;
      taken += part.length;
    }
    return taken;
  }

  #wanted(): number {
    return this.#filled < HEADER ? HEADER : this.#length(this.#held, 0);
  }

  /** Room for what has come, never for what is only announced; what is outgrown is wiped, for it may hold a PIN. */
  #grow(size: number, wanted: number): void {
    if (size <= this.#held.length) return;
    const old = this.#held;
    this.#held = new Uint8Array(Math.min(wanted, Math.max(size, old.length * 2, 256)));
    this.#held.set(old.subarray(0, this.#filled));
    old.fill(0);
  }

  /** The length of the frame that starts there, header included. */
  #length(bytes: Uint8Array, at: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, HEADER);
    const [code, options, body] = [view.getUint32(0), view.getUint32(4), view.getUint32(8)];
    if (code === 0) throw new CodecError("frame/code", this.#before, "it is 0");
    if (options > MAX_OPTIONS) {
      throw new CodecError("frame/options", this.#before + 4, `${options} bytes; at most ${MAX_OPTIONS} are taken`);
    }
    if (body > MAX_BODY) {
      throw new CodecError("frame/body", this.#before + 8, `${body} bytes; at most ${MAX_BODY} are taken`);
    }
    return HEADER + options + body;
  }
}

function frameOf(bytes: Uint8Array): Frame {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER);
  const body = HEADER + view.getUint32(4);
  return { code: view.getUint32(0), options: bytes.subarray(HEADER, body), body: bytes.subarray(body) };
}
