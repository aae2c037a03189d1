/**
 * The public part of a key: most tokens show it to everybody, so that nobody has to give a PIN for it.
 * @module
 */
import type { Session } from "../cryptoki/session/session.ts";
import type { Identity } from "../lifecycle/identities.ts";
import { publicKeyOf } from "../x509/public-keys.ts";
import { fingerprint } from "../x509/read.ts";
import type { Io } from "./io.ts";
import { namedKey } from "./named-key.ts";
import { identityOf, matchOf } from "./objects.ts";
import { type Target, type TargetInput, withSession } from "./target.ts";

export interface PublicPart {
  readonly identity: Identity;
  /** SubjectPublicKeyInfo, in DER. */
  readonly spki: Uint8Array;
  /** The URI of the private key. */
  readonly uri: string;
}

/** Reads it from its own object, without a login; else from the private key and what stands beside it, with one. */
export async function publicPart(target: Target, input: TargetInput, io: Io): Promise<PublicPart> {
  const shown = await withSession(target, input, io, { login: false }, (session) => shownPart(session, target));
  if (shown !== undefined) return shown;
  return withSession(target, input, io, {}, async (session) => {
    const { key, identity, spki } = await namedKey(session, target);
    return { identity, spki, uri: await key.uri() };
  });
}

async function shownPart(session: Session, target: Target): Promise<PublicPart | undefined> {
  const found: PublicPart[] = [];
  for await (const key of session.find({ ...matchOf(target), CKA_CLASS: "CKO_PUBLIC_KEY" })) {
    const spki = await publicKeyOf(key);
    if (!fingerprint(spki).startsWith(target.fingerprint ?? "")) continue;
    const uri = (await key.uri()).replace("type=public", "type=private");
    found.push({ identity: await identityOf(key), spki, uri });
  }
  return found.length === 1 ? found[0] : undefined;
}
