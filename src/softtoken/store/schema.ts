/**
 * The tables of a store, and the marks that tell a store from any other file.
 * @module
 */

/** PRAGMA application_id: "KwST". */
export const APPLICATION_ID = 0x4b775354;

/** PRAGMA user_version. A store of a newer version is refused, untouched; an older one is brought up to it. */
export const SCHEMA_VERSION = 2;

/**
 * `token.slot` and `object.id` are never given out twice (AUTOINCREMENT): slot numbers are stable and handles cannot
 * come to mean another object. The columns `class` to `issuer` hold index entries, not values: truncated SHA-256 for
 * public objects, truncated HMAC under a key of the token for private ones. `mac` stands over the attributes of a public
 * object that was made under a login, and over the index entries of a private one.
 */
export const SCHEMA = `
CREATE TABLE token (
  slot INTEGER PRIMARY KEY AUTOINCREMENT,
  serial TEXT NOT NULL UNIQUE,
  label BLOB NOT NULL,
  generation INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  so_wrap BLOB NOT NULL,
  so_left INTEGER NOT NULL,
  so_refused INTEGER NOT NULL DEFAULT 0,
  user_wrap BLOB,
  user_left INTEGER NOT NULL,
  user_refused INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE object (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  slot INTEGER NOT NULL REFERENCES token (slot),
  uid BLOB NOT NULL,
  revision INTEGER NOT NULL,
  private INTEGER NOT NULL,
  class BLOB NOT NULL,
  label BLOB,
  keyid BLOB,
  subject BLOB,
  issuer BLOB,
  attributes BLOB NOT NULL,
  secrets BLOB,
  mac BLOB
) STRICT;
CREATE INDEX object_class ON object (class);
CREATE INDEX object_label ON object (label) WHERE label IS NOT NULL;
CREATE INDEX object_keyid ON object (keyid) WHERE keyid IS NOT NULL;
CREATE INDEX object_subject ON object (subject) WHERE subject IS NOT NULL;
CREATE INDEX object_issuer ON object (issuer) WHERE issuer IS NOT NULL;
`;

/** By the version that a store has: what makes it one of the next. */
export const UPGRADES: Readonly<Record<number, string>> = {
  1: `
ALTER TABLE token ADD COLUMN so_refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE token ADD COLUMN user_refused INTEGER NOT NULL DEFAULT 0;
`,
};
