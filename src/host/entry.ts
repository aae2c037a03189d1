/**
 * Programs of this package that run in another thread or process, and the environment that they see.
 * @module
 */
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SHARE_ENV, Worker } from "node:worker_threads";
import { scrubbedEnvironment } from "./environment.ts";
import { keepDescriptors } from "./libc.ts";

/** The entry scripts that tools/build.mjs makes in dist/bin. */
export type EntryName = "module-thread" | "module-process" | "serve-thread";

const PACKAGE = "keywright";

/** The folder of this package, from wherever this code runs: src, dist or the bundled command. */
function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const manifest = join(folder, "package.json");
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, "utf8")) as { name?: unknown }).name === PACKAGE) {
      return folder;
    }
    if (folder === dirname(folder)) throw new Error(`no package.json of ${PACKAGE} above ${import.meta.url}`);
  }
}

/** The path of an entry script. In a checkout it is there once the package is built. */
function entryPath(name: EntryName): string {
  const path = join(packageRoot(), "dist", "bin", `${name}.js`);
  if (!existsSync(path)) throw new Error(`${path} is missing: in a checkout, npm run build makes it`);
  return path;
}

/**
 * Starts a thread. It shares this process's environment, because a Worker's own `process.env` is a copy that C's getenv
 * does not see.
 */
export function startThread(name: EntryName, workerData: unknown): Worker {
  return new Worker(entryPath(name), { workerData, env: SHARE_ENV, execArgv: [] });
}

/**
 * Starts a child process with a private channel, over which anything that structured clone knows can be sent. It sees only
 * `environment` and what every program needs. What it prints goes to this process's standard error.
 */
export function startProcess(name: EntryName, environment: Readonly<Record<string, string>>): ChildProcess {
  keepDescriptors();
  return fork(entryPath(name), [], {
    env: scrubbedEnvironment(environment),
    execArgv: [],
    serialization: "advanced",
    stdio: ["ignore", 2, 2, "ipc"],
  });
}
