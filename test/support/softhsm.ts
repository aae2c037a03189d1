/** SoftHSM2 with a token folder of its own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { peerPath } from "./peers.ts";

export interface SoftHsm {
  readonly path: string;
  readonly environment: { readonly SOFTHSM2_CONF: string };
  /** A folder for `store:` instead; not there yet. */
  readonly store: string;
  /** The folder that holds the tokens. */
  readonly tokens: string;
  /** Removes the folder. The library may not be in use any more. */
  remove(): void;
}

/**
 * A configuration and an empty token folder. One library is one instance per process, so a test file has one of these.
 */
export function softHsm(): SoftHsm {
  const folder = mkdtempSync(join(tmpdir(), "keywright-softhsm-"));
  const tokens = join(folder, "tokens");
  mkdirSync(tokens);
  const configuration = join(folder, "softhsm2.conf");
  writeFileSync(
    configuration,
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n`,
  );
  return {
    path: peerPath("softhsm2") ?? "/usr/lib/softhsm/libsofthsm2.so",
    environment: { SOFTHSM2_CONF: configuration },
    store: join(folder, "store"),
    tokens,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
