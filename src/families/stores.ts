/**
 * Where a family's objects live: how its library is told of the folder that a declaration calls `store`.
 * @module
 */
import { KeywrightError } from "../cryptoki/errors.ts";
import type { Family, FamilyName } from "./families.ts";

/** What makes a library use a folder. */
export interface StoreSettings {
  /** Variables for the library; declared ones win. */
  readonly environment?: Readonly<Record<string, string>>;
  /** The string for `pReserved` of C_Initialize; a declared one wins. */
  readonly reserved?: string;
  /** Folders that have to be there, below the store. */
  readonly folders?: readonly string[];
  /** A file that the library reads, written when it is missing. */
  readonly file?: { readonly path: string; readonly contents: string };
}

/** What is known of the store. */
export interface StoreWish {
  /** The folder, an absolute path. */
  readonly folder: string;
  /** The declared label of the token. */
  readonly label?: string;
}

/** A store that the family cannot use. */
export class StoreError extends KeywrightError {
  override readonly code = "ERR_STORE";
}

const STORES: { readonly [F in FamilyName]?: (wish: StoreWish) => StoreSettings } = {
  softhsm: ({ folder }) => {
    const path = `${folder}/softhsm2.conf`;
    const tokens = `${folder}/tokens`;
    // Its configuration has no quoting: a value ends at `#`, and blanks at its ends are cut off.
    if (/[#\n]/.test(folder)) throw new StoreError(`SoftHSM2 cannot use a folder with # or a line break: ${folder}`);
    const contents = `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`;
    return { environment: { SOFTHSM2_CONF: path }, folders: [tokens], file: { path, contents } };
  },
  tpm2: ({ folder }) => ({
    environment: {
      TPM2_PKCS11_STORE: folder,
      // The other one, FAPI, is set up for the whole machine and writes its keys elsewhere.
      TPM2_PKCS11_BACKEND: "esysdb",
      TPM2_PKCS11_LOG_LEVEL: "0",
      // Without it, each attempt to find a FAPI configuration writes to standard error.
      TSS2_LOG: "fapi+NONE",
    },
  }),
  nss: ({ folder, label }) => ({
    reserved: [
      `configdir='${quoted(`sql:${folder}`)}'`,
      "certPrefix='' keyPrefix='' secmod='secmod.db' flags=",
      // NSS stores no label: whoever opens the folder says what it is called.
      ...(label === undefined ? [] : [`dbTokenDescription='${quoted(label)}'`]),
    ].join(" "),
  }),
};

/** What makes a library of the family use a folder; undefined for a family whose keys are not in a folder. */
export function storeSettings({ name }: Family, wish: StoreWish): StoreSettings | undefined {
  return STORES[name]?.(wish);
}

/** NSS's module parameters: a backslash before each quote and backslash. */
function quoted(text: string): string {
  return text.replace(/['\\]/g, "\\$&");
}
