/**
 * The built-in token: many PKCS#11 tokens in one SQLite file, without hardware.
 *
 * What it protects: secrets at rest against whoever has the file but no PIN; what is made under a login, TRUSTED,
 * MODIFIABLE, COPYABLE and DESTROYABLE included, against whoever can write it. What it does not (docs/softtoken.md):
 * putting back an older copy of the file or of one object, deleting from it, the count of tries in a copy of it, and the
 * memory of a process that is logged in. The SO PIN alone opens the file too, unless the token was made with
 * `soRecovery: false`; then a lost user PIN is a lost token.
 * @module
 */
import type { Provider } from "../cryptoki/port.ts";
import { SCRYPT_COST } from "../seal/scrypt.ts";
import { Application, type Settings } from "./application.ts";
import { PIN_TRIES } from "./identity.ts";
import { cryptokiOf } from "./provider.ts";
import { Database } from "./store/database.ts";
import { Patience } from "./store/patience.ts";

export { StoreError } from "./store/errors.ts";
export { backupStore, deleteToken, restoreStore } from "./store/upkeep.ts";

export interface SoftTokenOptions {
  /** The store: one SQLite file, made 0600 in a 0700 folder when missing. */
  readonly store: string;
  /** log2 of scrypt's N for PINs set from now on, 10 to 20; 16 by default. */
  readonly scryptCost?: number;
  /**
   * Whether the SO PIN of tokens initialised from now on opens the secrets too, so that the SO can reset the user PIN;
   * true by default.
   */
  readonly soRecovery?: boolean;
  /** How many wrong PINs in a row lock a PIN of tokens initialised from now on, from 1; 10 by default. */
  readonly pinTries?: number;
}

/** @throws RangeError */
function settingsOf(options: SoftTokenOptions): Settings {
  const { scryptCost = SCRYPT_COST.default, soRecovery = true, pinTries = PIN_TRIES } = options;
  if (!Number.isInteger(scryptCost) || scryptCost < SCRYPT_COST.least || scryptCost > SCRYPT_COST.most) {
    throw new RangeError(`scryptCost ${scryptCost}: give ${SCRYPT_COST.least} to ${SCRYPT_COST.most}`);
  }
  if (!Number.isInteger(pinTries) || pinTries < 1) throw new RangeError(`pinTries ${pinTries}: give 1 or more`);
  return { scryptCost, soRecovery, pinTries };
}

/**
 * The tokens of a store. Nothing is opened or made before the first `open()`.
 *
 * Every call answers at once, but for C_Login, C_SetPIN, C_InitPIN, C_InitToken, the generation of RSA and SLH-DSA keys,
 * and any call that finds another process writing to the store: those answer with a promise.
 * @throws RangeError if an option is out of its bounds
 */
export function softToken(options: SoftTokenOptions): Provider {
  const settings = settingsOf(options);
  let patience: Patience | undefined;
  const applications = new Set<Application>();
  return {
    /** @throws StoreError if the file is not a store, or one of a newer version */
    open() {
      patience ??= new Patience(Database.open(options.store, "create"));
      return cryptokiOf(new Application(patience, settings, applications));
    },
    close() {
      for (const app of applications) app.finalize();
      patience?.db.close();
      patience = undefined;
    },
  };
}
