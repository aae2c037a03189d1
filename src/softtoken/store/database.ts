/**
 * The file: one SQLite database, several processes.
 *
 * WAL with synchronous=FULL, so that what was acknowledged survives a kill and a power cut. The busy timeout is 0: a
 * store that another process is writing to throws {@link Busy}, and whoever called decides how to wait.
 * @module
 */
import { closeSync, constants, existsSync, mkdirSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { KeywrightError } from "../../cryptoki/errors.ts";
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION } from "./schema.ts";

/** A store that cannot be used: another program's file, a newer version's, a damaged one. */
export class StoreError extends KeywrightError {
  override readonly code = "ERR_STORE";
  /** The file. */
  readonly path: string;
  /** The disk has no room. */
  readonly isFull: boolean;

  constructor(path: string, fault: string, hints: readonly string[] = [], isFull = false) {
    super(`${path}: ${fault}`, { hints });
    this.path = path;
    this.isFull = isFull;
  }
}

/** Another process holds the store's lock. Nothing was changed. */
export class Busy extends Error {
  constructor() {
    super("the store is busy");
    this.name = "Busy";
  }
}

/** What goes into and comes out of a column. */
type Column = number | string | Uint8Array | null;
export type Row = Readonly<Record<string, Column>>;

/** A prepared statement. */
export interface Statement {
  run(...values: Column[]): { changes: number; lastInsertRowid: number };
  get(...values: Column[]): Row | undefined;
  all(...values: Column[]): Row[];
}

type Connection = InstanceType<typeof DatabaseSync>;

/** How long opening waits for another process that is creating or closing the store, in ms. */
const OPENING_PATIENCE = 5000;

const SQLITE = { busy: 5, locked: 6, corrupt: 11, full: 13, notADatabase: 26 } as const;

/** `create` makes a store where there is none, `write` does not, `read` changes nothing at all, such as a backup. */
export type OpenMode = "create" | "write" | "read";

export class Database {
  readonly path: string;
  readonly #connection: Connection;
  readonly #statements = new Map<string, Statement>();
  readonly #dataVersion: { get(): unknown };
  /** Whoever wants to write is to wait for others first: it finds the store busy (patience.ts). */
  mustQueue = false;
  #seen: number;
  #epoch = 0;

  private constructor(path: string, connection: Connection) {
    this.path = path;
    this.#connection = connection;
    const version = connection.prepare("PRAGMA data_version");
    version.setReturnArrays(true);
    this.#dataVersion = version;
    this.#seen = this.#version();
  }

  /**
   * Opens a store; makes it when there is no file, or an empty one.
   * @throws StoreError if the file is not a store of a version known here; it is then left as it was
   */
  static open(path: string, mode: OpenMode): Database {
    prepareFile(path, mode === "create");
    const readOnly = mode === "read";
    const connection = new DatabaseSync(path, { timeout: OPENING_PATIENCE, readOnly });
    try {
      return translated(path, () => {
        checkSchema(path, connection, readOnly);
        connection.exec("PRAGMA busy_timeout = 0");
        return new Database(realpathSync(path), connection);
      });
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** The statement of this text, prepared once. */
  prepare(sql: string): Statement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const raw = translated(this.path, () => this.#connection.prepare(sql));
    const { path } = this;
    const statement: Statement = {
      run: (...values) => {
        if (this.mustQueue && !this.#connection.isTransaction) throw new Busy();
        return translated(path, () => raw.run(...values)) as { changes: number; lastInsertRowid: number };
      },
      get: (...values) => translated(path, () => raw.get(...values)) as Row | undefined,
      all: (...values) => translated(path, () => raw.all(...values)) as Row[],
    };
    this.#statements.set(sql, statement);
    return statement;
  }

  /** All or nothing; durable when it returns. @throws Busy before anything was done */
  transaction<T>(work: () => T): T {
    this.prepare("BEGIN IMMEDIATE").run();
    try {
      const result = work();
      this.prepare("COMMIT").run();
      return result;
    } catch (error) {
      if (this.#connection.isTransaction) this.prepare("ROLLBACK").run();
      throw error;
    }
  }

  /** Several reads of one state of the store. */
  snapshot<T>(work: () => T): T {
    this.prepare("BEGIN").all();
    try {
      return work();
    } finally {
      if (this.#connection.isTransaction) this.prepare("COMMIT").run();
    }
  }

  /** A number that is another one whenever something may have been changed, here or by another process. */
  epoch(): number {
    const version = this.#version();
    if (version !== this.#seen) {
      this.#seen = version;
      this.#epoch += 1;
    }
    return this.#epoch;
  }

  /** Says that this connection changed something that other applications of this process must see. */
  touch(): void {
    this.#epoch += 1;
  }

  close(): void {
    if (this.#connection.isOpen) this.#connection.close();
  }

  #version(): number {
    return translated(this.path, () => (this.#dataVersion.get() as [number])[0]);
  }
}

function translated<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = (error as { sqliteCode?: number }).sqliteCode;
    if (code === SQLITE.busy || code === SQLITE.locked) throw new Busy();
    if (code === SQLITE.notADatabase) throw foreign(path, "a file that SQLite does not know");
    if (code === SQLITE.corrupt) throw new StoreError(path, "the store is damaged", ["restore it from a backup"]);
    if (code === SQLITE.full) throw new StoreError(path, "the disk is full", [], true);
    throw error;
  }
}

function foreign(path: string, found: string): StoreError {
  return new StoreError(path, `found ${found}, expected a Keywright token store`, ["name another file"]);
}

const HEADER_LENGTH = 100;
const MAGIC = "SQLite format 3\0";

/** Looks at the file before SQLite may touch it; makes an empty one with the right mode where there is none. */
function prepareFile(path: string, create: boolean): void {
  if (!existsSync(path)) {
    if (!create) throw new StoreError(path, "there is no such store");
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    try {
      closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
    } catch (error) {
      // Another process was first: what it made is looked at like any other file.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
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

function judgeMarks(path: string, application: number, version: number): void {
  if (application !== APPLICATION_ID) {
    throw foreign(path, `an SQLite database with application id 0x${application.toString(16)}`);
  }
  if (version > SCHEMA_VERSION) {
    throw new StoreError(path, `found schema version ${version}, expected at most ${SCHEMA_VERSION}`, [
      "this store was made by a newer Keywright: use that one",
    ]);
  }
}

function checkSchema(path: string, connection: Connection, readOnly: boolean): void {
  const pragma = (name: string) => Object.values(connection.prepare(`PRAGMA ${name}`).get())[0] as number;
  const isNew = () => pragma("application_id") === 0 && pragma("user_version") === 0 && pragma("schema_version") === 0;
  const fresh = isNew();
  if (!fresh) judgeMarks(path, pragma("application_id"), pragma("user_version"));
  if (readOnly) {
    if (fresh) throw foreign(path, "an empty file");
    return;
  }
  connection.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
  connection.exec("PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON");
  if (!fresh) return;
  connection.exec("BEGIN IMMEDIATE");
  // Another process may have made the tables since we looked.
  if (isNew()) {
    connection.exec(`${SCHEMA} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
  }
  connection.exec("COMMIT");
  // So that the marks stand in the file itself, where the next opening looks first.
  connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
}
