/**
 * What can be wrong with a store.
 * @module
 */
import { KeywrightError } from "../../cryptoki/errors.ts";

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

/** A file that is no store. */
export function foreign(path: string, found: string): StoreError {
  return new StoreError(path, `found ${found}, expected a Keywright token store`, ["name another file"]);
}
