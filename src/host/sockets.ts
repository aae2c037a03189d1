/**
 * Listening on a Unix socket that its owner alone can connect to.
 * @module
 */
import { closeSync, constants, lstatSync, openSync, realpathSync, renameSync, rmSync, type Stats } from "node:fs";
import { connect, type Server } from "node:net";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { explainSystem, HostError, systemCode } from "./errors.ts";
import { makePrivateFolder, requireOwnFolder, requireSafeAbove } from "./files.ts";
import { LOCK_EX, LOCK_NB, libc } from "./libc.ts";

/** sun_path of struct sockaddr_un, without the zero at its end. */
const MOST_BYTES = process.platform === "linux" ? 107 : 103;

const OTHERWISE = "name a socket in a folder of your own";

/** How long another server that is just taking the same path is waited for, in ms. */
const LOCK_WAIT_MS = 5000;
const POLL_MS = 20;
/** How long a server gets to take a connection before it counts as one that is there, in ms. */
const ANSWER_MS = 2000;

/** A socket file that is ours. */
export interface SocketFile {
  readonly path: string;
  /** Removes it, unless another server has put its own in its place. Safe to repeat. */
  remove(): Promise<void>;
}

/**
 * Has a server listen on a path. The socket is for its owner alone from the first moment, and takes its name when it
 * listens; one that is left of a server that is gone is replaced. The folder is made when it is missing (0700).
 *
 * From the main thread only: the umask of the process is set for the moment in which the socket is made.
 * @throws HostError for a path that is too long, one where a server answers or something else is, and for a folder that
 *   others can write to
 */
export async function listenAt(server: Server, given: string): Promise<SocketFile> {
  const path = requireSocketPath(given);
  const folder = dirname(path);
  makePrivateFolder(folder);
  requireOwnFolder(folder, OTHERWISE);
  requireSafeAbove(realpathSync(folder), OTHERWISE);
  return withFolder(folder, async () => {
    await requireFree(path);
    const { dev, ino } = await bind(server, path);
    const isOurs = (status: Stats | undefined) => status?.dev === dev && status.ino === ino;
    return {
      path,
      async remove() {
        if (!isOurs(lstatSync(path, { throwIfNoEntry: false }))) return;
        await withFolder(folder, async () => {
          if (isOurs(lstatSync(path, { throwIfNoEntry: false }))) rmSync(path, { force: true });
        });
      },
    };
  });
}

/** The path in full. @throws HostError for one that no socket can have */
export function requireSocketPath(given: string): string {
  const path = resolve(given);
  const bytes = Buffer.byteLength(path);
  if (bytes <= MOST_BYTES) return path;
  throw new HostError(`the socket ${path}: its path has ${bytes} bytes, at most ${MOST_BYTES} fit`, {
    hints: ["name a shorter one, such as one in $XDG_RUNTIME_DIR"],
  });
}

/**
 * Keeps other servers of ours from taking a path in this folder meanwhile: two that find the same socket stale would take
 * it from each other. The lock is on the folder itself, and leaves no file.
 */
async function withFolder<T>(folder: string, use: () => Promise<T>): Promise<T> {
  let fd: number;
  try {
    fd = openSync(folder, constants.O_RDONLY);
  } catch (error) {
    throw new HostError(`cannot open the folder ${folder}: ${explainSystem(error)}`, { cause: error });
  }
  try {
    const deadline = Date.now() + LOCK_WAIT_MS;
    while (libc().flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      if (Date.now() > deadline) throw new HostError(`the folder ${folder} stays locked by another program`);
      await sleep(POLL_MS);
    }
    return await use();
  } finally {
    closeSync(fd);
  }
}

/** @throws HostError unless there is nothing at this path, or a socket on which nobody listens */
async function requireFree(path: string): Promise<void> {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isSocket()) {
    throw new HostError(`${path} is there and is no socket`, { hints: ["move it away, or name another path"] });
  }
  const answer = await probe(path);
  if (answer === "ECONNREFUSED" || answer === "ENOENT") return;
  if (answer === "connected" || answer === "EAGAIN") {
    throw new HostError(`another server listens on ${path}`, { hints: ["end it, or name another path"] });
  }
  throw new HostError(`whether a server listens on ${path} cannot be told: ${answer}`, {
    hints: ["look whose it is; name another path"],
  });
}

/** What connecting says. EAGAIN is a server that is there and busy. */
function probe(path: string): Promise<string> {
  return new Promise((done) => {
    const socket = connect(path);
    const finish = (answer: string) => {
      socket.destroy();
      done(answer);
    };
    socket.setTimeout(ANSWER_MS, () => finish("EAGAIN"));
    socket.once("connect", () => finish("connected"));
    socket.once("error", (error) => finish(systemCode(error) ?? error.message));
  });
}

/**
 * Binds under a name of its own beside the path and renames: what was at the path is replaced at once. And Node removes the
 * name that it bound when it closes the server, whoever's socket it is by then.
 */
async function bind(server: Server, path: string): Promise<Stats> {
  const name = basename(path);
  for (let attempt = 0; ; attempt++) {
    const temporary = join(dirname(path), randomName(name.length));
    try {
      await listenQuietly(server, temporary);
      renameSync(temporary, path);
      return lstatSync(path);
    } catch (error) {
      if (systemCode(error) === "EADDRINUSE" && attempt < 100) continue;
      server.close();
      throw new HostError(`cannot listen on ${path}: ${explainSystem(error)}`, { cause: error });
    }
  }
}

const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";

/** No longer than the path's own, which fits. */
function randomName(most: number): string {
  const length = Math.min(most, 12);
  const random = Array.from({ length }, () => LETTERS[Math.floor(Math.random() * LETTERS.length)]).join("");
  return length > 6 ? `.${random.slice(1)}` : random;
}

function listenQuietly(server: Server, path: string): Promise<void> {
  return new Promise((done, reject) => {
    server.once("error", reject);
    const mask = process.umask(0o177);
    try {
      // Node binds before this returns; it tells later.
      server.listen(path, () => {
        server.off("error", reject);
        done();
      });
    } finally {
      process.umask(mask);
    }
  });
}
