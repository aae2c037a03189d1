/**
 * The file of a store, before SQLite opens it.
 * @module
 */
import { closeSync, constants, existsSync, openSync, readSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { explainSystem, HostError, systemCode } from "../../host/errors.ts";
import { makeFolder } from "../../host/files.ts";
import { foreign, StoreError } from "./errors.ts";
import { APPLICATION_ID, SCHEMA_VERSION } from "./schema.ts";

const HEADER_LENGTH = 100;
const MAGIC = "SQLite format 3\0";

/**
 * Looks at the file before SQLite may touch it; makes an empty one with the right mode where there is none.
 * @throws StoreError for a file that is no store of a known version, or cannot be read or made
 */
export function prepareFile(path: string, create: boolean): void {
  try {
    lookAt(path, create);
  } catch (error) {
    if (systemCode(error) === undefined || error instanceof StoreError || error instanceof HostError) throw error;
    throw new StoreError(path, explainSystem(error), ["look at the owner and mode of the file and its folder"]);
  }
}

function lookAt(path: string, create: boolean): void {
  if (!existsSync(path)) {
    if (!create) throw new StoreError(path, "there is no such store");
    makeFolder(dirname(path), 0o700);
    try {
      closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
    } catch (error) {
      // Another process was first: what it made is looked at like any other file.
      if (systemCode(error) !== "EEXIST") throw error;
    }
  }
  const { size } = statSync(path);
  if (size === 0) return;
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
  // One page without marks: a process was killed while it made the store.
  if (pages <= 1 && application === 0 && version === 0) return;
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
