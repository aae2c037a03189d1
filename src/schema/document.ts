/**
 * Reading a file that people write, in YAML or JSON: every fault with its line and path.
 * @module
 */
import { isMap, LineCounter, type Node } from "yaml";
import { Cursor, type Fault, type Field, type Source } from "./fields.ts";
import { parseText } from "./yaml.ts";

/** A larger file is none that a person wrote. In bytes. */
export const MOST_BYTES = 4 * 1024 * 1024;

/** What was read, and the places of its parts. */
export interface ReadDocument<T> {
  readonly value: T;
  /** A fault of the part with this path, or of the nearest part around it that is there. */
  faultAt(path: readonly string[], message: string, hint?: string): Fault;
}

/**
 * Reads one document.
 * @param text YAML 1.2, or JSON, which is YAML too
 * @param place the file's path, and what it is, for messages: `a declaration`
 */
export function readDocument<T>(
  text: string,
  { file, what }: { readonly file: string; readonly what: string },
  field: Field<T>,
): ReadDocument<T> | { readonly faults: readonly Fault[] } {
  const nowhere = { file, line: 0, column: 0, path: "" };
  if (Buffer.byteLength(text) > MOST_BYTES) {
    return { faults: [{ ...nowhere, message: `it has more than ${MOST_BYTES} bytes` }] };
  }
  const lines = new LineCounter();
  const parsed = parseText(text, what, lines);
  if ("faults" in parsed) {
    const faults = parsed.faults.map(({ offset, message }) => {
      const { line, col } = lines.linePos(offset);
      return { file, line, column: col, path: "", message };
    });
    return { faults };
  }
  const source: Source = { file, what, document: parsed.document, lines, faults: [], visited: 0 };
  let value: T | undefined;
  try {
    value = field.read(new Cursor(source, source.document.contents, ""));
  } catch (error) {
    if (error instanceof RangeError) return { faults: [{ ...nowhere, message: error.message }] };
    throw error;
  }
  if (value === undefined || source.faults.length > 0) return { faults: source.faults };
  return {
    value,
    faultAt(path, message, hint) {
      const at = { ...source, faults: [] };
      cursorAt(at, path).fail(message, hint);
      return at.faults[0]!;
    },
  };
}

/** The place of a path in the document, or of the nearest part that is there. */
function cursorAt(source: Source, path: readonly string[]): Cursor {
  let node: unknown = source.document.contents;
  let at: unknown = node;
  for (const name of path) {
    const next: unknown = isMap(node)
      ? node.items.find((pair) => String(pair.key) === name)?.value
      : (node as { items?: unknown[] } | null)?.items?.[Number(name)];
    if (next === undefined || next === null) break;
    node = next;
    at = next;
  }
  return new Cursor(source, at as Node, path.join("."));
}

/** More lines are not read: they stand above the error by then. */
const MOST_LINES = 20;

/** What an error says of faults: of one itself, of several how many, with each as a hint. */
export function describeFaults(file: string, faults: readonly Fault[]): { message: string; hints: readonly string[] } {
  const lines = faults.map((fault) => formatFault(fault));
  const first = lines[0]!;
  if (faults.length === 1) return { message: first.text, hints: first.hints };
  return { message: `${file} has ${faults.length} faults`, hints: told(lines) };
}

function told(faults: readonly { text: string; hints: string[] }[]): string[] {
  const lines: string[] = [];
  for (const [i, { text, hints }] of faults.entries()) {
    if (lines.length >= MOST_LINES) return [...lines, `and ${faults.length - i} more`];
    lines.push(text, ...hints.map((hint) => `  ${hint}`));
  }
  return lines;
}

function formatFault({ file, line, column, path, message, hint }: Fault): { text: string; hints: string[] } {
  const place = line === 0 ? file : `${file}:${line}:${column}`;
  return { text: `${place}: ${path === "" ? "" : `${path}: `}${message}`, hints: hint === undefined ? [] : [hint] };
}
