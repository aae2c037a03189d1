/**
 * Objects of one id and label, told apart by fingerprints: the SHA-256 of the public key (SubjectPublicKeyInfo) of a key
 * and of what belongs to it, and of a certificate itself.
 * @module
 */
import type { Ulong } from "../cryptoki/port.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { matchPrivateKeys } from "../lifecycle/match.ts";
import type { SeenObject } from "../lifecycle/observation.ts";
import { observeObject } from "../lifecycle/observe.ts";
import { fingerprint } from "../x509/read.ts";
import { firstDigits } from "./words.ts";

/** An object, and what tells it from others of its id and label. */
export interface ToldObject {
  readonly object: TokenObject;
  /** What it is; undefined for what is neither part of a key pair nor a certificate. */
  readonly seen: SeenObject | undefined;
  /** In hexadecimal, the most telling first; none for what has no public key, or does not tell it. */
  readonly fingerprints: readonly string[];
  /** SubjectPublicKeyInfo in DER, where it is known. */
  readonly spki: Uint8Array | undefined;
}

/** Looks at objects and at what stands beside them, for an EC private key mostly does not tell its public key. */
export async function tellApart(session: Session, objects: readonly TokenObject[]): Promise<ToldObject[]> {
  const around = new Map<Ulong, TokenObject>(objects.map((object) => [object.handle, object]));
  const ids = new Map<string, Uint8Array>();
  for (const object of objects) {
    const { CKA_ID: id } = await object.get("CKA_ID");
    if (id !== undefined && id.length > 0) ids.set(Buffer.from(id).toString("hex"), id);
  }
  for (const id of ids.values()) {
    for await (const object of session.find({ CKA_ID: id })) around.set(object.handle, object);
  }
  const seen: SeenObject[] = [];
  for (const object of around.values()) {
    const one = await observeObject(object);
    if (one !== undefined) seen.push(await withOwnPublicKey(object, one));
  }
  const matched = new Map((await matchPrivateKeys(session, seen, new Set(ids.keys()))).map((one) => [one.handle, one]));
  const spkis = new Map([...matched.values()].map(({ publicKey, spki }) => [spki && publicKey, spki]));
  return objects.map((object) => {
    const one = matched.get(object.handle);
    const own = one?.der === undefined ? [] : [fingerprint(Buffer.from(one.der, "base64"))];
    const spki = one?.publicKey === undefined ? undefined : spkis.get(one.publicKey);
    return {
      object,
      seen: one,
      fingerprints: [...own, ...(one?.publicKey === undefined ? [] : [one.publicKey])],
      spki: spki === undefined ? undefined : Buffer.from(spki, "base64"),
    };
  });
}

/** PKCS#11 2.40 has an attribute for it, which not every token knows. */
async function withOwnPublicKey(object: TokenObject, seen: SeenObject): Promise<SeenObject> {
  if (seen.class !== "private" || seen.publicKey !== undefined) return seen;
  const { CKA_PUBLIC_KEY_INFO: spki } = await object.get("CKA_PUBLIC_KEY_INFO");
  if (spki === undefined || spki.length === 0) return seen;
  return { ...seen, publicKey: fingerprint(spki), spki: Buffer.from(spki).toString("base64") };
}

/** Those that a fingerprint names, by its first digits. */
export function withFingerprint(told: readonly ToldObject[], wanted: string): ToldObject[] {
  return told.filter(({ fingerprints }) => fingerprints.some((one) => one.startsWith(wanted)));
}

/** The first objects of one id and label that belong to more than one key; none where every key stands alone. */
export function entangled(told: readonly ToldObject[]): readonly ToldObject[] {
  const byIdentity = new Map<string, ToldObject[]>();
  for (const one of told) {
    if (one.seen === undefined) continue;
    const identity = JSON.stringify([one.seen.id, one.seen.label]);
    byIdentity.set(identity, [...(byIdentity.get(identity) ?? []), one]);
  }
  return [...byIdentity.values()].find((group) => countKeys(group.map(({ seen }) => seen!)) > 1) ?? [];
}

/** A private key that does not tell its public key, though others stand beside it, is one more. */
function countKeys(objects: readonly SeenObject[]): number {
  const known = new Set(objects.flatMap(({ publicKey }) => publicKey ?? []));
  const privates = objects.filter((one) => one.class === "private");
  // Without an id nothing was matched: a lone private key is taken to belong to what stands beside it.
  if (objects[0]?.id === "" && privates.length === 1 && known.size === 1) return 1;
  return known.size + privates.filter(({ publicKey }) => publicKey === undefined).length;
}

/** An object as a line: its URI, and the option that tells it from others of that URI. */
export async function choice({ object, fingerprints: [first] }: ToldObject): Promise<string> {
  const uri = await object.uri();
  return first === undefined ? uri : `${uri} --fingerprint ${firstDigits(first)}`;
}
