/**
 * The file of a store, before SQLite opens it.
 * @module
 */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { explainSystem, HostError, systemCode } from "../../host/errors.ts";
import { makeFolder, temporaryName } from "../../host/files.ts";
import { recordLockHolder } from "../../host/libc.ts";
import { foreign, StoreError } from "./errors.ts";
import { APPLICATION_ID, SCHEMA_VERSION } from "./schema.ts";

const HEADER_LENGTH = 100;
const MAGIC = "SQLite format 3\0";

/**
 * Puts a file where there is none: whole, before anybody sees it under its name.
 * @param fill writes it; it is empty, under another name, for ourselves alone
 * @returns whether it is there by us; false where there is a file, which is left as it is
 * @throws StoreError where it cannot be made
 */
export function place(name: string, fill: (partial: string) => void): boolean {
  const path = followed(name);
  const isLeft = hasCompanions(path);
  if (existsSync(path)) return false;
  return explained(path, () => {
    // They were there before the store was missed, so it is not another process that has made one just now.
    if (isLeft) refuseLeftovers(path);
    makeFolder(dirname(path), 0o700);
    const partial = temporaryName(
      `${path}.`,
      ".partial",
      COMPANIONS.map((ending) => `.partial${ending}`),
    );
    closeSync(openSync(partial, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
    try {
      fill(partial);
      requireWhole(path, partial);
      sync(partial);
      // Unlike a rename, a link replaces nothing.
      linkSync(partial, path);
    } catch (error) {
      // Another process was first.
      if (systemCode(error) === "EEXIST") return false;
      throw error;
    } finally {
      for (const ending of ["", ...COMPANIONS]) rmSync(partial + ending, { force: true });
    }
    sync(dirname(path));
    return true;
  });
}

/**
 * Where a file is, or is to be made: a symbolic link that leads nowhere yet is a name for it.
 * @throws StoreError for a link that leads to itself
 */
export function followed(path: string): string {
  return explained(path, () => {
    let at = path;
    for (let links = 0; lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink() === true; links += 1) {
      // As many as Linux follows.
      if (links === 40) throw new StoreError(path, "a symbolic link that leads to itself");
      at = resolve(realpathSync(dirname(at)), readlinkSync(at));
    }
    return at;
  });
}

/** What is still in a log would not be placed with the file. */
function requireWhole(path: string, partial: string): void {
  const file = openSync(partial, "r");
  try {
    const header = Buffer.alloc(HEADER_LENGTH);
    readSync(file, header, 0, HEADER_LENGTH, 0);
    const length = lengthOf(header);
    if (length > 0 && statSync(partial).size >= length && !walHasBytes(partial)) return;
  } finally {
    closeSync(file);
  }
  throw new StoreError(path, "it could not be written whole, and was not made", ["look whether the disk is full"]);
}

/**
 * Looks at the file before SQLite may touch it.
 * @throws StoreError for a file that is no store of a known version, or cannot be read
 */
export function lookAtFile(path: string): void {
  explained(path, () => lookAt(path));
}

function explained<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (systemCode(error) === undefined || error instanceof StoreError || error instanceof HostError) throw error;
    throw new StoreError(path, explainSystem(error), ["look at the owner and mode of the file and its folder"]);
  }
}

