/**
 * `keywright/serving`: a module of one's own for other programs, and what they call, shown.
 * @module
 */
export type { Client } from "../layers/client.ts";
export { callText } from "../layers/trace/text.ts";
export { type TracedCall, type TraceOptions, traceCalls } from "../layers/trace/trace.ts";
export { type ServedModule, type ServeModuleOptions, serveModule } from "../serving/module.ts";
