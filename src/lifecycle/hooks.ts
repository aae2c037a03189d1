/**
 * Hooks: programs that take up a new certificate, or a token that was initialised.
 * @module
 */
import { basename, resolve } from "node:path";
import { KeywrightError } from "../cryptoki/errors.ts";
import { type RunOptions, run } from "../host/processes.ts";

/** A hook that ended with a failure. */
export class HookError extends KeywrightError {
  override readonly code = "ERR_HOOK";
}

/**
 * Runs the hook of a token that was initialised.
 * @throws HookError when it ends with anything but 0; the next apply runs it again
 */
export async function runInitHook(program: string, folder: string, token: string, uri: string): Promise<void> {
  const environment = { KEYWRIGHT_TOKEN: token, KEYWRIGHT_URI: uri };
  const end = await runProgram(program, folder, { arguments: [token], environment });
  if (end === undefined) return;
  throw new HookError(`the initHook ${basename(program)} of ${token} ended with ${end}`, {
    hints: ["the token is initialised; the next apply runs the hook again"],
  });
}

/** How a program ended; undefined for success. */
async function runProgram(
  program: string,
  folder: string,
  options: Omit<RunOptions, "output" | "folder">,
): Promise<string | undefined> {
  const { status, signal } = await run(resolve(folder, program), { ...options, output: "show", folder });
  if (status === 0) return undefined;
  return signal === null ? `exit code ${status}` : `signal ${signal}`;
}

/** What a hook is told; see docs/rotation.md. */
export interface HookCall {
  readonly key: string;
  /** `old` before a key is replaced, and may veto; `new` when a certificate is there. */
  readonly event: "old" | "new";
  /** PEM, on standard input. */
  readonly certificate: string;
  readonly uri: string;
  readonly publish: readonly string[];
}

/**
 * Runs a hook. It gets no PIN, no lock and few variables of ours.
 * @throws HookError when it ends with anything but 0
 */
export async function runHook(program: string, folder: string, call: HookCall): Promise<void> {
  const end = await runProgram(program, folder, {
    arguments: [call.key, call.event],
    environment: {
      KEYWRIGHT_KEY: call.key,
      KEYWRIGHT_EVENT: call.event,
      KEYWRIGHT_URI: call.uri,
      KEYWRIGHT_PUBLISHED: call.publish.join("\n"),
    },
    input: call.certificate,
  });
  if (end === undefined) return;
  throw new HookError(`the hook ${basename(program)} of ${call.key} (${call.event}) ended with ${end}`, {
    hints:
      call.event === "old"
        ? ["it declined: the key stays as it is"]
        : ["the next apply runs it again; the old key is kept until it succeeds"],
  });
}