function sync(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function lookAt(path: string): void {
  if (!existsSync(path)) throw new StoreError(path, "there is no such store");
  const { size } = statSync(path);
  // None is ever made that way, see place().
  if (size === 0) {
    throw new StoreError(path, "the store file is empty: it was truncated", restoreHints(path));
  }
  // Closing a file takes all locks of the process on it along (fcntl(2)), those of its other connections too.
  if ((timesOpen(realpathSync(path)) ?? 0) > 0) return;
  const header = Buffer.alloc(HEADER_LENGTH);
  const file = openSync(path, "r");
  try {
    if (readSync(file, header, 0, HEADER_LENGTH, 0) < HEADER_LENGTH || header.toString("latin1", 0, 16) !== MAGIC) {
      throw foreign(path, `a file of ${size} bytes that is no SQLite database`);
    }
  } finally {
    closeSync(file);
  }
  // What is still in the write-ahead log is judged after opening.
  if (walHasBytes(path)) return;
  const [application, version] = [header.readUInt32BE(68), header.readUInt32BE(60)];
  judgeMarks(path, application, version);
  const expected = lengthOf(header);
  if (size < expected) {
    throw new StoreError(
      path,
      `found ${size} bytes, expected ${expected}: the store was cut short`,
      restoreHints(path),
    );
  }
}

/** How long the file is to be: page size and number of pages (the SQLite file format, 1.3). */
function lengthOf(header: Buffer): number {
  return (header.readUInt16BE(16) === 1 ? 65536 : header.readUInt16BE(16)) * header.readUInt32BE(28);
}

/** The marks of the SQLite header that tell a store and its version. */
export function judgeMarks(path: string, application: number, version: number): void {
  if (application !== APPLICATION_ID) {
    throw foreign(path, `an SQLite database with application id 0x${application.toString(16)}`);
  }
  if (version > SCHEMA_VERSION) {
    throw new StoreError(path, `found schema version ${version}, expected at most ${SCHEMA_VERSION}`, [
      "this store was made by a newer Keywright: use that one",
    ]);
  }
}

/** SQLite's files beside a store: what is not in the file yet, and what processes share while they have it open. */
const COMPANIONS = ["-wal", "-shm", "-journal"] as const;

function hasCompanions(path: string): boolean {
  return COMPANIONS.some((ending) => existsSync(path + ending));
}

function hasBytes(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** Whether the write-ahead log may hold what the file does not. */
export function walHasBytes(path: string): boolean {
  return hasBytes(`${path}-wal`);
}

/** How often this process has each store open, 0 once it was closed: SQLite's locks do not tell a process of its own. */
const opened = new Map<string, number>();

/** @param path without symbolic links */
export function noteOpened(path: string): void {
  opened.set(path, (opened.get(path) ?? 0) + 1);
}

/** @param path as it was noted */
export function noteClosed(path: string): void {
  opened.set(path, (opened.get(path) ?? 1) - 1);
}

/** How often this process has the store open; undefined if it never had. */
function timesOpen(path: string): number | undefined {
  return opened.get(join(realpathSync(dirname(path)), basename(path)));
}

/**
 * Refuses to put a store where one was moved away without the files that belong to it: its log would be replayed over the
 * new one, or deleted by SQLite, and whoever still has it open would share its locks with the new one's users.
 * @throws StoreError
 */
export function refuseLeftovers(path: string): void {
  const log = ["-wal", "-journal"].map((ending) => path + ending).find(hasBytes);
  const isOurs = existsSync(`${path}-shm`) && timesOpen(path) === 0;
  const user = log === undefined && !isOurs ? userOf(path) : undefined;
  // Another process may have made the store meanwhile, and these are its own.
  if ((log === undefined && user === undefined && !isOurs) || existsSync(path)) return;
  if (log !== undefined) {
    const name = basename(log);
    const ending = name.slice(basename(path).length);
    throw new StoreError(log, "a log without its store: it has the last changes of the one that was here", [
      `it belongs beside that store, wherever it is now: mv ${name} THE-STORE${ending}`,
      "if that store is of no more use, move its log away too",
    ]);
  }
  if (isOurs) {
    // Its connection ends with its statements, which the binding leaves to the garbage collector, and takes the locks on
    // this file along. Not removed here: another process may just be making the store, and open it with this file.
    throw new StoreError(`${path}-shm`, "it belongs to a store that was here, which this process has had open", [
      "remove it where that store is of no more use, or move it to where that store is",
    ]);
  }
  throw new StoreError(path, `${user} has the store that was here open`, ["end it, and try again"]);
}

/** Who has a store open, where only its companions are left; undefined if nobody has. */
function userOf(path: string): string | undefined {
  if (!existsSync(`${path}-shm`)) return undefined;
  if (timesOpen(path) !== undefined) return "this process";
  const file = openSync(`${path}-shm`, "r");
  try {
    const pid = recordLockHolder(file);
    return pid === undefined ? undefined : `process ${pid}`;
  } finally {
    closeSync(file);
  }
}

/** What to do with a store that is of no use any more. */
export function restoreHints(path: string): string[] {
  const names = ["", ...COMPANIONS].map((ending) => path + ending).filter((one) => existsSync(one));
  return [
    `move it away, with what belongs to it: ${names.map((name) => basename(name)).join(", ")}`,
    "then put a backup in its place: keywright token restore FILE",
  ];
}
