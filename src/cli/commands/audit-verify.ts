/**
 * `keywright audit verify`
 * @module
 */
import { type VerifiedLog, verifyLog } from "../../layers/audit/verify.ts";
import { checkpointVerifier } from "../checkpoints.ts";
import { command, EXIT, type ExitCode, flag, type Input, texts } from "../command.ts";
import { UsageError } from "../errors.ts";
import { readIn } from "../files.ts";
import type { Io, View } from "../io.ts";
import { TARGET_OPTIONS } from "../target.ts";
import { count } from "../words.ts";

export const spec = command({
  name: "audit verify",
  summary: "say what an audit log proves; exit code 1 when it was changed",
  words: { usage: "FILE…", least: 1, most: Number.MAX_SAFE_INTEGER },
  options: {
    key: texts("KEY", "the key that signed the checkpoints: a file with its public part, a URI or a declared name"),
    witness: texts("N:HASH", "a checkpoint that was told to a witness: its line and SHA-256"),
    ...TARGET_OPTIONS,
    json: flag("print JSON (schema keywright/audit/1)"),
  },
  notes: [
    "Files are given oldest first. Without --key or --witness nothing is proven: whoever can write a log can make another.",
    "Lines after the last checkpoint are in no proof; that lines were cut off after one is told only by a later one, at a witness.",
  ],
  examples: [
    "keywright audit verify audit-*.jsonl audit.jsonl --key audit.pem",
    "keywright audit verify audit.jsonl --witness 1001:9f86d081…",
  ],
});

interface Verdict extends VerifiedLog {
  readonly files: number;
  /** Whether a key or a witness was given. */
  readonly asked: boolean;
}

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const witnessed = input.witness.map(readWitness);
  const holds = await checkpointVerifier(input.key, input, io);
  const files: { name: string; text: string }[] = [];
  for (const name of input.words) files.push({ name, text: (await readIn(name)).toString("latin1") });
  const verified = verifyLog(files, { witnessed, ...(holds === undefined ? {} : { holds }) });
  const asked = input.key.length + witnessed.length > 0;
  io.show(view, { files: files.length, asked, ...verified });
  const isGood = verified.faults.length === 0 && (!asked || verified.proven.length > 0);
  return isGood ? EXIT.done : EXIT.failed;
}

function readWitness(text: string): { n: number; hash: string } {
  const match = /^([1-9][0-9]{0,14}):([0-9a-f]{64})$/i.exec(text);
  if (match === null) {
    throw new UsageError(`--witness: ${JSON.stringify(text)} is not a line and its SHA-256`, [
      "it is written as the log's writer printed it: 1001:9f86d081… with 64 hexadecimal digits",
    ]);
  }
  return { n: Number(match[1]), hash: match[2]!.toLowerCase() };
}

const view: View<Verdict> = {
  schema: "keywright/audit/1",
  human(verdict, style) {
    const { log, first, last, files, checkpoints, notes, faults } = verdict;
    const at = ({ file, line, message }: (typeof notes)[number]) =>
      `${file}${line === 0 ? "" : `:${line}`}: ${message}`;
    return [
      `log ${log ?? "unknown"}: lines ${first} to ${last} in ${count(files, "file")}, ${count(checkpoints, "checkpoint")}`,
      ...notes.map((note) => `note: ${at(note)}`),
      ...faults.map((fault) => style.red(`fault: ${at(fault)}`)),
      ...conclusions(verdict),
    ].join("\n");
  },
};

/** What holds, and what does not, in words that promise no more than that. */
function conclusions({ proven, asked, faults, last }: Verdict): string[] {
  const lines = proven.map((one) => `proven: lines ${one.first} to ${one.last} are as they were written, by ${one.by}`);
  const end = Math.max(0, ...proven.map((one) => one.last));
  if (lines.length === 0) {
    const chain = faults.length === 0 ? "the chain holds together, but whoever can write it can make such a chain" : "";
    const why = asked ? "no checkpoint is vouched for by what was given" : "neither a key nor a witness was given";
    lines.push(`proven: nothing; ${why}${chain === "" ? "" : `; ${chain}`}`);
  } else if (end < last) {
    lines.push(`not proven: lines ${end + 1} to ${last}: they come after the last checkpoint that is vouched for`);
  }
  lines.push(`not proven: that nothing came after line ${last}; a later checkpoint at a witness would tell`);
  return lines;
}
