/**
 * `keywright exec`
 * @module
 */
import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { explainSystem } from "../../host/errors.ts";
import { closeAtExit } from "../../host/exit.ts";
import { command, type ExitCode, flag, type Input, texts } from "../command.ts";
import { CommandError } from "../errors.ts";
import type { Io } from "../io.ts";
import { listenFor } from "../served-socket.ts";
import {
  ADDRESS_VARIABLE,
  addressOf,
  clientLibrary,
  findServing,
  privateFolder,
  reporter,
  SERVING_OPTIONS,
  workersOf,
} from "../serving.ts";

const { unlock: _unlock, ...OPTIONS } = SERVING_OPTIONS;

export const spec = command({
  name: "exec",
  summary: "run a program with tokens that it can use, served to it alone",
  words: { usage: "-- COMMAND [ARGUMENT…]", least: 1, most: 10_000 },
  options: {
    token: texts("TOKEN", "a declared name or a PKCS#11 URI; may be given more than once"),
    ...OPTIONS,
    noUnlock: flag("let the program log in itself, with a PIN of its own"),
    verbose: flag("tell what the program was refused, and why"),
  },
  notes: [
    "The program finds the tokens through p11-kit's client (keywright module-path). Set for it: P11_KIT_SERVER_ADDRESS;",
    "PKCS11_MODULE_PATH for OpenSSL's engine, PKCS11_PROVIDER_MODULE for its provider; OPENSSL_CONF, which adds the engine.",
    "Where the user PIN is declared, or given with --pin, the program needs none, and sees none.",
    "Ends as the program does: with its exit code, or by its signal.",
  ],
  examples: [
    'keywright exec --token demo -- pkcs11-tool --module "$(keywright module-path)" -O',
    "keywright exec --token demo -- openssl req -new -engine pkcs11 -keyform engine -key 'pkcs11:object=www' -subj /CN=www",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const [program, ...words] = input.words as [string, ...string[]];
  const library = clientLibrary();
  const serving = await findServing(
    { ...input, words: input.token, unlock: input.noUnlock ? false : "where known" },
    io,
  );
  const folder = privateFolder("exec-");
  const path = join(folder, "pkcs11");
  const socket = await listenFor(serving, path, workersOf(input, 1), reporter(input.verbose, io));
  const close = async () => {
    await socket.close();
    rmSync(folder, { recursive: true, force: true });
  };
  const forget = closeAtExit({ isBusy: () => false, close });
  let end: End;
  try {
    end = await runProgram(program, words, {
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
  if (typeof end === "number") return end as ExitCode;
  await io.told();
  // As if the program had run in our place; who waits for us may look at how it ended.
  process.removeAllListeners(end);
  process.kill(process.pid, end);
  // One that Node ignores, or keeps for itself.
  return (128 + constants.signals[end]) as ExitCode;
}

/** How a program ended: its exit code, or the signal. */
type End = number | NodeJS.Signals;

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
function runProgram(program: string, words: readonly string[], env: NodeJS.ProcessEnv): Promise<End> {
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
      resolve(code ?? signal!);
    });
  });
}
