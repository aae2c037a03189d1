/**
 * Encryption in parts, over node:crypto.
 * @module
 */
import type { Cipher, Decipher } from "node:crypto";
import { concat } from "../../codec/bytes.ts";
import type { ReturnName } from "../../spec/returns.ts";
import type { CipherStream } from "../operations/state.ts";
import { orRefuse } from "../refusal.ts";

/** How many bytes have come out after so many went in. */
export type Progress = (input: number) => number;

const BLOCK = 16;
export const wholeBlocks: Progress = (input) => input - (input % BLOCK);
/** A padded decryption keeps the last block back: it may be padding. */
export const allButLastBlock: Progress = (input) => (input === 0 ? 0 : wholeBlocks(input - 1));
export const everyByte: Progress = (input) => input;

/** @param finalBound how much `final` adds at most · @param onError what a failing end means */
export function cipherStream(
  cipher: Cipher | Decipher,
  progress: Progress,
  finalBound: number,
  onError: ReturnName,
  suffix?: () => Uint8Array,
): CipherStream {
  let input = 0;
  return {
    updateLength: (length) => progress(input + length) - progress(input),
    update(data) {
      input += data.length;
      return cipher.update(data);
    },
    finalBound: () => finalBound,
    final() {
      const last = orRefuse(onError, "", () => cipher.final());
      return suffix === undefined ? last : concat(last, suffix());
    },
  };
}

/** For what must be seen whole: nothing comes out before the end. */
export function gathered(once: (data: Uint8Array) => Uint8Array, bound: (length: number) => number): CipherStream {
  const parts: Uint8Array[] = [];
  let input = 0;
  return {
    updateLength: () => 0,
    update(data) {
      parts.push(Uint8Array.from(data));
      input += data.length;
      return new Uint8Array(0);
    },
    finalBound: () => bound(input),
    final: () => once(concat(...parts)),
  };
}
