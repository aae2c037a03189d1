/**
 * Objects in the store: verbs over the table `object`. What is sealed is not opened here.
 * @module
 */
import type { Database, Row } from "./database.ts";

/** The fields by which objects are found without being decoded. */
export const INDEXED = ["keyid", "label", "subject", "issuer", "class"] as const;
export type IndexedField = (typeof INDEXED)[number];

/** Index entries of an object; `class` is always there. */
export type IndexEntries = { readonly [F in IndexedField]?: Uint8Array };

export interface ObjectRow {
  readonly id: number;
  readonly slot: number;
  readonly uid: Uint8Array;
  /** Counts changes. */
  readonly revision: number;
  readonly private: boolean;
  readonly index: IndexEntries;
  readonly attributes: Uint8Array;
  readonly secrets: Uint8Array | undefined;
  readonly mac: Uint8Array | undefined;
}

/** What is written of an object. */
export interface NewObject {
  readonly uid: Uint8Array;
  readonly private: boolean;
  readonly index: IndexEntries;
  readonly attributes: Uint8Array;
  readonly secrets: Uint8Array | undefined;
  readonly mac: Uint8Array | undefined;
}

/** What an object must match. Each list holds the entry for public and, when logged in, for private objects. */
export type Query = { readonly [F in IndexedField]?: readonly Uint8Array[] };

/** Whether the token of a slot is still the one that was opened. */
const STILL = "EXISTS (SELECT 1 FROM token WHERE slot = ? AND serial = ? AND generation = ?)";

export interface Owner {
  readonly slot: number;
  readonly serial: string;
  readonly generation: number;
}

/** The number of the new object; undefined when the token is not of that generation any more. */
export function insertObject(db: Database, owner: Owner, object: NewObject): number | undefined {
  const sql =
    "INSERT INTO object (slot, uid, revision, private, class, label, keyid, subject, issuer, attributes, secrets, mac) " +
    `SELECT ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE ${STILL}`;
  const { index } = object;
  const { changes, lastInsertRowid } = db
    .prepare(sql)
    .run(
      owner.slot,
      object.uid,
      Number(object.private),
      index.class ?? null,
      index.label ?? null,
      index.keyid ?? null,
      index.subject ?? null,
      index.issuer ?? null,
      object.attributes,
      object.secrets ?? null,
      object.mac ?? null,
      owner.slot,
      owner.serial,
      owner.generation,
    );
  return changes === 1 ? Number(lastInsertRowid) : undefined;
}

/** Replaces an object's contents; false when it was changed or removed since that revision. */
export function replaceObject(db: Database, id: number, revision: number, object: NewObject): boolean {
  const sql =
    "UPDATE object SET revision = revision + 1, class = ?, label = ?, keyid = ?, subject = ?, issuer = ?, " +
    "attributes = ?, secrets = ?, mac = ? WHERE id = ? AND revision = ?";
  const { index } = object;
  const { changes } = db
    .prepare(sql)
    .run(
      index.class ?? null,
      index.label ?? null,
      index.keyid ?? null,
      index.subject ?? null,
      index.issuer ?? null,
      object.attributes,
      object.secrets ?? null,
      object.mac ?? null,
      id,
      revision,
    );
  db.touch();
  return changes === 1;
}

/** False when it was gone already. */
export function removeObject(db: Database, id: number): boolean {
  const { changes } = db.prepare("DELETE FROM object WHERE id = ?").run(id);
  db.touch();
  return changes === 1;
}

function indexIn(row: Row): IndexEntries {
  return Object.fromEntries(INDEXED.filter((field) => row[field] !== null).map((field) => [field, row[field]]));
}

function object(row: Row): ObjectRow {
  return {
    id: row.id as number,
    slot: row.slot as number,
    uid: row.uid as Uint8Array,
    revision: row.revision as number,
    private: row.private === 1,
    index: indexIn(row),
    attributes: row.attributes as Uint8Array,
    secrets: (row.secrets as Uint8Array | null) ?? undefined,
    mac: (row.mac as Uint8Array | null) ?? undefined,
  };
}

const COLUMNS = `id, slot, uid, revision, private, ${INDEXED.join(", ")}, attributes, secrets, mac`;

export function readObject(db: Database, id: number): ObjectRow | undefined {
  const row = db.prepare(`SELECT ${COLUMNS} FROM object WHERE id = ?`).get(id);
  return row === undefined ? undefined : object(row);
}

/** By what an object is found, and what says that it is rightly so. */
export interface Entries {
  readonly uid: Uint8Array;
  readonly index: IndexEntries;
  /** The last bytes of the attributes, sealed or not. */
  readonly tail: Uint8Array;
  readonly mac: Uint8Array | undefined;
}

/** How many bytes of the attributes {@link Entries} have. */
export const TAIL_LENGTH = 16;

export function readEntries(db: Database, id: number): Entries | undefined {
  const columns = `uid, ${INDEXED.join(", ")}, substr(attributes, -${TAIL_LENGTH}) AS tail, mac`;
  const row = db.prepare(`SELECT ${columns} FROM object WHERE id = ?`).get(id);
  if (row === undefined) return undefined;
  return {
    uid: row.uid as Uint8Array,
    index: indexIn(row),
    tail: row.tail as Uint8Array,
    mac: (row.mac as Uint8Array | null) ?? undefined,
  };
}

/** The revision of an object; undefined when it is gone. */
export function readRevision(db: Database, id: number): number | undefined {
  return db.prepare("SELECT revision FROM object WHERE id = ?").get(id)?.revision as number | undefined;
}

/** Numbers of the objects that match, in the order of their making, and whether each is private. */
export function findObjects(
  db: Database,
  slot: number,
  query: Query,
  includePrivate: boolean,
): { id: number; private: boolean }[] {
  const fields = INDEXED.filter((field) => query[field] !== undefined);
  const values: (number | Uint8Array)[] = [];
  // The most telling field leads; a `+` keeps the planner from taking another index.
  const conditions = fields.map((field, i) => {
    const entries = query[field]!;
    values.push(...entries);
    return `${i === 0 ? "" : "+"}${field} IN (${entries.map(() => "?").join(", ")})`;
  });
  const visible = includePrivate ? "" : " AND private = 0";
  const sql = `SELECT id, private FROM object WHERE ${[...conditions, "+slot = ?"].join(" AND ")}${visible} ORDER BY id`;
  return db
    .prepare(sql)
    .all(...values, slot)
    .map((row) => ({ id: row.id as number, private: row.private === 1 }));
}
