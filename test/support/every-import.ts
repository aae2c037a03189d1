// Read by architecture.test.ts, never run: one import of every kind.
// @ts-nocheck
import { a } from "./a.ts";
import type { B } from "./b.ts";

export { c } from "./c.ts";
export * from "./d.ts";
export const e = () => import("./e.ts");
export type F = import("./f.ts").F;
