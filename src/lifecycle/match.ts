/**
 * Which private key belongs to which public key. An EC private key in a token mostly does not tell.
 * @module
 */
import { randomBytes } from "node:crypto";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { anySignerFor, verifies } from "../x509/signers.ts";
import type { SeenObject } from "./observation.ts";

/**
 * Adds `publicKey` to private keys that do not tell it: where one private key stands beside one public key object under
 * an id, they belong together; else a signature tells, for a certificate with its id may be another key's. A lone key
 * that cannot sign is taken to belong to what stands beside it.
 */
export async function matchPrivateKeys(session: Session, objects: readonly SeenObject[]): Promise<SeenObject[]> {
  const byId = new Map<string, SeenObject[]>();
  for (const object of objects) byId.set(object.id, [...(byId.get(object.id) ?? []), object]);
  const matched: SeenObject[] = [];
  for (const object of objects) {
    const known = object.class !== "private" || object.publicKey !== undefined;
    matched.push(known ? object : await matchOne(session, object, byId.get(object.id) ?? []));
  }
  return matched;
}

async function matchOne(session: Session, object: SeenObject, neighbours: readonly SeenObject[]): Promise<SeenObject> {
  const candidates = new Map(
    neighbours.flatMap(({ publicKey, spki }) =>
      publicKey === undefined || spki === undefined ? [] : [[publicKey, spki]],
    ),
  );
  if (candidates.size === 0) return object;
  const [only] = candidates.keys();
  const alone = candidates.size === 1 && neighbours.filter((one) => one.class === "private").length === 1;
  const assumed = alone ? { ...object, publicKey: only! } : object;
  if (alone && neighbours.some((one) => one.class === "public" && one.publicKey === only)) return assumed;
  if (object.flags?.CKA_SIGN !== true || object.flags.CKA_ALWAYS_AUTHENTICATE === true) return assumed;
  const signer = await anySignerFor(session, session.object(object.handle));
  if (signer === undefined) return assumed;
  const data = randomBytes(64);
  const signature = await signer.sign(data).catch((error: unknown) => {
    if (error instanceof CryptokiError) return undefined;
    throw error;
  });
  if (signature === undefined) return assumed;
  for (const [publicKey, spki] of candidates) {
    if (fits(() => verifies(signer, Buffer.from(spki, "base64"), data, signature))) return { ...object, publicKey };
  }
  return object;
}

function fits(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    // A key of another kind than the signature's: not this one.
    return false;
  }
}
