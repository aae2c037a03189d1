/**
 * How the summary of a trace is shown.
 * @module
 */
import type { FunctionSummary } from "../../layers/trace/summary.ts";
import { table } from "../words.ts";

/** A row for each function, the longest first. */
export function summaryText(functions: readonly FunctionSummary[]): string {
  if (functions.length === 0) return "no PKCS#11 call was made";
  return table([
    ["FUNCTION", "CALLS", "TOTAL MS", "SLOWEST MS", "ERRORS"],
    ...functions.map(({ function: name, calls, totalMs, slowestMs, errors }) => [
      name,
      String(calls),
      totalMs.toFixed(3),
      slowestMs.toFixed(3),
      Object.entries(errors)
        .map(([rv, count]) => `${rv} ${count}`)
        .join(", "),
    ]),
  ]);
}
