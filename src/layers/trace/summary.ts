/**
 * What a trace comes to: how often each function was called, how long that took, and what failed.
 * @module
 */
import type { TracedCall } from "./trace.ts";

/** A function's row of the summary. */
export interface FunctionSummary {
  readonly function: string;
  readonly calls: number;
  /** Of all calls together. */
  readonly totalMs: number;
  readonly slowestMs: number;
  /** How often each return value other than CKR_OK came. */
  readonly errors: Readonly<Record<string, number>>;
}

export class TraceSummary {
  readonly #rows = new Map<
    string,
    { calls: number; totalMs: number; slowestMs: number; errors: Map<string, number> }
  >();

  readonly add = ({ function: fn, result, ms }: TracedCall): void => {
    let row = this.#rows.get(fn);
    if (row === undefined) {
      row = { calls: 0, totalMs: 0, slowestMs: 0, errors: new Map() };
      this.#rows.set(fn, row);
    }
    row.calls += 1;
    row.totalMs += ms;
    row.slowestMs = Math.max(row.slowestMs, ms);
    if (result !== "CKR_OK") row.errors.set(result, (row.errors.get(result) ?? 0) + 1);
  };

  /** What took longest first. */
  rows(): readonly FunctionSummary[] {
    return [...this.#rows]
      .map(([fn, { calls, totalMs, slowestMs, errors }]) => ({
        function: fn,
        calls,
        totalMs: Math.round(totalMs * 1000) / 1000,
        slowestMs,
        errors: Object.fromEntries(errors),
      }))
      .sort((a, b) => b.totalMs - a.totalMs);
  }
}
