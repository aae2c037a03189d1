/**
 * What a server and its threads say to each other. A PIN is in an answer and nowhere else.
 * @module
 */
import type { Client } from "../layers/client.ts";
import type { TracedCall } from "../layers/trace/trace.ts";
import type { Questions } from "./service.ts";

/** To a thread. */
export type ToWorker =
  /** A connection, by the number of its descriptor. */
  | { readonly kind: "connection"; readonly fd: number; readonly client: Client }
  /** The answer to a question. */
  | { readonly kind: "answer"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly fault: string }
  /** Let calls under way be answered, then end. */
  | { readonly kind: "finish" };

/** From a thread. */
export type FromWorker =
  /** It serves, or cannot. */
  | { readonly kind: "ready" }
  /** The descriptor of a connection is its own now. */
  | { readonly kind: "taken"; readonly fd: number }
  | { readonly kind: "ended" }
  | { readonly kind: "question"; readonly id: number; readonly what: keyof Questions; readonly of: readonly unknown[] }
  /** Something went wrong that a client is told as a return value only. */
  | { readonly kind: "report"; readonly fault: string; readonly error: string; readonly hints: readonly string[] }
  | { readonly kind: "trace"; readonly call: TracedCall };
