/**
 * Markers in the state folder. They say which hooks are still to run, so that each runs at least once whatever happens in
 * between; which key is being replaced while two stand under one identity, for a token has no place to note it; and which
 * tokens were there, so that one whose disk is not mounted is not made anew.
 * @module
 */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { explainSystem, HostError, systemCode } from "../host/errors.ts";
import { makePrivateFolder, writeAtomic } from "../host/files.ts";
import { identityOf } from "../pins/memory.ts";
import { type PresentToken, reachOf, type Surroundings } from "./access.ts";
import type { KeyDeclaration, TokenDeclaration } from "./declaration.ts";
import type { SeenReplacement } from "./observation.ts";

export type MarkerKind =
  /** The hook is to run. */
  | "hooks"
  /** The key under the identity is being replaced. */
  | "replacements"
  /** The token was there. */
  | "tokens";

/** A file of the state folder, and what it is about, for whoever looks into it. */
export interface Marker {
  readonly path: string;
  readonly about: Readonly<Record<string, string>>;
}

/** Of a key: by token, id and label, whatever the declaration calls it. */
export function keyMarker(
  kind: MarkerKind,
  { token, declared, reach }: Pick<PresentToken, "token" | "declared" | "reach">,
  { name, id, label }: KeyDeclaration,
  surroundings: Surroundings,
): Marker {
  const of = [identityOf(token.info, reach), id, label];
  return { path: markerPath(surroundings, kind, "key", of), about: { token: declared.name, key: name } };
}

/** Of a declared token, which need not be there yet, or any more. */
export function tokenMarker(
  kind: "hooks" | "tokens",
  declared: TokenDeclaration,
  surroundings: Pick<Surroundings, "state" | "reach">,
): Marker {
  const { label, serial, uri, slot } = declared;
  const of = [reachOf(declared, surroundings), label, serial, uri, slot];
  return { path: markerPath(surroundings, kind, "token", of), about: { token: declared.name } };
}

function markerPath(
  { state }: Pick<Surroundings, "state">,
  kind: MarkerKind,
  what: string,
  of: readonly unknown[],
): string {
  const scope = createHash("sha256").update(JSON.stringify(of)).digest("hex").slice(0, 16);
  return join(state, kind, `${what}-${scope}.json`);
}

/** @throws HostError when that cannot be seen: it is not taken for "no" */
export function isMarked({ path }: Marker): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    throw new HostError(`cannot look for ${path}: ${explainSystem(error)}`, {
      cause: error,
      hints: ["run this as the user whose state folder it is, or name another one: --state"],
    });
  }
}

/** @throws HostError */
export async function mark({ path, about }: Marker, note?: SeenReplacement): Promise<void> {
  makePrivateFolder(dirname(path));
  await writeAtomic(path, `${JSON.stringify({ ...about, ...note })}\n`);
}

/** @throws HostError */
export async function unmark({ path }: Marker): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return;
    throw new HostError(`cannot remove ${path}: ${explainSystem(error)}`, { cause: error });
  });
}

/**
 * What a run that did not end was replacing; undefined when there was none, or when the marker says something else: then a
 * person decides.
 * @throws HostError when it cannot be read
 */
export function replacementIn(marker: Marker): SeenReplacement | undefined {
  let text: string;
  try {
    text = readFileSync(marker.path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw new HostError(`cannot read ${marker.path}: ${explainSystem(error)}`, { cause: error });
  }
  try {
    const { replaces, by, archive } = JSON.parse(text) as Partial<SeenReplacement>;
    if (!Array.isArray(replaces) || !replaces.every((one) => typeof one === "string")) return undefined;
    const isIdentity = typeof archive?.id === "string" && typeof archive.label === "string";
    return {
      replaces,
      ...(typeof by === "string" ? { by } : {}),
      ...(isIdentity ? { archive: { id: archive.id, label: archive.label } } : {}),
    };
  } catch {
    return undefined;
  }
}
