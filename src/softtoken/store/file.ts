/**
 * The file of a store, before SQLite opens it.
 * @module
 */
import { randomBytes } from "node:crypto";
import { closeSync, constants, existsSync, fsyncSync, linkSync, openSync, readSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { explainSystem, HostError, systemCode } from "../../host/errors.ts";
import { makeFolder } from "../../host/files.ts";
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
export function place(path: string, fill: (partial: string) => void): boolean {
  if (existsSync(path)) return false;
  return explained(path, () => {
    makeFolder(dirname(path), 0o700);
    refuseLeftLog(path);
    const partial = `${path}.${randomBytes(6).toString("hex")}.partial`;
    closeSync(openSync(partial, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
    try {
      fill(partial);
      sync(partial);
      // Unlike a rename, a link replaces nothing.
      linkSync(partial, path);
    } catch (error) {
      // Another process was first.
      if (systemCode(error) === "EEXIST") return false;
      throw error;
    } finally {
      rmSync(partial, { force: true });
    }
    sync(dirname(path));
    return true;
  });
}

/** SQLite would take the log of a store that is gone for the log of the new one. */
function refuseLeftLog(path: string): void {
  const log = `${path}-wal`;
  const isEmpty = (statSync(log, { throwIfNoEntry: false })?.size ?? 0) === 0;
  // One that another process has made just now has a log.
  if (isEmpty || existsSync(path)) return;
  throw new StoreError(path, `the store is gone, and what was last written to it is still there: ${log}`, [
    "put the store back beside it; or move it away to start anew or to restore a backup",
  ]);
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
    throw new StoreError(path, "the store file is empty: it was truncated", [
      "move it away and restore a backup: keywright token restore FILE",
      "or delete it, and its log beside it (-wal), to start anew",
    ]);
  }
  const header = Buffer.alloc(HEADER_LENGTH);
  const file = openSync(path, "r");
  try {
    if (readSync(file, header, 0, HEADER_LENGTH, 0) < HEADER_LENGTH || header.toString("latin1", 0, 16) !== MAGIC) {
      throw foreign(path, `a file of ${size} bytes that is no SQLite database`);
    }
  } finally {
    closeSync(file);
  }
  // Offsets of the SQLite file format, 1.3. What is still in the write-ahead log is judged after opening.
  if (existsSync(`${path}-wal`) && statSync(`${path}-wal`).size > 0) return;
  const pages = header.readUInt32BE(28);
  const [application, version] = [header.readUInt32BE(68), header.readUInt32BE(60)];
  judgeMarks(path, application, version);
  const expected = (header.readUInt16BE(16) === 1 ? 65536 : header.readUInt16BE(16)) * pages;
  if (size < expected) {
    throw new StoreError(path, `found ${size} bytes, expected ${expected}: the store was cut short`, [
      "restore it from a backup",
    ]);
  }
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
