/**
 * Running a program with tokens that are served to it alone.
 * @module
 */
import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { explainSystem } from "../../host/errors.ts";
import { closeAtExit } from "../../host/exit.ts";
import type { ExitCode } from "../command.ts";
import { flag, texts } from "../command.ts";
import { CommandError } from "../errors.ts";
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

/**
 * Runs a program to its end.
 * @param words the program and its arguments
 * @returns its exit code, or 128 and the number of the signal that ended it
 */
export async function runServed(guarded: Guarded, words: readonly string[], workers: number): Promise<ExitCode> {
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

/** Runs it to its end, and hands on the signals that would end us. */
function runProgram(program: string, words: readonly string[], env: NodeJS.ProcessEnv): Promise<ExitCode> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...words], { env, stdio: "inherit" });
    const hand = (signal: NodeJS.Signals) => void child.kill(signal);
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    const before = signals.map((signal) => [signal, process.listeners(signal)] as const);
    // It is the program that decides what they mean; Ctrl-C reaches it without us.
    for (const signal of signals) {
      process.removeAllListeners(signal);
      process.on(signal, signal === "SIGINT" ? () => undefined : hand);
    }
    const done = () => {
      for (const [signal, listeners] of before) {
        process.removeAllListeners(signal);
        for (const listener of listeners) process.on(signal, listener as NodeJS.SignalsListener);
      }
    };
    child.once("error", (error) => {
      done();
      reject(new CommandError(`cannot run ${program}: ${explainSystem(error)}`));
    });
    child.once("exit", (code, signal) => {
      done();
      resolve((code ?? 128 + constants.signals[signal!]) as ExitCode);
    });
  });
}
