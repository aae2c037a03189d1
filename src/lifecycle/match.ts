/**
 * Which private key belongs to which public key. An EC private key in a token mostly does not tell.
 * @module
 */
import { randomBytes, verify } from "node:crypto";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { publicKeyObject } from "../x509/public-keys.ts";
import { digestOfSignatureAlgorithm, signerFor } from "../x509/signers.ts";
import type { SeenObject } from "./observation.ts";

/**
 * Adds `publicKey` to private keys that do not tell it: where one private key stands beside one public key under an id,
 * they belong together; where there are more, a signature tells. A key that cannot sign stays as it is.
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
  const privates = neighbours.filter((one) => one.class === "private");
  if (candidates.size === 0) return object;
  if (candidates.size === 1 && privates.length === 1) return { ...object, publicKey: [...candidates.keys()][0]! };
  if (object.flags?.CKA_SIGN !== true || object.flags.CKA_ALWAYS_AUTHENTICATE === true) return object;
  const data = randomBytes(64);
  const signer = await signerFor(session, session.object(object.handle));
  const signature = await signer.sign(data).catch((error: unknown) => {
    if (error instanceof CryptokiError) return undefined;
    throw error;
  });
  if (signature === undefined) return object;
  const digest = digestOfSignatureAlgorithm(signer.algorithm);
  for (const [publicKey, spki] of candidates) {
    const key = publicKeyObject(Buffer.from(spki, "base64"));
    if (fits(signature, digest, data, key)) return { ...object, publicKey };
  }
  return object;
}

function fits(
  signature: Uint8Array,
  digest: string | null,
  data: Uint8Array,
  key: ReturnType<typeof publicKeyObject>,
): boolean {
  try {
    return verify(digest, data, key, signature);
  } catch {
    // A key of another kind than the signature's: not this one.
    return false;
  }
}
