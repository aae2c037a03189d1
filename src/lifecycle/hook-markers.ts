/**
 * Markers in the state folder: they say which hooks are still to run, so that each runs at least once whatever happens in
 * between.
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { explainSystem, HostError, systemCode } from "../host/errors.ts";
import { makePrivateFolder, writeAtomic } from "../host/files.ts";
import type { Surroundings } from "./access.ts";
import type { TokenDeclaration } from "./declaration.ts";

/** Where markers are, and where a declaration's relative paths start from. */
type Place = Pick<Surroundings, "state" | "folder">;

/** Whose hook: a key's, or the token's own. */
export interface HookOf {
  readonly token: TokenDeclaration;
  readonly key?: string;
}

/** Declarations that share a state folder may have keys of one name in different tokens. */
function markerPath({ state, folder }: Place, { token, key }: HookOf): string {
  const { module, store, label, serial, uri, slot } = token;
  const where = store === undefined ? undefined : resolve(folder, store);
  const scope = createHash("sha256")
    .update(JSON.stringify([module, where, label, serial, uri, slot]))
    .digest("hex");
  return join(state, "hooks", `${key === undefined ? "token" : `key-${key}`}-${scope.slice(0, 12)}.json`);
}

export function isPending(place: Place, of: HookOf): boolean {
  return existsSync(markerPath(place, of));
}

/** Notes that a hook is to run. @throws HostError */
export async function markHook(place: Place, of: HookOf): Promise<void> {
  const path = markerPath(place, of);
  makePrivateFolder(dirname(path));
  // For whoever looks into the folder; that it is there is what counts.
  await writeAtomic(path, `${JSON.stringify({ token: of.token.name, key: of.key })}\n`);
}

/** Notes that it has run. @throws HostError */
export async function unmarkHook(place: Place, of: HookOf): Promise<void> {
  const path = markerPath(place, of);
  await unlink(path).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return;
    throw new HostError(`cannot remove ${path}: ${explainSystem(error)}`, { cause: error });
  });
}
