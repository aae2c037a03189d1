/**
 * `keywright trace`
 * @module
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { explainSystem } from "../../host/errors.ts";
import { TraceSummary } from "../../layers/trace/summary.ts";
import { callText } from "../../layers/trace/text.ts";
import type { TracedCall } from "../../layers/trace/trace.ts";
import { command, type ExitCode, flag, type Input, text } from "../command.ts";
import { CommandError } from "../errors.ts";
import type { Io } from "../io.ts";
import { guard } from "../serving/guards.ts";
import { workersOf } from "../serving/options.ts";
import { PROGRAM_NOTES, PROGRAM_OPTIONS, runServed } from "../serving/program.ts";
import { findServed } from "../serving/tokens.ts";
import { summaryText } from "../views/trace.ts";

export const spec = command({
  name: "trace",
  summary: "run a program with tokens and show every PKCS#11 call that it makes",
  words: { usage: "-- COMMAND [ARGUMENT…]", least: 1, most: 10_000 },
  options: {
    ...PROGRAM_OPTIONS,
    out: text("FILE", "write the trace there (0600), not to standard error"),
    showSecrets: flag("show data, keys and what else may be secret; PINs are never shown"),
    json: flag("a JSON object a line: calls, and at the end the summary (schema keywright/trace/1)"),
  },
  notes: [
    ...PROGRAM_NOTES,
    "With --module, the calls that the program makes to that library; it is loaded in a process of its own.",
    "Ends as the program does: with its exit code, or 128 and the number of its signal.",
  ],
  examples: [
    'keywright trace --token demo -- pkcs11-tool --module "$(keywright module-path)" -O',
    'keywright trace --module /usr/lib/softhsm/libsofthsm2.so -- p11tool --provider "$(keywright module-path)" --list-all',
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const served = await findServed(input.token, input.noUnlock ? "never" : "where known", input, io);
  const trace = { secrets: input.showSecrets };
  const guarded = await guard(served, input, { uninitialised: input.uninitialised, trace }, io);
  const out = outputOf(input.out, io);
  const summary = new TraceSummary();
  const host = {
    ...guarded.host,
    trace(call: TracedCall) {
      summary.add(call);
      out.line(input.json ? JSON.stringify(call) : callText(call));
    },
  };
  try {
    return await runServed({ ...guarded, host }, input.words, workersOf(input, 1));
  } finally {
    const functions = summary.rows();
    out.line(input.json ? JSON.stringify({ schema: "keywright/trace/1", functions }) : summaryText(functions));
    out.close();
  }
}

/** Where the trace goes: lines as they come, so that what a program does before it hangs is there. */
function outputOf(path: string | undefined, io: Io): { line(text: string): void; close(): void } {
  if (path === undefined) return { line: (line) => io.tell(line), close: () => undefined };
  let fd: number;
  try {
    fd = openSync(path, "w", 0o600);
  } catch (error) {
    throw new CommandError(`cannot write the trace to ${path}: ${explainSystem(error)}`);
  }
  return { line: (line) => void writeSync(fd, `${line}\n`), close: () => closeSync(fd) };
}
