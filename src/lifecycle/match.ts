/**
 * Which private key belongs to which public key. An EC private key in a token mostly does not tell.
 * @module
 */
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { possessionOf } from "../x509/possession.ts";
import type { SeenObject } from "./observation.ts";

/**
 * Adds `publicKey` to private keys that do not tell it: where one private key stands beside one public key object under
 * an id, they belong together; else its use tells, for a certificate with its id may be another key's. A lone key that
 * cannot be used for that, or wants its PIN for it, is taken to belong to what stands beside it.
 * @param ids of the keys to match; others are nobody's here, and are not used
 */
export async function matchPrivateKeys(
  session: Session,
  objects: readonly SeenObject[],
  ids: ReadonlySet<string>,
): Promise<SeenObject[]> {
  const byId = new Map<string, SeenObject[]>();
  for (const object of objects) byId.set(object.id, [...(byId.get(object.id) ?? []), object]);
  // A run that died may have left a private key under one id, and what belongs to it under another.
  const orphans = objects.filter(({ id }) => !byId.get(id)!.some((one) => one.class === "private"));
  const matched: SeenObject[] = [];
  for (const object of objects) {
    const known = object.class !== "private" || object.publicKey !== undefined || !ids.has(object.id);
    matched.push(known ? object : await matchOne(session, object, byId.get(object.id)!, orphans));
  }
  return matched;
}

async function matchOne(
  session: Session,
  object: SeenObject,
  neighbours: readonly SeenObject[],
  orphans: readonly SeenObject[],
): Promise<SeenObject> {
  const beside = publicKeys(neighbours);
  const isLone = neighbours.filter((one) => one.class === "private").length === 1;
  if (isLone && beside.size === 0) return object;
  const [only] = beside.keys();
  const assumed = isLone && beside.size === 1 ? { ...object, publicKey: only! } : object;
  const isSure = neighbours.some((one) => one.class === "public" && one.publicKey === assumed.publicKey);
  if (assumed !== object && (isSure || object.flags?.CKA_ALWAYS_AUTHENTICATE === true)) return assumed;
  try {
    const possession = await possessionOf(session, session.object(object.handle));
    if (possession === undefined) return assumed;
    const candidates = isLone ? beside : new Map([...beside, ...publicKeys(orphans)]);
    for (const [publicKey, spki] of candidates) {
      const belongs = await possession(Buffer.from(spki, "base64"));
      if (belongs === undefined) return assumed;
      if (belongs) return { ...object, publicKey };
    }
    return object;
  } catch (error) {
    if (error instanceof CryptokiError) return assumed;
    throw error;
  }
}

/** SubjectPublicKeyInfo by its digest, of objects that tell it. */
function publicKeys(objects: readonly SeenObject[]): Map<string, string> {
  return new Map(
    objects.flatMap(({ publicKey, spki }) =>
      publicKey === undefined || spki === undefined ? [] : [[publicKey, spki]],
    ),
  );
}
