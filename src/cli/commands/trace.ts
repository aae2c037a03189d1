/**
 * `keywright trace`
 * @module
 */
import { closeSync, constants, fchmodSync, ftruncateSync, writeFileSync } from "node:fs";
import { explainSystem, HostError } from "../../host/errors.ts";
import { openOwnFile } from "../../host/files.ts";
import { TraceSummary } from "../../layers/trace/summary.ts";
import { callText } from "../../layers/trace/text.ts";
import type { TracedCall } from "../../layers/trace/trace.ts";
import { command, EXIT, type ExitCode, flag, type Input, text } from "../command.ts";
import { CommandError } from "../errors.ts";
import { OWNER_ALONE } from "../files.ts";
import type { Io } from "../io.ts";
import { guard } from "../serving/guards.ts";
import { workersOf } from "../serving/options.ts";
import { type End, endAs, PROGRAM_NOTES, PROGRAM_OPTIONS, runServed } from "../serving/program.ts";
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
    "Ends as the program does: with its exit code, or by its signal; with 1 where FILE could not be written to the end.",
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
  let end: End;
  let isWhole = false;
  try {
    end = await runServed({ ...guarded, host }, input.words, workersOf(input, 1));
  } finally {
    const functions = summary.rows();
    out.line(input.json ? JSON.stringify({ schema: "keywright/trace/1", functions }) : summaryText(functions));
    isWhole = out.close();
  }
  return isWhole ? endAs(end, io) : EXIT.failed;
}

interface Output {
  line(text: string): void;
  /** Answers whether all of it was written. */
  close(): boolean;
}

/**
 * Where the trace goes: lines as they come, so that what a program does before it hangs is there. One that cannot be
 * written any more is told once, and ends there; the program goes on.
 */
function outputOf(path: string | undefined, io: Io): Output {
  if (path === undefined) return { line: (line) => io.tell(line), close: () => true };
  const fd = openOutput(path);
  let isWhole = true;
  const attempt = (write: () => void) => {
    try {
      write();
    } catch (error) {
      if (isWhole) io.tell(`keywright: error: the trace in ${path} ends here: ${explainSystem(error)}`);
      isWhole = false;
    }
  };
  return {
    line(line) {
      // Writes a line to its end, or fails; a part of one may be left.
      if (isWhole) attempt(() => writeFileSync(fd, `${line}\n`));
    },
    close() {
      attempt(() => closeSync(fd));
      return isWhole;
    },
  };
}

/** What stands there already is ours alone before the first line is written. */
function openOutput(path: string): number {
  try {
    const { fd, mode } = openOwnFile(path, constants.O_WRONLY);
    if (mode !== undefined) {
      fchmodSync(fd, OWNER_ALONE);
      ftruncateSync(fd);
    }
    return fd;
  } catch (error) {
    if (error instanceof HostError) throw error;
    throw new CommandError(`cannot write the trace to ${path}: ${explainSystem(error)}`);
  }
}
