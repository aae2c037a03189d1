/**
 * Showing that a private key in a token belongs to a public key, by using it: it signs, or agrees on a secret.
 * @module
 */
import { diffieHellman, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { failedWith } from "../cryptoki/errors.ts";
import { mechanism } from "../cryptoki/mechanisms.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { CURVES, type CurveName, curveByName } from "../spec/curves.ts";
import { CKD } from "../spec/objects.ts";
import { curveFromParams, ecPoint, ecPointOf, publicKeyObject } from "./public-keys.ts";
import { anySignerFor, verifies } from "./signers.ts";

/**
 * Whether the private key belongs to a public key; undefined when it turns out that the token cannot do what would tell.
 * @param spki SubjectPublicKeyInfo, in DER
 * @throws CryptokiError when the token refuses to use the key
 */
export type Possession = (spki: Uint8Array) => Promise<boolean | undefined>;

/**
 * Uses a private key: one signature for however many public keys, or one agreement for each. A key that wants its PIN for
 * every use is sent it.
 * @returns undefined for a key that can do neither
 * @throws CryptokiError when the token refuses to use the key
 */
export async function possessionOf(session: Session, key: TokenObject): Promise<Possession | undefined> {
  const read = await key.get("CKA_SIGN", "CKA_DERIVE", "CKA_EC_PARAMS", "CKA_ALLOWED_MECHANISMS");
  const { CKA_SIGN: signs, CKA_DERIVE: derives, CKA_EC_PARAMS: params, CKA_ALLOWED_MECHANISMS: allowed = [] } = read;
  const signer = signs === true ? await anySignerFor(session, key) : undefined;
  if (signer !== undefined) {
    const data = randomBytes(64);
    const signature = await signer.sign(data);
    return (spki) => Promise.resolve(fits(() => verifies(signer, spki, data, signature)));
  }
  const curve = params === undefined ? undefined : curveFromParams(params);
  if (derives !== true || curve === undefined || CURVES[curve].family === "edwards") return undefined;
  if (allowed.length > 0 && !allowed.includes("CKM_ECDH1_DERIVE")) return undefined;
  // There is no C_DeriveInit after which such a key could be sent its PIN.
  if (await key.alwaysAuthenticate()) return undefined;
  return (spki) => agrees(session, key, curve, spki);
}

function fits(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    // A key of another kind than the signature's: not this one.
    return false;
  }
}

/** ECDH (CKM_ECDH1_DERIVE, PKCS#11 3.1 6.3.16) with a key that is made for it: both sides come to one secret. */
async function agrees(
  session: Session,
  key: TokenObject,
  curve: CurveName,
  spki: Uint8Array,
): Promise<boolean | undefined> {
  const publicKey = publicKeyObject(spki);
  if (curveOf(publicKey) !== curve) return false;
  const peer = keyPairLike(publicKey);
  const theirs = peer.publicKey.export({ type: "spki", format: "der" });
  const how = mechanism("CKM_ECDH1_DERIVE", {
    kdf: CKD.CKD_NULL[0],
    sharedData: new Uint8Array(),
    publicData: ecPoint(ecPointOf(theirs), CURVES[curve]),
  });
  let secret: TokenObject;
  try {
    secret = await session.derive(key, how, {
      CKA_CLASS: "CKO_SECRET_KEY",
      CKA_KEY_TYPE: "CKK_GENERIC_SECRET",
      CKA_TOKEN: false,
      CKA_VALUE_LEN: CURVES[curve].bytes,
      CKA_SENSITIVE: false,
      CKA_EXTRACTABLE: true,
    });
  } catch (error) {
    // tpm2-pkcs11 makes keys for it and has no C_DeriveKey.
    if (failedWith(error, "CKR_FUNCTION_NOT_SUPPORTED") || failedWith(error, "CKR_MECHANISM_INVALID")) return undefined;
    throw error;
  }
  const { CKA_VALUE } = await secret.get("CKA_VALUE");
  await secret.destroy();
  const expected = diffieHellman({ privateKey: peer.privateKey, publicKey });
  return CKA_VALUE !== undefined && Buffer.compare(CKA_VALUE, expected) === 0;
}

function curveOf({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): CurveName | undefined {
  return curveByName((type === "ec" ? details?.namedCurve : type) ?? "");
}

function keyPairLike({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject) {
  if (type === "x25519") return generateKeyPairSync("x25519");
  if (type === "x448") return generateKeyPairSync("x448");
  return generateKeyPairSync("ec", { namedCurve: details?.namedCurve ?? "" });
}
