/**
 * `keywright exec`
 * @module
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { takeVariable } from "../../host/environment.ts";
import { explainSystem } from "../../host/errors.ts";
import { closeAtExit } from "../../host/exit.ts";
import { makePrivateFolder } from "../../host/files.ts";
import { runtimeFolder } from "../../host/folders.ts";
import { listenAt } from "../../host/sockets.ts";
import { Workers } from "../../serving/workers.ts";
import { command, type ExitCode, flag, type Input, texts } from "../command.ts";
import { CommandError } from "../errors.ts";
import type { Io } from "../io.ts";
import {
  ADDRESS_VARIABLE,
  addressOf,
  clientLibrary,
  findServing,
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
  // The program is not to inherit what a PIN is read from.
  for (const name of serving.variables) takeVariable(name);
  const folder = privateFolder();
  const path = join(folder, "pkcs11");
  const server = createServer({ pauseOnConnect: true });
  const file = await listenAt(server, path);
  const threads = new Workers(serving.plan, workersOf(input, 1), {
    pin: serving.pin,
    report: reporter(input.verbose, io),
  });
  server.on("connection", (socket) => threads.take(socket));
  const close = async () => {
    server.close();
    await file.remove();
    await threads.finish();
    rmSync(folder, { recursive: true, force: true });
  };
  const forget = closeAtExit({ isBusy: () => false, close });
  try {
    return await runProgram(program, words, {
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

/** A folder of our own for the socket, as near to the root as its path's length wants. */
function privateFolder(): string {
  let base: string;
  try {
    base = runtimeFolder();
    makePrivateFolder(base);
  } catch {
    base = tmpdir();
  }
  return mkdtempSync(join(base, "exec-"));
}

/** The system's configuration of OpenSSL, and the engine: programs that read no variable of the engine's find it by that. */
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
init = 0
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
