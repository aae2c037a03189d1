/**
 * What a server and its threads say to each other. A PIN is in an answer and nowhere else.
 * @module
 */
import type { Peer } from "../host/connections.ts";

/** To a thread. */
export type ToWorker =
  /** A connection, by the number of its descriptor. */
  | { readonly kind: "connection"; readonly fd: number; readonly client: Peer | undefined }
  /** The answer to a question. */
  | { readonly kind: "answer"; readonly id: number; readonly pin: Uint8Array }
  | { readonly kind: "answer"; readonly id: number; readonly fault: string }
  /** Let calls under way be answered, then end. */
  | { readonly kind: "finish" };

/** From a thread. */
export type FromWorker =
  | { readonly kind: "ended" }
  /** The PIN of an offer's tokens is wanted. */
  | { readonly kind: "pin"; readonly id: number; readonly place: number }
  /** Something went wrong that a client is told as a return value only. */
  | { readonly kind: "report"; readonly fault: string; readonly error: string; readonly hints: readonly string[] };
