/** The table: paired times, their medians, and how they stand to the goals. */

/** Times of two things that were measured in the same rounds, in ns. */
export interface Pairs {
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

export interface Row {
  readonly what: string;
  readonly ours: number;
  readonly theirs: number;
  /** What `theirs` is. */
  readonly against: string;
  readonly compared: string;
  readonly n: number;
  readonly goal: string;
}

/** Something that was measured and is no time beside another. */
export interface Figure {
  readonly what: string;
  readonly figure: string;
  readonly goal: string;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/**
 * The median of the rounds' ratios.
 * @param most what the ratio should be at most; no goal if absent
 */
export function ratioRow(what: string, against: string, pairs: Pairs, most?: number): Row {
  const ratio = median(pairs.ours.map((time, round) => time / pairs.theirs[round]!));
  return row(what, against, pairs, precise(ratio), most === undefined ? undefined : [`${most}`, ratio <= most]);
}

/** The median of the rounds' differences. @param most what the difference should be at most, in ms */
export function differenceRow(what: string, against: string, pairs: Pairs, most: number): Row {
  const difference = median(pairs.ours.map((time, round) => time - pairs.theirs[round]!)) / 1e6;
  const text = `${difference < 0 ? "" : "+"}${difference.toFixed(1)} ms`;
  return row(what, against, pairs, text, [`+${most} ms`, difference <= most]);
}

/** The median of the rounds' differences: what something adds to another. */
export function addedRow(what: string, against: string, pairs: Pairs): Row {
  const difference = median(pairs.ours.map((time, round) => time - pairs.theirs[round]!));
  return row(what, against, pairs, `${difference < 0 ? "" : "+"}${(difference / 1e3).toFixed(1)} µs`, undefined);
}

function row(
  what: string,
  against: string,
  { ours, theirs }: Pairs,
  compared: string,
  goal: readonly [most: string, isMet: boolean] | undefined,
): Row {
  return {
    what,
    against,
    compared,
    ours: median(ours),
    theirs: median(theirs),
    n: ours.length,
    goal: goal === undefined ? "" : `at most ${goal[0]}: ${goal[1] ? "met" : "NOT met"}`,
  };
}

function precise(ratio: number): string {
  return ratio >= 0.1 ? ratio.toFixed(2) : ratio.toPrecision(2);
}

function time(ns: number): string {
  if (ns < 1e6) return `${(ns / 1e3).toFixed(ns < 1e5 ? 2 : 0)} µs`;
  return ns < 1e9 ? `${(ns / 1e6).toFixed(1)} ms` : `${(ns / 1e9).toFixed(2)} s`;
}

/** The rows as a Markdown table that is aligned too. */
export function format(rows: readonly Row[]): string {
  const head = ["what", "ours", "against", "its time", "ratio", "n", "goal"];
  const lines = rows.map((r) => [r.what, time(r.ours), r.against, time(r.theirs), r.compared, String(r.n), r.goal]);
  return table(head, lines);
}

/** Figures, as another table. */
export function formatFigures(figures: readonly Figure[]): string {
  return table(
    ["what", "figure", "goal"],
    figures.map(({ what, figure, goal }) => [what, figure, goal]),
  );
}

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = head.map((name, i) =>
    Math.max(...[name, ...lines.map((line) => line[i]!)].map((cell) => cell.length)),
  );
  const print = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  return [print(head), print(widths.map((width) => "-".repeat(width))), ...lines.map(print)].join("\n");
}
