/**
 * Data for an operation: whole, or in pieces.
 * @module
 */
import { ArgumentError, described } from "../arguments.ts";

/** What is signed: whole, or in pieces. */
export type Data = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** The pieces of data, and whether there are the same once more. */
export class Pieces {
  readonly #data: Data;
  #isTaken = false;

  constructor(data: Data) {
    this.#data = data;
  }

  /** @throws ArgumentError for a piece that is no bytes */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    if (this.#data instanceof Uint8Array) {
      yield this.#data;
      return;
    }
    this.#isTaken = !Array.isArray(this.#data);
    for await (const piece of this.#data) {
      if (!(piece instanceof Uint8Array)) {
        throw new ArgumentError(`a piece of the data is ${described(piece)}, not bytes (Uint8Array)`);
      }
      yield piece;
    }
  }

  /** Why an operation over them is not repeated; undefined where it can be. */
  readonly whyNotAgain = (): string | undefined =>
    this.#isTaken ? "the data came in pieces, and those that were read are gone: give it again" : undefined;
}
