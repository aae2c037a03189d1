/**
 * Making, wrapping and deriving keys (PKCS#11 3.1, 5.18).
 * @module
 */
import { type Attributes, toTemplate } from "../attributes.ts";
import type { Mechanism } from "../port.ts";
import type { TokenObject } from "./objects.ts";
import { readOutput } from "./output.ts";
import type { Session } from "./session.ts";

export interface KeyPair {
  readonly publicKey: TokenObject;
  readonly privateKey: TokenObject;
}

export async function generateKeyPair(
  session: Session,
  mechanism: Mechanism,
  publicKey: Attributes,
  privateKey: Attributes,
): Promise<KeyPair> {
  const made = await session.call("C_GenerateKeyPair", {
    session: session.handle,
    mechanism,
    publicTemplate: toTemplate(publicKey),
    privateTemplate: toTemplate(privateKey),
  });
  return { publicKey: session.object(made.publicKey), privateKey: session.object(made.privateKey) };
}

export async function generateKey(
  session: Session,
  mechanism: Mechanism,
  attributes: Attributes,
): Promise<TokenObject> {
  const template = toTemplate(attributes);
  return session.object((await session.call("C_GenerateKey", { session: session.handle, mechanism, template })).key);
}

export function wrapKey(
  session: Session,
  wrappingKey: TokenObject,
  mechanism: Mechanism,
  key: TokenObject,
): Promise<Uint8Array> {
  const args = { session: session.handle, mechanism, wrappingKey: wrappingKey.handle, key: key.handle };
  return readOutput((room) => session.call("C_WrapKey", { ...args, room }));
}

export async function unwrapKey(
  session: Session,
  unwrappingKey: TokenObject,
  mechanism: Mechanism,
  wrapped: Uint8Array,
  attributes: Attributes,
): Promise<TokenObject> {
  const { key } = await session.call("C_UnwrapKey", {
    session: session.handle,
    mechanism,
    unwrappingKey: unwrappingKey.handle,
    wrapped,
    template: toTemplate(attributes),
  });
  return session.object(key);
}

export async function deriveKey(
  session: Session,
  baseKey: TokenObject,
  mechanism: Mechanism,
  attributes: Attributes,
): Promise<TokenObject> {
  const { key } = await session.call("C_DeriveKey", {
    session: session.handle,
    mechanism,
    baseKey: baseKey.handle,
    template: toTemplate(attributes),
  });
  return session.object(key);
}
