/**
 * The keys that are made of an object's attributes, made once per object and dropped at logout.
 * @module
 */
import { createSecretKey, type KeyObject } from "node:crypto";
import type { Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { type Padding, Signer, Transformer, Verifier } from "../../native/libcrypto/contexts.ts";
import { Pkey } from "../../native/libcrypto/keys.ts";
import { attr, cls } from "../codes.ts";
import type { Material, TokenObject } from "../objects/object.ts";
import { refuse } from "../refusal.ts";
import { encodePrivateKey, encodePublicKey } from "./encodings.ts";

function setOf(object: TokenObject): number | undefined {
  const set = object.values.get(attr.PARAMETER_SET);
  return set === undefined ? undefined : small(set as Ulong);
}

/** PrivateKeyInfo of a private key object; the caller wipes it. */
export function privateKeyInfo(object: TokenObject): Uint8Array {
  const opened: Uint8Array[] = [];
  const bytes = (type: number) => {
    const secret = object.secret(type);
    if (secret !== undefined) opened.push(secret);
    return secret ?? object.bytes(type);
  };
  try {
    return encodePrivateKey(object.keyType!, bytes, setOf(object));
  } finally {
    for (const secret of opened) secret.fill(0);
  }
}

/** SubjectPublicKeyInfo of a public key object. */
function publicKeyInfo(object: TokenObject): Uint8Array {
  return encodePublicKey(object.keyType!, (type) => object.bytes(type)!, setOf(object));
}

/** The key of an object, as libcrypto holds it. */
export function pkeyOf(object: TokenObject): Pkey {
  return object.material("pkey", () => {
    if (object.class !== cls.PRIVATE_KEY) return Pkey.fromPublic(publicKeyInfo(object));
    const info = privateKeyInfo(object);
    try {
      return Pkey.fromPrivate(info);
    } finally {
      info.fill(0);
    }
  });
}

export function signerOf(object: TokenObject, name: string, padding?: Padding): Signer {
  return object.material(`sign ${name}`, () => new Signer(pkeyOf(object), padding));
}

export function verifierOf(object: TokenObject, name: string, padding?: Padding): Verifier {
  return object.material(`verify ${name}`, () => new Verifier(pkeyOf(object), padding));
}

export function transformerOf(
  what: "recover" | "encrypt" | "decrypt",
  object: TokenObject,
  name: string,
  padding: Padding,
): Transformer {
  return object.material(`${what} ${name}`, () => new Transformer(what, pkeyOf(object), padding));
}

interface SecretMaterial extends Material {
  readonly bytes: Uint8Array;
  readonly key: KeyObject;
}

/** The value of a secret key; wiped when the object is let go of, so it is only read. */
export function secretOf(object: TokenObject): SecretMaterial {
  return object.material("secret", () => {
    const bytes = object.secret(attr.VALUE) ?? refuse("CKR_KEY_HANDLE_INVALID", "the key has no value");
    return { bytes, key: createSecretKey(bytes), free: () => void bytes.fill(0) };
  });
}
