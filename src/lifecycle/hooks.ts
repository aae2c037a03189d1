/**
 * Hooks: programs that take up a new certificate. A marker in the state folder says that one is still to run, so that
 * it runs at least once whatever happens in between.
 * @module
 */
import { readFile, unlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { KeywrightError } from "../cryptoki/errors.ts";
import { explainSystem, HostError, systemCode } from "../host/errors.ts";
import { makePrivateFolder, writeAtomic } from "../host/files.ts";
import { type RunOptions, run } from "../host/processes.ts";
import type { PendingHook } from "./observation.ts";

/** A hook that ended with a failure. */
export class HookError extends KeywrightError {
  override readonly code = "ERR_HOOK";
}

function markerPath(state: string, key: string): string {
  return join(state, "hooks", `${key}.json`);
}

/** The marker of a token's initHook; no key has a name with a colon. */
export function ofToken(name: string): string {
  return `token:${name}`;
}

/** The markers of these keys. @throws HostError when one cannot be read */
export async function readPendingHooks(state: string, keys: readonly string[]): Promise<Record<string, PendingHook>> {
  const found: Record<string, PendingHook> = {};
  for (const key of keys) {
    const path = markerPath(state, key);
    try {
      found[key] = JSON.parse(await readFile(path, "utf8")) as PendingHook;
    } catch (error) {
      if (systemCode(error) === "ENOENT") continue;
      throw new HostError(`cannot read ${path}: ${explainSystem(error)}`, { cause: error });
    }
  }
  return found;
}

/** Notes that a key's hook is to run for a certificate. */
export async function markHook(state: string, key: string, certificate: string): Promise<void> {
  const path = markerPath(state, key);
  makePrivateFolder(dirname(path));
  await writeAtomic(path, `${JSON.stringify({ certificate })}\n`);
}

/** Notes that it has run. */
export async function unmarkHook(state: string, key: string): Promise<void> {
  await unlink(markerPath(state, key)).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return;
    throw new HostError(`cannot remove ${markerPath(state, key)}: ${explainSystem(error)}`, { cause: error });
  });
}

/**
 * Runs the hook of a token that was initialised, and notes that it has run.
 * @throws HookError when it ends with anything but 0; the next apply runs it again
 */
export async function runInitHook(program: string, token: string, uri: string, at: HookPlace): Promise<void> {
  const environment = { KEYWRIGHT_TOKEN: token, KEYWRIGHT_URI: uri };
  const end = await runProgram(program, at.folder, { arguments: [token], environment });
  if (end !== undefined) {
    throw new HookError(`the initHook ${basename(program)} of ${token} ended with ${end}`, {
      hints: ["the token is initialised; the next apply runs the hook again"],
    });
  }
  await unmarkHook(at.state, ofToken(token));
}

/** Where hooks start from, and where their markers are. */
export interface HookPlace {
  readonly folder: string;
  readonly state: string;
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
