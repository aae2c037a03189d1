/**
 * What an audit log proves. A chain alone proves nothing against those who can write the file: they can make another.
 * What a checkpoint vouches for, by a signature or by a witness, is as it was when the checkpoint was made.
 * @module
 */
import { AUDIT_FORMAT, type CheckpointLine, decodeLine, hashOf, type Line, type Link, signedText } from "./lines.ts";
import type { Witnessed } from "./log.ts";

export interface LogFile {
  readonly name: string;
  readonly text: string;
}

export interface VerifyOptions {
  /** Whether a signature was made with a key that is trusted; absent where there is none. */
  readonly holds?: (data: Uint8Array, signature: Uint8Array, how: Pick<CheckpointLine, "digest" | "pss">) => boolean;
  /** What a witness was told. */
  readonly witnessed?: readonly Pick<Witnessed, "n" | "hash">[];
}

/** Something that is not as it was written. */
export interface LogFault {
  readonly file: string;
  /** The line of the file, counted from 1. */
  readonly line: number;
  readonly message: string;
}

/** Something that is as it was written, and that one should know. */
export interface LogNote extends LogFault {}

export interface VerifiedLog {
  readonly log: string | undefined;
  /** The numbers of the first and last line. */
  readonly first: number;
  readonly last: number;
  readonly faults: readonly LogFault[];
  readonly notes: readonly LogNote[];
  readonly checkpoints: number;
  /** What is proven to be as it was written: these lines, and when that was vouched for. */
  readonly proven: readonly { readonly first: number; readonly last: number; readonly by: string }[];
}

interface Walk {
  log: string | undefined;
  first: number;
  last: number;
  hash: string | undefined;
  /** The first line that what comes is chained to without a break. */
  unbroken: number;
  checkpoints: number;
  readonly faults: LogFault[];
  readonly notes: LogNote[];
  readonly proven: { first: number; last: number; by: string }[];
}

/** Verifies the files of a log, oldest first. */
export function verifyLog(files: readonly LogFile[], options: VerifyOptions = {}): VerifiedLog {
  const walk: Walk = {
    log: undefined,
    first: 0,
    last: 0,
    hash: undefined,
    unbroken: 0,
    checkpoints: 0,
    faults: [],
    notes: [],
    proven: [],
  };
  const unseen = new Map(options.witnessed?.map((one) => [one.n, one.hash]));
  let lastName = "";
  for (const { name, text } of files) {
    lastName = name;
    const lines = text.split("\n");
    const rest = lines.pop();
    for (const [i, line] of lines.entries()) {
      const fail = (message: string) => void walk.faults.push({ file: name, line: i + 1, message });
      const note = (message: string) => void walk.notes.push({ file: name, line: i + 1, message });
      step(walk, line, fail, note, options, unseen);
    }
    if (rest !== "") {
      const message = "the file ends within a line: a crash, or a cut; the next start of the log says which";
      walk.faults.push({ file: name, line: lines.length + 1, message });
    }
  }
  for (const n of unseen.keys()) {
    const message = `line ${n}, which a witness was told of, is not there: the log was cut off, or its file was not given`;
    walk.faults.push({ file: lastName, line: 0, message });
  }
  const { log, first, last, faults, notes, checkpoints, proven } = walk;
  return { log, first, last, faults, notes, checkpoints, proven: joined(proven) };
}

function step(
  walk: Walk,
  text: string,
  fail: (message: string) => void,
  note: (message: string) => void,
  options: VerifyOptions,
  unseen: Map<number, string>,
): void {
  const line = decodeLine(text);
  if (line === undefined) {
    fail("this is no line of an audit log");
    // What comes is chained to it, and says by its prev whether it was always so; what it says cannot be read.
    walk.hash = hashOf(text);
    return;
  }
  if (walk.hash === undefined) {
    walk.first = line.n;
    walk.unbroken = line.n;
    if (line.n > 1) note(`lines before ${line.n} are in files that were not given`);
  } else if (line.prev !== walk.hash || line.n !== walk.last + 1) {
    fail(`line ${line.n} does not follow the line before it (${walk.last}): one was changed, taken out or put in`);
    walk.unbroken = line.n;
  }
  walk.hash = hashOf(text);
  walk.last = line.n;
  if (line.type === "start") start(walk, line, fail, note);
  if (line.type === "checkpoint") checkpoint(walk, line, fail, note, options);
  const told = unseen.get(line.n);
  if (told !== undefined) {
    unseen.delete(line.n);
    if (told === walk.hash) walk.proven.push({ first: walk.unbroken, last: line.n, by: "a witness" });
    else fail(`line ${line.n} is not the one that a witness was told of`);
  }
}

function start(
  walk: Walk,
  line: Extract<Line, { type: "start" }>,
  fail: (message: string) => void,
  note: (message: string) => void,
): void {
  if (line.format !== AUDIT_FORMAT) fail(`its format is ${JSON.stringify(line.format)}, not ${AUDIT_FORMAT}`);
  walk.log ??= line.log;
  if (line.log !== walk.log) fail(`another log (${line.log}) begins here, after ${walk.log}`);
  if (line.torn !== undefined) {
    note(`after a crash ${line.torn.bytes} bytes of a line that was never whole were cut off here`);
  }
  if (line.damaged !== undefined)
    note(`the file before was put aside as ${line.damaged}: it did not end with lines of a log`);
}

function checkpoint(
  walk: Walk,
  line: Link & CheckpointLine,
  fail: (message: string) => void,
  note: (message: string) => void,
  { holds }: VerifyOptions,
): void {
  walk.checkpoints += 1;
  if (line.log !== walk.log) {
    fail(`it is a checkpoint of another log (${line.log})`);
    return;
  }
  if (line.failed !== undefined) note(`checkpoint ${line.n} could not be signed: ${line.failed}`);
  if (line.signature === undefined || holds === undefined) return;
  if (!holds(Buffer.from(signedText(line)), Buffer.from(line.signature, "base64"), line)) {
    fail(`the signature of checkpoint ${line.n} is not by the key that was given (it says ${line.key})`);
    return;
  }
  walk.proven.push({ first: walk.unbroken, last: line.n, by: `the signature of ${line.time}` });
}

/** Each unbroken part once, by what vouches for the most of it. */
function joined(proven: VerifiedLog["proven"]): VerifiedLog["proven"] {
  const longest = new Map<number, VerifiedLog["proven"][number]>();
  for (const one of proven) if ((longest.get(one.first)?.last ?? 0) < one.last) longest.set(one.first, one);
  return [...longest.values()];
}
