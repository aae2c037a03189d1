/**
 * The private key that a command means, with its public key.
 * @module
 */
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { spkiAt } from "../lifecycle/apply/keys.ts";
import type { Identity } from "../lifecycle/identities.ts";
import { identityOf, namedObject } from "./objects.ts";
import type { Target } from "./target.ts";

/** A private key that a target names, where it stands, and its public key. */
export interface NamedKey {
  readonly key: TokenObject;
  readonly identity: Identity;
  /** SubjectPublicKeyInfo, in DER. */
  readonly spki: Uint8Array;
}

/** The one private key that a target names. */
export async function namedKey(session: Session, target: Target): Promise<NamedKey> {
  const key = await namedObject(session, target, "private");
  const identity = await identityOf(key);
  if (target.fingerprint === undefined) return { key, identity, spki: await spkiAt(session, identity) };
  // What stands under the identity may be another key's.
  const { tellApart } = await import("./fingerprints.ts");
  const [told] = await tellApart(session, [key]);
  return { key, identity, spki: told?.spki ?? (await spkiAt(session, identity)) };
}
