/**
 * Running a program with tokens that are served to it alone.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { explainSystem } from "../../host/errors.ts";
import { closeAtExit } from "../../host/exit.ts";
import { isInForeground } from "../../host/processes.ts";
import type { ExitCode } from "../command.ts";
import { flag, texts } from "../command.ts";
import { CommandError } from "../errors.ts";
import type { Io } from "../io.ts";
import type { Guarded } from "./guards.ts";
import { SERVING_OPTIONS } from "./options.ts";
import { ADDRESS_VARIABLE, addressOf, clientLibrary, listenFor, privateFolder } from "./socket.ts";

/** Options of commands that run a program. */
export const PROGRAM_OPTIONS = {
  token: texts("TOKEN", "a declared name or a PKCS#11 URI; may be given more than once"),
  noUnlock: flag("let the program log in itself, with a PIN of its own"),
  ...SERVING_OPTIONS,
  uninitialised: flag("offer slots whose token was never initialised too, so that the program can make one"),
} as const;

/** What their help says of the program. */
export const PROGRAM_NOTES = [
  "The program finds the tokens through p11-kit's client (keywright module-path). Set for it: P11_KIT_SERVER_ADDRESS;",
  "PKCS11_MODULE_PATH for OpenSSL's engine, PKCS11_PROVIDER_MODULE for its provider; OPENSSL_CONF, which adds the engine.",
  "Where the user PIN is declared, or given with --pin, the program needs none, and sees none.",
  "Where TOKEN names a key, the program sees and uses that key alone, unless a policy says otherwise.",
] as const;

/** How a program ended: its exit code, or the signal. */
export type End = number | NodeJS.Signals;

/**
 * Runs a program to its end.
 * @param words the program and its arguments
 */
export async function runServed(guarded: Guarded, words: readonly string[], workers: number): Promise<End> {
  const [program, ...rest] = words as [string, ...string[]];
  const library = clientLibrary();
  const folder = privateFolder("exec-");
  const path = join(folder, "pkcs11");
  const socket = await listenFor(guarded, path, workers);
  const close = async () => {
    await socket.close();
    rmSync(folder, { recursive: true, force: true });
  };
  const forget = closeAtExit({ isBusy: () => false, close });
  try {
    return await runProgram(program, rest, {
      ...process.env,
      [ADDRESS_VARIABLE]: addressOf(path),
      PKCS11_MODULE_PATH: library,
      PKCS11_PROVIDER_MODULE: library,
      ...(process.env.OPENSSL_CONF === undefined ? opensslConfiguration(folder, library) : {}),
    });
  } finally {
    await close();
    forget();
  }
}

/**
 * The signals that end a process and do no more. Others would leave a core file of ours, with keys and PINs in it, or are
 * Node's own: SIGUSR1 opens its debugger.
 */
const PLAIN_ENDS: readonly NodeJS.Signals[] = ["SIGHUP", "SIGINT", "SIGKILL", "SIGTERM", "SIGALRM", "SIGUSR2"];

/**
 * Ends as a program did: as if it had run in our place, so that who waits for us may look at how it ended.
 * @returns its exit code; 128 and the number of a signal that is none of {@link PLAIN_ENDS}
 */
export async function endAs(end: End, io: Io): Promise<ExitCode> {
  if (typeof end === "number") return end as ExitCode;
  if (!PLAIN_ENDS.includes(end)) return (128 + constants.signals[end]) as ExitCode;
  await io.told();
  process.removeAllListeners(end);
  process.kill(process.pid, end);
  return (128 + constants.signals[end]) as ExitCode;
}

/**
 * The system's configuration of OpenSSL, and the engine: programs that read no variable of the engine's find it by that.
 * Initialised, for nginx does not do so itself; the engine connects when a key is first asked for, and not before.
 */
function opensslConfiguration(folder: string, library: string): Record<string, string> {
  const path = join(folder, "openssl.cnf");
  writeFileSync(
    path,
    `.include /etc/ssl/openssl.cnf
[openssl_init]
engines = keywright_engines
[keywright_engines]
pkcs11 = keywright_pkcs11
[keywright_pkcs11]
engine_id = pkcs11
MODULE_PATH = ${library}
init = 1
`,
    { mode: 0o600 },
  );
  return { OPENSSL_CONF: path };
}

const SIGNALS = ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP"] as const;
/** Those that a key at the terminal sends to all that run in its foreground. */
const BY_KEY: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];

/** Runs it to its end, and hands on the signals that would end us: it is the program that decides what they mean. */
async function runProgram(program: string, words: readonly string[], env: NodeJS.ProcessEnv): Promise<End> {
  let child: ChildProcess | undefined;
  let early: NodeJS.Signals | undefined;
  const hand = (signal: NodeJS.Signals) => {
    // Ctrl-C reaches it without us.
    if (BY_KEY.includes(signal) && isInForeground()) return;
    if (child === undefined) early = signal;
    else child.kill(signal);
  };
  const before = SIGNALS.map((signal) => [signal, process.listeners(signal)] as const);
  for (const signal of SIGNALS) {
    process.removeAllListeners(signal);
    process.on(signal, hand);
  }
  try {
    return await new Promise((resolve, reject) => {
      child = spawn(program, [...words], { env, stdio: "inherit" });
      if (early !== undefined) child.kill(early);
      child.once("error", (error) => reject(new CommandError(`cannot run ${program}: ${explainSystem(error)}`)));
      child.once("exit", (code, signal) => resolve(code ?? signal!));
    });
  } finally {
    for (const [signal, listeners] of before) {
      process.removeAllListeners(signal);
      for (const listener of listeners) process.on(signal, listener as NodeJS.SignalsListener);
    }
  }
}
