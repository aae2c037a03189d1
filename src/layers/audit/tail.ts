/**
 * Where a log goes on: its last whole line, whatever a crash left behind that.
 * @module
 */
import { createHash, randomUUID } from "node:crypto";
import { closeSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { decodeLine, hashOf, NOTHING_BEFORE, type StartLine } from "./lines.ts";

/** No line is longer; in bytes. */
export const LONGEST_LINE: number = 64 * 1024;
const TAIL = 4 * LONGEST_LINE;

/** The end of a log's file. */
export interface Tail {
  /** Undefined where there is no whole line of a log. */
  readonly last: { readonly n: number; readonly hash: string } | undefined;
  /** How many bytes of the file are whole lines. */
  readonly whole: number;
  /** What stands after them: part of a line. */
  readonly torn: StartLine["torn"];
  /** Whether the last whole line is none of a log. */
  readonly isDamaged: boolean;
  /** Of the file's first line: which log, and which line. */
  readonly first: { readonly log: string; readonly n: number } | undefined;
}

export function readTail(fd: number): Tail {
  const { size } = fstatSync(fd);
  const from = Math.max(0, size - TAIL);
  const tail = Buffer.alloc(size - from);
  readSync(fd, tail, 0, tail.length, from);
  const whole = tail.lastIndexOf(0x0a) + 1;
  const rest = tail.subarray(whole);
  const torn =
    rest.length === 0 ? undefined : { bytes: rest.length, sha256: createHash("sha256").update(rest).digest("hex") };
  const lines = tail.toString("latin1", 0, whole).split("\n").slice(0, -1);
  // What is no line of ours, nor any after the last that is, is damage.
  const index = lines.findLastIndex((line) => decodeLine(line) !== undefined);
  const text = lines[index];
  return {
    last: text === undefined ? undefined : { n: decodeLine(text)!.n, hash: hashOf(text) },
    whole: from + whole,
    torn,
    isDamaged: index < lines.length - 1,
    first: firstLine(fd),
  };
}

function firstLine(fd: number): Tail["first"] {
  const head = Buffer.alloc(LONGEST_LINE);
  const text = head.toString("latin1", 0, readSync(fd, head, 0, head.length, 0));
  const first = decodeLine(text.split("\n", 1)[0]!);
  return first?.type === "start" ? { log: first.log, n: first.n } : undefined;
}

/** The name of a file that was put aside: `audit-000000000001.jsonl` begins with line 1. */
export function rotatedName(path: string, first: number): string {
  const { stem, extension } = parts(path);
  return join(dirname(path), `${stem}-${String(first).padStart(12, "0")}${extension}`);
}

/** The last of a log's files that were put aside; undefined where there is none. */
export function newestRotated(path: string): string | undefined {
  const { stem, extension } = parts(path);
  const names = readdirSync(dirname(path)).filter(
    (name) =>
      name.startsWith(`${stem}-`) &&
      name.endsWith(extension) &&
      /^\d{12}$/.test(name.slice(stem.length + 1, name.length - extension.length)),
  );
  const newest = names.sort().at(-1);
  return newest === undefined ? undefined : join(dirname(path), newest);
}

export function damagedName(path: string, now: Date): string {
  const { stem, extension } = parts(path);
  return join(dirname(path), `${stem}-damaged-${now.toISOString().replaceAll(":", "")}${extension}`);
}

function parts(path: string): { stem: string; extension: string } {
  const extension = extname(path);
  return { stem: basename(path, extension), extension };
}

/** Where the next line stands in the chain. */
export interface Position {
  readonly log: string;
  readonly n: number;
  readonly prev: string;
  /** The file of the line before, where that is another. */
  readonly after?: string;
}

/** Goes on after this tail; where it has no line, after the last file that was put aside; else a log begins. */
export function positionAfter(path: string, tail: Tail): Position {
  if (tail.last !== undefined) {
    return { log: tail.first?.log ?? randomUUID(), n: tail.last.n + 1, prev: tail.last.hash };
  }
  const rotated = newestRotated(path);
  if (rotated === undefined) return { log: randomUUID(), n: 1, prev: NOTHING_BEFORE };
  const fd = openSync(rotated, "r");
  try {
    const { last, first } = readTail(fd);
    const after = basename(rotated);
    if (last === undefined) return { log: randomUUID(), n: 1, prev: NOTHING_BEFORE, after };
    return { log: first?.log ?? randomUUID(), n: last.n + 1, prev: last.hash, after };
  } finally {
    closeSync(fd);
  }
}
