/**
 * A key pair that comes from elsewhere.
 * @module
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import type { Attributes } from "../cryptoki/attributes.ts";
import { CryptokiError, failedWith } from "../cryptoki/errors.ts";
import type { KeyPair } from "../cryptoki/session/keys.ts";
import { destroyIfThere } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { type Family, familyOfToken } from "../families/families.ts";
import { curveByName, curveNames } from "../spec/curves.ts";
import { X509Error } from "../x509/errors.ts";
import { unfitUsage } from "../x509/key-usages.ts";
import { ecPointOf } from "../x509/public-keys.ts";
import type { Usage } from "./declaration.ts";
import { observeMechanisms } from "./observe.ts";
import { type KeyPairTemplates, type KeyPairWish, keyPairTemplates } from "./templates.ts";
import { type KeyType, keyTypeText } from "./values.ts";

export interface ImportWish extends Omit<KeyPairWish, "type" | "usage"> {
  /** What fits the key's type by default. */
  readonly usage?: readonly Usage[] | undefined;
}

/**
 * Puts a private key and its public key into a token: both or neither. Whoever had the key before may have a copy.
 * @param session logged in, for writing
 * @param family what the token is; by default what it says of itself
 * @throws X509Error for a key of a kind that tokens do not take here, or a usage that it cannot have; CryptokiError when the token refuses it
 */
export async function importKeyPair(
  session: Session,
  key: KeyObject,
  wish: ImportWish,
  family: Family = familyOfToken(session.token.info, ""),
): Promise<KeyPair> {
  const templates = importTemplates(key, wish, family);
  const privateKey = await session.create(templates.privateKey).catch(async (error: unknown) => {
    throw await withKind(error, session, key, wish);
  });
  try {
    return { privateKey, publicKey: await session.create(templates.publicKey) };
  } catch (error) {
    // Half a key pair would keep its id and label from a second try.
    await destroyIfThere(privateKey);
    throw error;
  }
}

/** A token that does not know a kind of key calls one of its attributes wrong. */
async function withKind(
  error: unknown,
  { token }: Session,
  key: KeyObject,
  { identity }: ImportWish,
): Promise<unknown> {
  const isKind = failedWith(
    error,
    "CKR_ATTRIBUTE_VALUE_INVALID",
    "CKR_TEMPLATE_INCONSISTENT",
    "CKR_ATTRIBUTE_TYPE_INVALID",
    "CKR_KEY_SIZE_RANGE",
  );
  if (!isKind) return error;
  const made = Object.keys(await observeMechanisms(token)).map((algorithm) => KINDS[algorithm] ?? algorithm);
  const what = `the private key ${JSON.stringify(identity.label)}, of type ${keyTypeText(keyTypeOf(key))}, in ${token.uri}`;
  return new CryptokiError("C_CreateObject", error.rv, what, {
    cause: error,
    hints: [`the token makes keys of these kinds, and hardly takes others: ${made.join(", ") || "none"}`],
  });
}

const KINDS: Readonly<Record<string, string>> = { Edwards: "Ed25519 and Ed448", Montgomery: "X25519 and X448" };

function importTemplates(key: KeyObject, wish: ImportWish, family: Family): Omit<KeyPairTemplates, "mechanism"> {
  const type = keyTypeOf(key);
  const usage = wish.usage ?? [type.algorithm === "Montgomery" ? ("derive" as const) : ("sign" as const)];
  const unfit = unfitUsage(type.algorithm, usage);
  if (unfit !== undefined) throw new X509Error(unfit.message, { hints: [unfit.hint] });
  const { publicKey, privateKey } = keyPairTemplates({ ...wish, type, usage }, family);
  const jwk = key.export({ format: "jwk" });
  const bytes = (text: string | undefined) => new Uint8Array(Buffer.from(text ?? "", "base64url"));
  if (type.algorithm === "RSA") {
    const { CKA_MODULUS_BITS: _bits, CKA_PUBLIC_EXPONENT: _exponent, ...rest } = publicKey;
    const numbers = { CKA_MODULUS: bytes(jwk.n), CKA_PUBLIC_EXPONENT: bytes(jwk.e) };
    const secret = {
      CKA_PRIVATE_EXPONENT: bytes(jwk.d),
      CKA_PRIME_1: bytes(jwk.p),
      CKA_PRIME_2: bytes(jwk.q),
      CKA_EXPONENT_1: bytes(jwk.dp),
      CKA_EXPONENT_2: bytes(jwk.dq),
      CKA_COEFFICIENT: bytes(jwk.qi),
    };
    return { publicKey: { ...rest, ...numbers }, privateKey: { ...privateKey, ...numbers, ...secret } };
  }
  const params: Attributes = { CKA_EC_PARAMS: publicKey.CKA_EC_PARAMS };
  const spki = new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }));
  return {
    publicKey: { ...publicKey, CKA_EC_POINT: ecPointOf(spki) },
    privateKey: { ...privateKey, ...params, CKA_VALUE: bytes(jwk.d) },
  };
}

function keyTypeOf(key: KeyObject): KeyType {
  const { asymmetricKeyType: name, asymmetricKeyDetails: details } = key;
  if (name === "rsa") return { algorithm: "RSA", bits: details?.modulusLength ?? 0 };
  const curve = name === "ec" ? curveByName(details?.namedCurve ?? "") : curveByName(name ?? "");
  if (curve === undefined) {
    const kind = [name, details?.namedCurve].filter((part) => part !== undefined).join(" ");
    throw new X509Error(`a key of type ${kind} cannot be imported`, {
      hints: [
        name === "rsa-pss"
          ? "as an RSA key it can, and sign with PSS: openssl rsa -in FILE -traditional -outform DER writes it as one"
          : `RSA, Ed25519, Ed448, X25519, X448 and EC keys can, on ${curveNames().join(", ")}`,
      ],
    });
  }
  if (name === "ec") return { algorithm: "EC", curve };
  return { algorithm: name?.startsWith("ed") === true ? "Edwards" : "Montgomery", curve };
}
