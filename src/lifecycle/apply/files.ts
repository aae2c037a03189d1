/**
 * The steps of a plan that write files.
 * @module
 */
import { dirname, resolve } from "node:path";
import { findOwner } from "../../host/accounts.ts";
import { makeFolder, writeAtomic } from "../../host/files.ts";
import type { Publication } from "../declaration.ts";
import { type Chain, publishedContents } from "../plan/publish.ts";

/** Writes published files, each whole or not at all; folders that are missing are made. */
export async function publish(files: readonly Publication[], chain: Chain, uri: string, folder: string): Promise<void> {
  for (const { path, what, mode, owner } of files) {
    const whole = resolve(folder, path);
    makeFolder(dirname(whole));
    await writeAtomic(whole, publishedContents(what, chain, uri), {
      mode,
      owner: owner === undefined ? undefined : await findOwner(owner),
    });
  }
}
