/**
 * The file: one SQLite database, several processes.
 *
 * WAL with synchronous=FULL, so that what was acknowledged survives a kill and a power cut. The busy timeout is 0: a
 * store that another process is writing to throws {@link Busy}, and whoever called decides how to wait.
 * @module
 */
import { realpathSync } from "node:fs";
import { getSystemErrorName } from "node:util";
import { DatabaseSync } from "@photostructure/sqlite";
import { explainSystem } from "../../host/errors.ts";
import { Busy, foreign, StoreError } from "./errors.ts";
import { followed, judgeMarks, lookAtFile, noteClosed, noteOpened, place, restoreHints, walHasBytes } from "./file.ts";
import { APPLICATION_ID, SCHEMA, SCHEMA_VERSION, UPGRADES } from "./schema.ts";

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

/** Primary result codes; SQLite's extended ones have them in their lowest byte. */
const SQLITE = {
  busy: 5,
  locked: 6,
  readOnly: 8,
  input: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
} as const;

/** `create` makes a store where there is none, `write` does not, `read` changes nothing at all, such as a backup. */
export type OpenMode = "create" | "write" | "read";

export class Database {
  readonly path: string;
  readonly #connection: Connection;
  readonly #readOnly: boolean;
  readonly #statements = new Map<string, Statement>();
  readonly #dataVersion: { get(): unknown };
  /** Whoever wants to write is to wait for others first: it finds the store busy (patience.ts). */
  mustQueue = false;
  #seen: number;
  #epoch = 0;

  private constructor(path: string, connection: Connection, readOnly: boolean) {
    this.path = path;
    this.#readOnly = readOnly;
    this.#connection = connection;
    const version = connection.prepare("PRAGMA data_version");
    version.setReturnArrays(true);
    this.#dataVersion = version;
    this.#seen = this.#version();
  }

  /**
   * Opens a store; makes it when there is no file.
   * @throws StoreError if the file is not a store of a version known here; it is then left as it was
   */
  static open(name: string, mode: OpenMode): Database {
    const path = followed(name);
    if (mode === "create") place(path, (partial) => translated(path, () => makeTables(partial)));
    lookAtFile(path);
    const readOnly = mode === "read";
    const connection = translated(path, () => new DatabaseSync(path, { timeout: OPENING_PATIENCE, readOnly }));
    try {
      return translated(path, () => {
        checkSchema(path, connection, readOnly);
        connection.exec("PRAGMA busy_timeout = 0");
        const database = new Database(realpathSync(path), connection, readOnly);
        noteOpened(database.path);
        return database;
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

  /** What {@link epoch} would answer if no other process had changed anything since it was last asked. */
  get lastEpoch(): number {
    return this.#epoch;
  }

  /** Says that this connection changed something that other applications of this process must see. */
  touch(): void {
    this.#epoch += 1;
  }

  /**
   * Brings everything from the write-ahead log into the file itself, and empties the log.
   * @returns false when another process reads an older state of the store, or writes
   */
  checkpoint(): boolean {
    try {
      return this.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.busy === 0;
    } catch (error) {
      if (error instanceof Busy) return false;
      throw error;
    }
  }

  /**
   * Closes the store; if nobody else is using it just now, the file alone has everything. SQLite would do that by itself,
   * and remove its log, if this binding finalized its statements before it closes; it leaves them to the garbage collector.
   */
  close(): void {
    if (!this.#connection.isOpen) return;
    try {
      if (!this.#readOnly && walHasBytes(this.path)) this.checkpoint();
    } catch {
      // A full disk, say. What was acknowledged is safe in the log, and whoever opens the store next has it.
    }
    this.#statements.clear();
    this.#connection.close();
    noteClosed(this.path);
  }

  #version(): number {
    return translated(this.path, () => (this.#dataVersion.get() as [number])[0]);
  }
}

function translated<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { sqliteCode, systemErrno } = error as { sqliteCode?: number; systemErrno?: number };
    if (sqliteCode === undefined) throw error;
    const code = sqliteCode & 0xff;
    const system = systemErrno ? getSystemErrorName(-systemErrno) : undefined;
    if (code === SQLITE.busy || code === SQLITE.locked) throw new Busy();
    if (code === SQLITE.notADatabase) throw foreign(path, "a file that SQLite does not know");
    if (code === SQLITE.corrupt) throw new StoreError(path, "the store is damaged", restoreHints(path));
    if (code === SQLITE.readOnly || code === SQLITE.cannotOpen) {
      throw new StoreError(path, "the store cannot be written, or its folder", ["look at the owner and mode of both"]);
    }
    if (code === SQLITE.full || (code === SQLITE.input && (system === "ENOSPC" || system === "EDQUOT"))) {
      throw new StoreError(path, "the disk is full", [], true);
    }
    if (code === SQLITE.input) {
      const why = system === undefined ? "" : `: ${explainSystem(Object.assign(new Error(system), { code: system }))}`;
      throw new StoreError(path, `the store could not be read or written${why}`);
    }
    throw error;
  }
}

/**
 * In WAL mode from the start: nobody has to switch it while others open it. Written without a log: a file that did not
 * become whole goes anyway, and what is written to a log may not fit into the file when the connection closes, silently.
 */
function makeTables(path: string): void {
  const connection = new DatabaseSync(path);
  try {
    connection.exec("PRAGMA journal_mode = OFF; PRAGMA synchronous = FULL");
    connection.exec(`BEGIN; ${SCHEMA} ${marks(SCHEMA_VERSION)} COMMIT; PRAGMA journal_mode = WAL`);
  } finally {
    connection.close();
  }
}

function marks(version: number): string {
  return `PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${version};`;
}

function checkSchema(path: string, connection: Connection, readOnly: boolean): void {
  const pragma = (name: string) => Object.values(connection.prepare(`PRAGMA ${name}`).get())[0] as number;
  judgeMarks(path, pragma("application_id"), pragma("user_version"));
  if (readOnly) return;
  connection.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
  connection.exec("PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON");
  if (pragma("user_version") === SCHEMA_VERSION) return;
  connection.exec("BEGIN IMMEDIATE");
  // Another process may have brought it up to date since we looked.
  for (let version = pragma("user_version"); version < SCHEMA_VERSION; version += 1) {
    connection.exec(`${UPGRADES[version]} ${marks(version + 1)}`);
  }
  connection.exec("COMMIT");
}
