/**
 * The lines of an audit log: one JSON object each, chained. `n` counts the lines of the whole log, `prev` is the SHA-256 of
 * the line before, without its end; of the first line of a log it is zeroes.
 * @module
 */
import { createHash } from "node:crypto";
import type { Client } from "../client.ts";
import type { KeyName } from "../facts.ts";
import type { Refusal } from "../refusals.ts";

export const AUDIT_FORMAT = "keywright/audit/1";

/** What the first line of a log follows. */
export const NOTHING_BEFORE: string = "0".repeat(64);

/** A key of an entry. */
export interface UsedKey extends Partial<KeyName> {
  /** What was done with it: an operation, or `made`. */
  readonly as: string;
  /** Where nothing else is known of it. */
  readonly handle?: string;
}

/** More of a label than this is nobody's name for a key, and would make a line too long. */
const MOST_CHARACTERS = 500;

export function usedKey(as: string, { uri, label, id, class: objectClass }: KeyName): UsedKey {
  const cut = (text: string) => (text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}\u2026` : text);
  return { as, uri: cut(uri), label: cut(label), id: cut(id), class: objectClass };
}

/** A use of a key. */
export interface UseEntry {
  readonly type: "use";
  readonly client: Client;
  readonly function: string;
  readonly keys: readonly UsedKey[];
  readonly mechanism?: string;
  /** Who logged in, or whose PIN was set. */
  readonly user?: string;
  /** Of an operation in parts: the first call with data, and the one that ended it; `next` within a message. */
  readonly part?: "first" | "next" | "last";
  /** How many bytes of data, never which. */
  readonly bytes?: number;
  /** Such as `CKR_OK`. */
  readonly result: string;
  readonly ms: number;
}

/** A use that a layer refused. */
export interface RefusalEntry {
  readonly type: "refusal";
  readonly client: Client;
  readonly function: string;
  readonly keys: readonly UsedKey[];
  readonly mechanism?: string;
  readonly result: string;
  readonly by: string;
  readonly reason: string;
}

export type AuditEntry = UseEntry | RefusalEntry;

/** A refusal, as the log has it. */
export function refusalEntry(refusal: Refusal): RefusalEntry {
  const { client, function: fn, rv, by, reason, operation, key, mechanism } = refusal;
  return {
    type: "refusal",
    client,
    function: fn,
    keys: key === undefined ? [] : [usedKey(operation ?? "read", key)],
    ...(mechanism === undefined ? {} : { mechanism }),
    result: rv,
    by,
    reason,
  };
}

/** What every line begins with. */
export interface Link {
  readonly n: number;
  readonly prev: string;
  readonly time: string;
}

/** Begins a file, and is written whenever a log is opened. */
export interface StartLine {
  readonly type: "start";
  readonly format: typeof AUDIT_FORMAT;
  /** Which log it is, so that the checkpoints of another do not count. */
  readonly log: string;
  readonly pid: number;
  /** The file that the line before is in, where that is another. */
  readonly after?: string;
  /** What was cut off after a crash: the beginning of a line that was never whole. */
  readonly torn?: { readonly bytes: number; readonly sha256: string };
  /** A file that was put aside, because it did not end with lines of a log. */
  readonly damaged?: string;
}

/** Says that everything before it is as it was: signed, or told to a witness outside. */
export interface CheckpointLine {
  readonly type: "checkpoint";
  readonly log: string;
  /** The signing key's URI. */
  readonly key?: string;
  readonly digest?: string;
  readonly pss?: boolean;
  /** Base64, over the same line without it. */
  readonly signature?: string;
  /** Why it is not signed. */
  readonly failed?: string;
}

export type Line = Link & (AuditEntry | StartLine | CheckpointLine);

/** The one form of a line, without its end: ASCII, so that no terminal obeys what a client or token wrote. */
export function encodeLine(line: object): string {
  return JSON.stringify(line).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A line that was read; undefined for what is none. */
export function decodeLine(text: string): Line | undefined {
  let line: Partial<Line> | null;
  try {
    line = JSON.parse(text) as Partial<Line> | null;
  } catch {
    return undefined;
  }
  if (typeof line !== "object" || line === null || !Number.isSafeInteger(line.n)) return undefined;
  if (typeof line.prev !== "string" || typeof line.time !== "string" || typeof line.type !== "string") return undefined;
  return encodeLine(line) === text ? (line as Line) : undefined;
}

/** What the next line has as `prev`. */
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** What the signature of a checkpoint is over. */
export function signedText(line: Link & CheckpointLine): string {
  const { signature: _signature, ...rest } = line;
  return encodeLine(rest);
}
