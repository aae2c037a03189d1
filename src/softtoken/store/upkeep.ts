/**
 * Removing a token, copying a store and putting a copy back.
 * @module
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { Refusal } from "../refusal.ts";
import { Database, type OpenMode } from "./database.ts";
import { Busy, StoreError } from "./errors.ts";
import { followed, place, restoreHints } from "./file.ts";
import { Patience } from "./patience.ts";
import { removeToken } from "./tokens.ts";

const LABEL_LENGTH = 32;

async function opened<T>(store: string, mode: OpenMode, work: (db: Database) => T | Promise<T>): Promise<T> {
  const db = Database.open(store, mode);
  try {
    return await work(db);
  } finally {
    db.close();
  }
}

/**
 * Removes a token with all its objects, without any PIN: whoever may write the file may delete it. Applications that
 * have it open see CKR_DEVICE_REMOVED.
 * @param label the token's label, without the blanks that pad it
 * @param serial its 16 hexadecimal digits; both must be given and right
 * @throws StoreError if there is no such store, or no such token in it
 */
export async function deleteToken(store: string, label: string, serial: string): Promise<void> {
  const padded = Buffer.alloc(LABEL_LENGTH, " ");
  padded.write(label);
  await opened(store, "write", async (db) => {
    const patience = new Patience(db);
    const isGone = await patience.write(() => removeToken(db, padded, serial));
    if (!isGone) throw new StoreError(store, `no token with label ${JSON.stringify(label)} and serial ${serial}`);
    await emptyLog(patience);
  });
}

/** What was deleted is overwritten in the store by now; the log and, until it is copied over, the file still have it. */
async function emptyLog(patience: Patience): Promise<void> {
  const { db } = patience;
  try {
    await patience.write(() => {
      if (!db.checkpoint()) throw new Busy();
    });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new StoreError(db.path, "the token is deleted, but what it held, sealed, is still in the file or its log", [
      "another process keeps reading the store: end it, then run: keywright token list",
    ]);
  }
}

/**
 * Writes a copy of a store, as it is at one moment, while others go on using it. The copy is as secret as the store, and
 * its PINs are those of that moment.
 * @param target the new file, 0600, in a folder that is there
 * @throws StoreError if the store cannot be used, there is no such folder, or there is a file at the target already
 */
export async function backupStore(store: string, target: string): Promise<void> {
  // Not made: where a disk is not mounted, the backup would end beside what it is to save.
  const folder = dirname(followed(target));
  if (!existsSync(folder)) {
    throw new StoreError(target, `there is no folder ${folder}`, ["make it, or mount what is to take the backup"]);
  }
  await opened(store, "write", (db) => copyInto(db, target));
}

/**
 * Makes a store of a copy, and looks whether it is one.
 * @throws StoreError if the copy is not a whole store of a known version, if there is a store already, or if files are
 *   left that belong to one that was there
 */
export async function restoreStore(source: string, store: string): Promise<void> {
  const tokens = await opened(source, "read", async (db) => {
    requireSound(db, "the copy is damaged");
    await copyInto(db, store, restoreHints);
    return serials(db);
  });
  await opened(store, "write", (db) => {
    requireSound(db, "it was restored and is damaged", restoreHints);
    if (serials(db) === tokens) return;
    throw new StoreError(store, "it was restored and has other tokens than the copy", restoreHints(store));
  });
}

function requireSound(db: Database, fault: string, hints: (path: string) => string[] = () => []): void {
  const [check] = db.prepare("PRAGMA integrity_check").all();
  if (check?.integrity_check !== "ok") throw new StoreError(db.path, fault, hints(db.path));
}

/** Which tokens there are, told in a way that stores of every version have. */
function serials(db: Database): string {
  return JSON.stringify(db.prepare("SELECT slot, serial, generation FROM token ORDER BY slot").all());
}

const elsewhere = () => ["name another file, or move it away"];

async function copyInto(db: Database, target: string, hints: (path: string) => string[] = elsewhere): Promise<void> {
  const copied = (partial: string) => {
    try {
      db.prepare("VACUUM INTO ?").run(partial);
    } catch (error) {
      if (error instanceof StoreError && error.isFull) throw new StoreError(target, "the disk is full", [], true);
      throw error;
    }
  };
  const isThere = await new Patience(db).write(() => place(target, copied));
  if (!isThere) throw new StoreError(target, "there is a file already, and it is not replaced", hints(target));
}
