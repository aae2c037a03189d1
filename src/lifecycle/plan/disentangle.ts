/**
 * Telling apart what stands under one identity: the key that is current, a replacement that is under way, and what was
 * replaced. Every half-done state of a rotation is one of these, and the steps that finish it follow from it.
 * @module
 */
import { readCertificate } from "../../x509/read.ts";
import type { SeenObject } from "../observation.ts";

/** The objects of one key in a token, by where they stand. */
export interface KeyObjects {
  readonly final: readonly SeenObject[];
  readonly fresh: readonly SeenObject[];
  readonly archived: readonly SeenObject[];
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
export function disentangle({ final, fresh }: KeyObjects): Disentangled {
  const all = [...final, ...fresh];
  const wanted = currentKey(final, fresh);
  if (typeof wanted === "object") return nothing(wanted.refuse);
  const belongs = (object: SeenObject) =>
    wanted === undefined || object.publicKey === undefined || object.publicKey === wanted;
  const privateKey = privates(all).find(belongs);
  const certificate = newest(all.filter((object) => object.class === "certificate" && object.publicKey === wanted));
  const duplicates = privates(all).filter(belongs);
  if (duplicates.length > 1)
    return nothing(`${duplicates.length} private keys have its identity, and nothing tells them apart`);
  const old = final.filter(
    (object) =>
      !belongs(object) || (object.class === "certificate" && certificate !== undefined && object !== certificate),
  );
  return {
    privateKey,
    publicKey: wanted,
    spki: all.find((object) => object.publicKey === wanted && object.spki !== undefined)?.spki,
    certificate,
    promote: fresh.filter(belongs),
    archive: old,
  };
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
 * before any of its objects took the final identity. Without one, the key with the newest certificate does.
 */
function currentKey(
  final: readonly SeenObject[],
  fresh: readonly SeenObject[],
): string | undefined | { refuse: string } {
  const replacement = distinct(fresh);
  if (replacement.length > 1) return { refuse: "two replacements are being prepared at once" };
  if (replacement.length === 1) return replacement[0];
  const keys = distinct(privates(final));
  if (keys.length === 1 && privates(final).every((object) => object.publicKey !== undefined)) return keys[0];
  if (privates(final).length === 0) return distinct(final)[0];
  if (privates(final).length === 1) return keys[0];
  const certificates = final.filter(
    (object) => object.class === "certificate" && keys.includes(object.publicKey ?? ""),
  );
  const latest = newest(certificates);
  if (latest === undefined || keys.length < privates(final).length) {
    return {
      refuse: `${privates(final).length} private keys have its id, and no certificate tells which is the newer`,
    };
  }
  return latest.publicKey;
}

function distinct(objects: readonly SeenObject[]): string[] {
  return [...new Set(objects.flatMap(({ publicKey }) => (publicKey === undefined ? [] : [publicKey])))];
}

/** The certificate that begins last; of two that begin together, the one that ends last. */
export function newest(certificates: readonly SeenObject[]): SeenObject | undefined {
  const dated = certificates
    .filter((object) => object.der !== undefined)
    .map((object) => ({ object, facts: readCertificate(Buffer.from(object.der!, "base64")) }));
  dated.sort(
    (a, b) =>
      b.facts.notBefore.getTime() - a.facts.notBefore.getTime() ||
      b.facts.notAfter.getTime() - a.facts.notAfter.getTime() ||
      (a.facts.serial < b.facts.serial ? -1 : 1),
  );
  return dated[0]?.object;
}
