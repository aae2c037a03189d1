/**
 * Tokens in the store: verbs over the table `token`. What a PIN opens is not known here (login.ts).
 * @module
 */
import type { Database, Row } from "./database.ts";

/** Which of a token's two PINs. */
export type PinOwner = "so" | "user";

/** One token, as it is in the store. */
export interface TokenRow {
  readonly slot: number;
  /** 16 hexadecimal digits. */
  readonly serial: string;
  /** 32 bytes, blank-padded. */
  readonly label: Uint8Array;
  /** Counts C_InitToken. */
  readonly generation: number;
  /** How many wrong PINs in a row lock a PIN. */
  readonly tries: number;
  readonly soWrap: Uint8Array;
  readonly soLeft: number;
  /** How many PINs were refused since the last right one. A try that is taken off may not have come to that. */
  readonly soRefused: number;
  readonly userWrap: Uint8Array | undefined;
  readonly userLeft: number;
  readonly userRefused: number;
}

/** What a token is made with. */
export type NewToken = Omit<TokenRow, "soRefused" | "userRefused">;

const NEW_COLUMNS = "slot, serial, label, generation, tries, so_wrap, so_left, user_wrap, user_left";
const COLUMNS = `${NEW_COLUMNS}, so_refused, user_refused`;

function token(row: Row): TokenRow {
  return {
    slot: row.slot as number,
    serial: row.serial as string,
    label: row.label as Uint8Array,
    generation: row.generation as number,
    tries: row.tries as number,
    soWrap: row.so_wrap as Uint8Array,
    soLeft: row.so_left as number,
    soRefused: row.so_refused as number,
    userWrap: (row.user_wrap as Uint8Array | null) ?? undefined,
    userLeft: row.user_left as number,
    userRefused: row.user_refused as number,
  };
}

export function listTokens(db: Database): TokenRow[] {
  return db.prepare(`SELECT ${COLUMNS} FROM token ORDER BY slot`).all().map(token);
}

export function findToken(db: Database, slot: number): TokenRow | undefined {
  const row = db.prepare(`SELECT ${COLUMNS} FROM token WHERE slot = ?`).get(slot);
  return row === undefined ? undefined : token(row);
}

/** The number of the slot that holds no token yet. */
export function freeSlot(db: Database): number {
  const row = db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'token'").get();
  return row === undefined ? 0 : (row.seq as number) + 1;
}

/** @throws an error of SQLite when the slot was taken meanwhile */
export function insertToken(db: Database, row: NewToken): void {
  db.prepare(`INSERT INTO token (${NEW_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`).run(
    row.slot,
    row.serial,
    row.label,
    row.generation,
    row.tries,
    row.soWrap,
    row.soLeft,
    row.userWrap ?? null,
    row.userLeft,
  );
  db.touch();
}

/** Makes a token new again: its objects are gone, its generation is the next, it has no user PIN. */
export function renewToken(db: Database, row: NewToken): boolean {
  return db.transaction(() => {
    const sql =
      "UPDATE token SET label = ?, generation = ?, tries = ?, so_wrap = ?, so_left = ?, user_wrap = NULL, user_left = ?, " +
      "so_refused = 0, user_refused = 0 " +
      "WHERE slot = ? AND serial = ? AND generation = ?";
    const { changes } = db
      .prepare(sql)
      .run(
        row.label,
        row.generation,
        row.tries,
        row.soWrap,
        row.soLeft,
        row.userLeft,
        row.slot,
        row.serial,
        row.generation - 1,
      );
    if (changes === 1) db.prepare("DELETE FROM object WHERE slot = ?").run(row.slot);
    db.touch();
    return changes === 1;
  });
}

/**
 * Replaces what a PIN opens and gives all tries back.
 * @param before what it replaces: another process may have set a new PIN meanwhile; any when left out
 * @returns false when the token, or what was to be replaced, is not what it was
 */
export function setWrap(db: Database, row: TokenRow, owner: PinOwner, wrap: Uint8Array, before?: Uint8Array): boolean {
  const sql =
    `UPDATE token SET ${owner}_wrap = ?1, ${owner}_left = tries, ${owner}_refused = 0 ` +
    `WHERE slot = ?2 AND serial = ?3 AND generation = ?4 AND (?5 IS NULL OR ${owner}_wrap = ?5)`;
  const { changes } = db.prepare(sql).run(wrap, row.slot, row.serial, row.generation, before ?? null);
  db.touch();
  return changes === 1;
}

/** Takes one try off, durably; false when none is left. */
export function debitTry(db: Database, row: TokenRow, owner: PinOwner): boolean {
  const sql =
    `UPDATE token SET ${owner}_left = ${owner}_left - 1 ` +
    `WHERE slot = ? AND serial = ? AND generation = ? AND ${owner}_left > 0`;
  return db.prepare(sql).run(row.slot, row.serial, row.generation).changes === 1;
}

/** Gives all tries back. */
export function restoreTries(db: Database, row: TokenRow, owner: PinOwner): void {
  const sql = `UPDATE token SET ${owner}_left = tries, ${owner}_refused = 0 WHERE slot = ? AND serial = ? AND generation = ?`;
  db.prepare(sql).run(row.slot, row.serial, row.generation);
}

/** Notes, durably, that a PIN was refused. */
export function noteRefusal(db: Database, row: TokenRow, owner: PinOwner): void {
  const sql = `UPDATE token SET ${owner}_refused = ${owner}_refused + 1 WHERE slot = ? AND serial = ? AND generation = ?`;
  db.prepare(sql).run(row.slot, row.serial, row.generation);
}

/** Removes a token and its objects; false when there is none of that label and serial number. */
export function removeToken(db: Database, label: Uint8Array, serial: string): boolean {
  return db.transaction(() => {
    const row = db.prepare("SELECT slot FROM token WHERE serial = ? AND label = ?").get(serial, label);
    if (row === undefined) return false;
    db.prepare("DELETE FROM object WHERE slot = ?").run(row.slot!);
    db.prepare("DELETE FROM token WHERE slot = ?").run(row.slot!);
    db.touch();
    return true;
  });
}
