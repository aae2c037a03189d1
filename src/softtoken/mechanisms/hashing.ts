/**
 * Signatures over a digest: the one way from a mechanism that signs digests to one that hashes first.
 * @module
 */
import { createHash, hash as hashOnce } from "node:crypto";
import type { SignWork, VerifyWork } from "../operations/state.ts";

/** Signs data of any length. */
export function signHashed(hash: string, length: number, sign: (digest: Uint8Array) => Uint8Array): SignWork {
  return {
    length,
    once: (data) => sign(hashOnce(hash, data, "buffer")),
    start() {
      const state = createHash(hash);
      return { update: (data) => void state.update(data), final: () => sign(state.digest()) };
    },
  };
}

/** Verifies over data of any length. */
export function verifyHashed(hash: string, verify: (digest: Uint8Array, signature: Uint8Array) => void): VerifyWork {
  return {
    once: (data, signature) => verify(hashOnce(hash, data, "buffer"), signature),
    start() {
      const state = createHash(hash);
      return { update: (data) => void state.update(data), final: (signature) => verify(state.digest(), signature) };
    },
  };
}
