/**
 * A session: what `withSession` hands out.
 *
 * A PKCS#11 session runs one Init…Final sequence at a time. Behind this class is a small pool of them, and another pool
 * after the token, its daemon or the library's process was gone (lasting.ts).
 * @module
 */
import { BYTES, isPlain, kind, requireArguments, whole } from "../arguments.ts";
import type { Attributes } from "../attributes.ts";
import type { Mechanism, Ulong } from "../port.ts";
import { decrypt, encrypt } from "./encryption.ts";
import { deriveKey, generateKey, generateKeyPair, type KeyPair, unwrapKey, wrapKey } from "./keys.ts";
import { LastingSession } from "./lasting.ts";
import { ObjectLostError } from "./lost.ts";
import { createObject, findObjects, findOne, TokenObject } from "./objects.ts";
import type { Data } from "./pieces.ts";
import { digest, random } from "./random.ts";
import { sign, verify } from "./signing.ts";

/** How many random bytes one call asks for at most. */
const MOST_RANDOM = 2 ** 20;

const ATTRIBUTES = kind('attributes like { CKA_LABEL: "www" }', isPlain);
const MECHANISM = kind(
  'a mechanism like ecdsa("SHA-256") or mechanism("CKM_…")',
  (value) => isPlain(value) && typeof value.type === "number",
);
const OBJECT = kind("an object of the token (TokenObject)", (value) => value instanceof TokenObject);
const DATA = kind(
  "bytes (Uint8Array), or pieces of them to iterate over",
  (value) =>
    value instanceof Uint8Array ||
    (typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)),
);

export class Session extends LastingSession {
  /** The objects that match, one by one; the search runs on a session of its own. */
  find(match: Attributes = {}): AsyncIterable<TokenObject> {
    requireArguments("session.find", { match: [match, ATTRIBUTES] });
    return findObjects(this, match);
  }

  /**
   * The one object that matches.
   * @throws ObjectNotFoundError when there is none, or more than one (listing them)
   */
  async findOne(match: Attributes): Promise<TokenObject> {
    requireArguments("session.findOne", { match: [match, ATTRIBUTES] });
    return findOne(this, match);
  }

  /**
   * An object by its handle.
   * @throws ObjectLostError in a session that was made anew, where the handle may be another object's
   */
  object(handle: Ulong): TokenObject {
    if (this.making > 0) {
      throw new ObjectLostError(`the session was made anew, and handle ${handle} may be another object's now`, {
        hints: ["find the object again, or take objects in place of handles: they are found again"],
      });
    }
    return new TokenObject(this, handle);
  }

  /** Imports an object: a certificate, data, or a key whose value is known. */
  async create(attributes: Attributes): Promise<TokenObject> {
    requireArguments("session.create", { attributes: [attributes, ATTRIBUTES] });
    return createObject(this, attributes);
  }

  async generateKeyPair(mechanism: Mechanism, publicKey: Attributes, privateKey: Attributes): Promise<KeyPair> {
    requireArguments("session.generateKeyPair", {
      mechanism: [mechanism, MECHANISM],
      publicKey: [publicKey, ATTRIBUTES],
      privateKey: [privateKey, ATTRIBUTES],
    });
    return generateKeyPair(this, mechanism, publicKey, privateKey);
  }

  async generateKey(mechanism: Mechanism, attributes: Attributes): Promise<TokenObject> {
    requireArguments("session.generateKey", {
      mechanism: [mechanism, MECHANISM],
      attributes: [attributes, ATTRIBUTES],
    });
    return generateKey(this, mechanism, attributes);
  }

  /** Signs; data that comes in pieces is signed piece by piece. */
  async sign(key: TokenObject, mechanism: Mechanism, data: Data): Promise<Uint8Array> {
    requireArguments("session.sign", { key: [key, OBJECT], mechanism: [mechanism, MECHANISM], data: [data, DATA] });
    return sign(this, key, mechanism, data);
  }

  /** Whether a signature is right; anything but a wrong signature throws. */
  async verify(key: TokenObject, mechanism: Mechanism, data: Data, signature: Uint8Array): Promise<boolean> {
    requireArguments("session.verify", {
      key: [key, OBJECT],
      mechanism: [mechanism, MECHANISM],
      data: [data, DATA],
      signature: [signature, BYTES],
    });
    return verify(this, key, mechanism, data, signature);
  }

  async encrypt(key: TokenObject, mechanism: Mechanism, data: Uint8Array): Promise<Uint8Array> {
    requireArguments("session.encrypt", { key: [key, OBJECT], mechanism: [mechanism, MECHANISM], data: [data, BYTES] });
    return encrypt(this, key, mechanism, data);
  }

  async decrypt(key: TokenObject, mechanism: Mechanism, data: Uint8Array): Promise<Uint8Array> {
    requireArguments("session.decrypt", { key: [key, OBJECT], mechanism: [mechanism, MECHANISM], data: [data, BYTES] });
    return decrypt(this, key, mechanism, data);
  }

  /** The value of `key`, wrapped (encrypted) with `wrappingKey`. */
  async wrap(wrappingKey: TokenObject, mechanism: Mechanism, key: TokenObject): Promise<Uint8Array> {
    requireArguments("session.wrap", {
      wrappingKey: [wrappingKey, OBJECT],
      mechanism: [mechanism, MECHANISM],
      key: [key, OBJECT],
    });
    return wrapKey(this, wrappingKey, mechanism, key);
  }

  async unwrap(
    unwrappingKey: TokenObject,
    mechanism: Mechanism,
    wrapped: Uint8Array,
    attributes: Attributes,
  ): Promise<TokenObject> {
    requireArguments("session.unwrap", {
      unwrappingKey: [unwrappingKey, OBJECT],
      mechanism: [mechanism, MECHANISM],
      wrapped: [wrapped, BYTES],
      attributes: [attributes, ATTRIBUTES],
    });
    return unwrapKey(this, unwrappingKey, mechanism, wrapped, attributes);
  }

  async derive(baseKey: TokenObject, mechanism: Mechanism, attributes: Attributes): Promise<TokenObject> {
    requireArguments("session.derive", {
      baseKey: [baseKey, OBJECT],
      mechanism: [mechanism, MECHANISM],
      attributes: [attributes, ATTRIBUTES],
    });
    return deriveKey(this, baseKey, mechanism, attributes);
  }

  async digest(mechanism: Mechanism, data: Data): Promise<Uint8Array> {
    requireArguments("session.digest", { mechanism: [mechanism, MECHANISM], data: [data, DATA] });
    return digest(this, mechanism, data);
  }

  /** Random bytes from the token. @param length in bytes, 1 to 1 048 576 */
  async random(length: number): Promise<Uint8Array> {
    requireArguments("session.random", { length: [length, whole(1, MOST_RANDOM)] });
    return random(this, length);
  }
}
