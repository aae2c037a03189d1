/**
 * Removing a token, copying a store and putting a copy back.
 * @module
 */
import { Database, type OpenMode } from "./database.ts";
import { StoreError } from "./errors.ts";
import { place } from "./file.ts";
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
    const isGone = await new Patience(db).write(() => removeToken(db, padded, serial));
    if (!isGone) throw new StoreError(store, `no token with label ${JSON.stringify(label)} and serial ${serial}`);
  });
}

/**
 * Writes a copy of a store, as it is at one moment, while others go on using it. The copy is as secret as the store, and
 * its PINs are those of that moment.
 * @param target the new file, 0600
 * @throws StoreError if the store cannot be used, or there is a file at the target already
 */
export async function backupStore(store: string, target: string): Promise<void> {
  await opened(store, "write", (db) => copyInto(db, target));
}

/**
 * Makes a store of a copy.
 * @throws StoreError if the copy is not a whole store of a known version, or there is a store already
 */
export async function restoreStore(source: string, store: string): Promise<void> {
  await opened(source, "read", (db) => {
    const [check] = db.prepare("PRAGMA integrity_check").all();
    if (check?.integrity_check !== "ok") throw new StoreError(source, "the copy is damaged");
    return copyInto(db, store);
  });
}

async function copyInto(db: Database, target: string): Promise<void> {
  const isThere = await new Patience(db).write(() =>
    place(target, (partial) => db.prepare("VACUUM INTO ?").run(partial)),
  );
  if (isThere) return;
  throw new StoreError(target, "there is a file already, and it is not replaced", [
    "name another file, or move it away",
  ]);
}
