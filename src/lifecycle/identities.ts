/**
 * Under which CKA_ID and CKA_LABEL the objects of a key stand: the declared ones, those of a key that is being prepared,
 * and those of one that was replaced.
 * @module
 */
import { createHash } from "node:crypto";
import type { KeyDeclaration } from "./declaration.ts";
import type { SeenObject, SeenReplacement } from "./observation.ts";

/** CKA_ID in hexadecimal, and CKA_LABEL. */
export interface Identity {
  readonly id: string;
  readonly label: string;
}

/** Where an object of a token belongs, seen from a declared key. */
export type Standing =
  /** It has the declared identity. */
  | "final"
  /** It is being prepared to replace the key. */
  | "new"
  /** It was replaced, and kept. */
  | "archived"
  /** It has the declared id and another label, or the declared label and another id. */
  | "conflict"
  | "other";

export function finalIdentity({ id, label }: KeyDeclaration): Identity {
  return { id, label };
}

/** It is compared with every object of the token. */
const newIdentities = new WeakMap<KeyDeclaration, Identity>();

/** The identity of a replacement until it is proven. */
export function newIdentity(key: KeyDeclaration): Identity {
  let identity = newIdentities.get(key);
  if (identity === undefined) {
    identity = { id: shortDigest("new", key.id, key.label), label: `${key.label}~new` };
    newIdentities.set(key, identity);
  }
  return identity;
}

/**
 * The identity that what is replaced takes: the one that an earlier run began to give it; else that of this second, or of
 * the next that no other has taken.
 */
export function archiveAt(
  key: KeyDeclaration,
  objects: readonly SeenObject[],
  begun: SeenReplacement | undefined,
  now: Date,
): Identity {
  const isBegun = begun?.replaces.some((digest) =>
    objects.some(({ id, publicKey }) => id === key.id && (publicKey ?? "") === digest),
  );
  if (isBegun === true && begun?.archive !== undefined) return begun.archive;
  const taken = new Set(objects.map(({ id }) => id));
  for (let at = now.getTime(); ; at += 1000) {
    const identity = archiveIdentity(key, new Date(at));
    if (!taken.has(identity.id)) return identity;
  }
}

/** The identity of a key that was replaced at a time; the label names the second (UTC). */
function archiveIdentity(key: KeyDeclaration, at: Date): Identity {
  const stamp = at.toISOString().replace(/[-:]|\.\d+/g, "");
  return { id: archiveId(key, stamp), label: `${key.label}~${stamp}` };
}

function archiveId(key: KeyDeclaration, stamp: string): string {
  return shortDigest("archive", key.id, key.label, stamp);
}

/** Eight bytes: every token takes ids that long, and none is likely to have this one already. */
function shortDigest(...parts: string[]): string {
  return createHash("sha256")
    .update(["keywright", ...parts].join("\n"))
    .digest("hex")
    .slice(0, 16);
}

/** @param labels whether the token keeps the labels that objects are given */
export function standing(object: SeenObject, key: KeyDeclaration, labels: boolean): Standing {
  // The ids are made from the key's own, so that nobody has them by chance; labels alone anybody may give.
  if (object.id === newIdentity(key).id) return "new";
  if (object.id === key.id) {
    // Programs give certificates labels of their own; the id alone says whose they are.
    return !labels || object.label === key.label || object.class !== "private" ? "final" : "conflict";
  }
  if (!labels) return "other";
  if (object.label.startsWith(`${key.label}~`)) {
    const stamp = object.label.slice(key.label.length + 1);
    if (object.id === archiveId(key, stamp)) return "archived";
  }
  return object.label === key.label && object.class === "private" ? "conflict" : "other";
}
