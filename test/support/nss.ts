/**
 * NSS softokn with a key database of its own.
 *
 * It takes its configuration as a string in `pReserved`. Slot 1 is NSS's own cryptography without a store, slot 2 holds
 * keys and certificates. A fresh database has no password: the SO logs in with an empty PIN, and C_InitPIN sets the
 * user's. There is no SO PIN afterwards: once the user's PIN is set, the SO cannot log in any more.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { peerPath } from "./peers.ts";

export interface Nss {
  readonly path: string;
  readonly reserved: string;
  /** The slot that holds keys. */
  readonly slot: 2;
  remove(): void;
}

export function nss(): Nss {
  const folder = mkdtempSync(join(tmpdir(), "keywright-nss-"));
  return {
    path: peerPath("nss") ?? "libsoftokn3.so",
    reserved: `configdir='sql:${folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=`,
    slot: 2,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A module that is softokn with its parameters from NSS_LIB_PARAMS (nss-params.c), compiled into a folder. */
export function nssForOthers(folder: string): string {
  const path = join(folder, "nss-params.so");
  const softokn = `-DSOFTOKN=${JSON.stringify(peerPath("nss"))}`;
  execFileSync("cc", ["-shared", "-fPIC", softokn, "-o", path, join(import.meta.dirname, "nss-params.c"), "-ldl"]);
  return path;
}
