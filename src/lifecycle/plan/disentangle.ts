/**
 * Telling apart what stands under one identity: the key that is current, a replacement that is under way, and what was
 * replaced. Every half-done state of a rotation is one of these, and the steps that finish it follow from it.
 * @module
 */
import type { SeenObject, SeenReplacement } from "../observation.ts";
import { certificateFacts } from "./certificate.ts";

/** The objects of one key in a token, by where they stand. */
export interface KeyObjects {
  readonly final: readonly SeenObject[];
  readonly fresh: readonly SeenObject[];
  readonly archived: readonly SeenObject[];
  readonly replacement: SeenReplacement | undefined;
}

/** What they amount to. */
export interface Disentangled {
  /** The private key that is, or is about to be, the key; undefined when there is none. */
  readonly privateKey: SeenObject | undefined;
  /** SHA-256 of its SubjectPublicKeyInfo, where known. */
  readonly publicKey: string | undefined;
  /** SubjectPublicKeyInfo, base64. */
  readonly spki: string | undefined;
  /** Its newest certificate. */
  readonly certificate: SeenObject | undefined;
  /** Objects that are still to take the final identity. */
  readonly promote: readonly SeenObject[];
  /** Objects that are to give it up. */
  readonly archive: readonly SeenObject[];
  /** Why nothing can be decided; everything else is then empty. */
  readonly refuse?: string;
}

const privates = (objects: readonly SeenObject[]) => objects.filter((object) => object.class === "private");

/** Sorts the objects of a key. */
export function disentangle(objects: KeyObjects): Disentangled {
  const { final, fresh } = objects;
  const all = [...final, ...fresh];
  const wanted = currentKey(objects);
  if (typeof wanted === "object") return nothing(wanted.refuse);
  // What does not tell whose it is belongs to the key, unless that has its private key already.
  const isTold = wanted !== undefined && privates(all).some(({ publicKey }) => publicKey === wanted);
  const belongs = ({ class: kind, publicKey }: SeenObject) =>
    wanted === undefined || publicKey === wanted || (publicKey === undefined && !(isTold && kind === "private"));
  const privateKey = privates(all).find(belongs);
  const certificate = newest(all.filter((object) => object.class === "certificate" && object.publicKey === wanted));
  const duplicates = privates(all).filter(belongs);
  if (duplicates.length > 1)
    return nothing(`${duplicates.length} private keys have its identity, and nothing tells them apart`);
  const old = final.filter(
    (object) =>
      !belongs(object) || (object.class === "certificate" && certificate !== undefined && object !== certificate),
  );
  const replaced = replacedKeys(objects);
  const stranger =
    fresh.length > 0
      ? besideReplacement(
          objects,
          old.filter((object) => !belongs(object)),
        )
      : old.find((object) => !belongs(object) && !replaced.has(object.publicKey ?? ""));
  if (typeof stranger === "string") return nothing(stranger);
  if (stranger !== undefined) {
    const what = stranger.class === "certificate" ? "the certificate" : `a ${stranger.class} key`;
    const whose =
      stranger.publicKey === undefined ? "" : ` (SHA-256 of its public key: ${stranger.publicKey.slice(0, 16)}…)`;
    return nothing(`${what} with its id belongs to another key${whose}, and is not what was replaced`);
  }
  return {
    privateKey,
    publicKey: wanted,
    spki: all.find((object) => object.publicKey === wanted && object.spki !== undefined)?.spki,
    certificate,
    promote: fresh.filter(belongs),
    archive: old,
  };
}

/**
 * While a replacement is under way, what stands under the identity without belonging to it is one key, with what belongs
 * to that: the one that is replaced.
 */
function besideReplacement(objects: KeyObjects, old: readonly SeenObject[]): SeenObject | string | undefined {
  const replaced = replacedKeys(objects);
  const others = old.filter(({ publicKey }) => !replaced.has(publicKey ?? ""));
  if (others.length < old.length) return others[0];
  return disentangle({ ...objects, final: old, fresh: [] }).refuse;
}

/**
 * The public keys, by digest, that an earlier run has replaced: those that its marker names, as long as the key is there
 * that was to take their place; and those of which a part was archived, under an id that nobody has by chance. Of no other
 * key is it known, however much it looks like one that was replaced: somebody put it there.
 */
function replacedKeys({ final, fresh, archived, replacement }: KeyObjects): ReadonlySet<string> {
  const known = archived.flatMap(({ publicKey }) => (publicKey === undefined ? [] : [publicKey]));
  const isThere =
    replacement?.by !== undefined && [...final, ...fresh].some(({ publicKey }) => publicKey === replacement.by);
  return new Set([...known, ...(isThere ? replacement.replaces : [])]);
}

function nothing(refuse: string): Disentangled {
  return {
    privateKey: undefined,
    publicKey: undefined,
    spki: undefined,
    certificate: undefined,
    promote: [],
    archive: [],
    refuse,
  };
}

/**
 * The public key, by digest, of the key that is or is about to be current. A replacement under way wins: it was proven
 * before any of its objects took the final identity. Without one, it is the key that was not replaced.
 */
function currentKey(objects: KeyObjects): string | undefined | { refuse: string } {
  const { final, fresh } = objects;
  const replacement = distinct(fresh);
  if (replacement.length > 1) return { refuse: "two replacements are being prepared at once" };
  if (replacement.length === 1) return replacement[0];
  if (privates(final).length === 0) return distinct(final)[0];
  const keys = distinct(privates(final));
  if (
    keys.length === 1 &&
    (privates(final).length === 1 || privates(final).every((one) => one.publicKey !== undefined))
  )
    return keys[0];
  if (privates(final).length === 1) return undefined;
  const replaced = replacedKeys(objects);
  const [left, ...more] = privates(final).filter(({ publicKey }) => !replaced.has(publicKey ?? ""));
  if (left?.publicKey !== undefined && more.length === 0) return left.publicKey;
  return {
    refuse: `${privates(final).length} private keys have its id, and nothing tells which of them replaces the other`,
  };
}

function distinct(objects: readonly SeenObject[]): string[] {
  return [...new Set(objects.flatMap(({ publicKey }) => (publicKey === undefined ? [] : [publicKey])))];
}

/** The certificate that begins last; of two that begin together, the one that ends last. */
export function newest(certificates: readonly SeenObject[]): SeenObject | undefined {
  const dated = certificates.flatMap((object) => {
    const facts = certificateFacts(object);
    return facts === undefined ? [] : [{ object, facts }];
  });
  dated.sort(
    (a, b) =>
      b.facts.notBefore.getTime() - a.facts.notBefore.getTime() ||
      b.facts.notAfter.getTime() - a.facts.notAfter.getTime() ||
      (a.facts.serial < b.facts.serial ? -1 : 1),
  );
  return dated[0]?.object;
}
