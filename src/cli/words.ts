/**
 * Small matters of wording.
 * @module
 */
import { visible } from "../layers/words.ts";

export { visible };

/** `exitCode` is `--exit-code` on the command line. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `1 key`, `2 keys`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** Those of a fingerprint that are shown: more than anybody needs, and fewer than 64. */
export function firstDigits(fingerprint: string): string {
  return fingerprint.slice(0, 16);
}

/** Lines of ours: their ends, tabs and marks stay, whatever else a terminal would obey is shown. */
export function visibleLines(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the marks of Style
  return text.replace(/\u001b\[\d{1,2}m|[^\n\t]/gu, (part) => (part.length > 1 ? part : visible(part)));
}

/** A text cut where it is longer than a column of a terminal should be. */
export function shortened(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** A table of columns as wide as their widest cell; two blanks between them, none at the end of a line. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
