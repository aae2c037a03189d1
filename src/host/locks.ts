/**
 * Locks between processes: flock(2) on a file that names its holder. A lock ends with its process, however that ends.
 * @module
 */
import { closeSync, constants, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { explainSystem, HostError, systemCode } from "./errors.ts";
import { makePrivateFolder } from "./files.ts";
import { LOCK_EX, LOCK_NB, libc } from "./libc.ts";

/** EAGAIN, which is also EWOULDBLOCK, on Linux. */
const EAGAIN = 11;
const POLL_MS = 5;

export interface LockOptions {
  /** The folder of the lock files; made when missing. */
  readonly folder: string;
  /** What is being done, for whoever waits. */
  readonly purpose: string;
  /** How long to wait for another holder, in ms; 60 000 by default. */
  readonly waitMs?: number;
  /** Called once when the lock is taken by somebody else. */
  readonly onWait?: (holder: string) => void;
}

/**
 * Runs `use` while holding the locks of these names, taken in sorted order so that two callers never wait for each other.
 * @throws HostError naming the holder when a lock stays taken
 */
export async function withLocks<T>(names: readonly string[], options: LockOptions, use: () => Promise<T>): Promise<T> {
  makePrivateFolder(options.folder);
  const held: (() => void)[] = [];
  try {
    for (const name of [...new Set(names)].sort()) held.push(await take(name, options));
    return await use();
  } finally {
    for (const release of held.reverse()) release();
  }
}

/**
 * Takes a lock for as long as something is open.
 * @returns what lets go of it
 * @throws HostError naming the holder when it stays taken
 */
export async function holdLock(name: string, options: LockOptions): Promise<() => void> {
  makePrivateFolder(options.folder);
  return take(name, options);
}

/** Who came last for a lock in this thread, by its path, and when they let go of it. */
const turns = new Map<string, { readonly over: Promise<void>; readonly holder: string }>();

/**
 * Takes a lock, first come, first served within this thread: where many wait, each would look when another has just taken
 * it, and some would never get it.
 * @returns what lets go of it
 */
async function take(name: string, options: LockOptions): Promise<() => void> {
  const path = join(options.folder, `${name}.lock`);
  const before = turns.get(path);
  let pass = () => {};
  const mine = new Promise<void>((resolve) => {
    pass = resolve;
  });
  const turn = { over: mine, holder: `process ${process.pid}: ${options.purpose}` };
  turns.set(path, turn);
  const release = () => {
    if (turns.get(path) === turn) turns.delete(path);
    pass();
  };
  const wait = options.waitMs ?? 60_000;
  if (before !== undefined) options.onWait?.(before.holder);
  if (before !== undefined && !(await isOver(before.over, wait))) {
    // Whoever comes next still waits for who has it.
    void before.over.then(release);
    throw stays(path, before.holder);
  }
  // Other threads and processes look for it every so often: one with many who wait leaves them a chance.
  if (before !== undefined) await sleep(POLL_MS + 1);
  try {
    const fd = await takeFile(path, options, Date.now() + wait);
    return () => {
      closeSync(fd);
      release();
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** Whether it is over within this time, in ms. */
async function isOver(before: Promise<void>, ms: number): Promise<boolean> {
  const late = new AbortController();
  const isLate = sleep(ms, true, { signal: late.signal }).catch(() => true);
  const over = await Promise.race([before.then(() => true), isLate.then(() => false)]);
  late.abort();
  return over;
}

function stays(path: string, holder: string): HostError {
  return new HostError(`${path} stays locked by ${holder}`, {
    hints: ["wait for it to end, or end it, and try again"],
  });
}

/** Files of a line: waiting for a thread for each of opening, noting and closing would take longer than that itself. */
async function takeFile(path: string, options: LockOptions, deadline: number): Promise<number> {
  let told = false;
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (error) {
    throw new HostError(`cannot open the lock ${path}: ${explainSystem(error)}`, { cause: error });
  }
  try {
    while (libc().flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      if (libc().errno() !== EAGAIN) throw new HostError(`flock: errno ${libc().errno()} on ${path}`);
      const holder = readHolder(fd) || "another process";
      if (!told) options.onWait?.(holder);
      told = true;
      if (Date.now() >= deadline) throw stays(path, holder);
      await sleep(POLL_MS);
    }
    // Cut off behind, not emptied before: ext4 writes a file that was emptied to the disk when it is closed, 0.5 ms or more.
    ftruncateSync(fd, writeSync(fd, `process ${process.pid}: ${options.purpose}\n`, 0));
    return fd;
  } catch (error) {
    closeSync(fd);
    if (systemCode(error) === undefined || error instanceof HostError) throw error;
    throw new HostError(`cannot write the lock ${path}: ${explainSystem(error)}`, { cause: error });
  }
}

function readHolder(fd: number): string {
  const buffer = Buffer.alloc(256);
  const [holder = ""] = buffer.toString("utf8", 0, readSync(fd, buffer, 0, buffer.length, 0)).split("\n");
  return holder.trim();
}
