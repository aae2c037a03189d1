/**
 * MACs as signatures: whole or cut short, in one part or several.
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import type { SignWork, VerifyWork } from "../operations/state.ts";
import { refuse } from "../refusal.ts";

/** A MAC under way. */
export interface MacState {
  update(data: Uint8Array): void;
  final(): Uint8Array;
  free?(): void;
}

function run(start: () => MacState, data: Uint8Array): Uint8Array {
  const state = start();
  try {
    state.update(data);
    return state.final();
  } finally {
    state.free?.();
  }
}

/** @param length how many bytes of the MAC are taken */
export function signMac(length: number, start: () => MacState): SignWork {
  return {
    length,
    once: (data) => run(start, data).subarray(0, length),
    start() {
      const state = start();
      return {
        update: (data) => state.update(data),
        final: () => state.final().subarray(0, length),
        free: () => state.free?.(),
      };
    },
  };
}

export function verifyMac(length: number, start: () => MacState): VerifyWork {
  const compare = (mac: Uint8Array, signature: Uint8Array) => {
    if (signature.length !== length) refuse("CKR_SIGNATURE_LEN_RANGE", `${length} bytes expected`);
    if (!timingSafeEqual(mac.subarray(0, length), signature)) refuse("CKR_SIGNATURE_INVALID");
  };
  return {
    once: (data, signature) => compare(run(start, data), signature),
    start() {
      const state = start();
      return {
        update: (data) => state.update(data),
        final: (signature) => compare(state.final(), signature),
        free: () => state.free?.(),
      };
    },
  };
}
