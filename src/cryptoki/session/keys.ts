/**
 * Making, wrapping and deriving keys (PKCS#11 3.1, 5.18).
 * @module
 */
import { CKO } from "../../spec/objects.ts";
import { type Attributes, toTemplate } from "../attributes.ts";
import type { Mechanism } from "../port.ts";
import { ObjectIdentity } from "./identity.ts";
import { made, TokenObject } from "./objects.ts";
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
  const [publicTemplate, privateTemplate] = [toTemplate(publicKey), toTemplate(privateKey)];
  const { making, ...pair } = await session.runOnce([], async () => ({
    making: session.making,
    ...(await session.call("C_GenerateKeyPair", {
      session: session.handle,
      mechanism,
      publicTemplate,
      privateTemplate,
    })),
  }));
  const [ofPublic, ofPrivate] = [CKO.CKO_PUBLIC_KEY[0], CKO.CKO_PRIVATE_KEY[0]];
  return {
    publicKey: new TokenObject(session, pair.publicKey, ObjectIdentity.made(publicTemplate, ofPublic), making),
    privateKey: new TokenObject(session, pair.privateKey, ObjectIdentity.made(privateTemplate, ofPrivate), making),
  };
}

export function generateKey(session: Session, mechanism: Mechanism, attributes: Attributes): Promise<TokenObject> {
  const template = toTemplate(attributes);
  return made(
    session,
    ObjectIdentity.made(template, CKO.CKO_SECRET_KEY[0]),
    [],
    async () => (await session.call("C_GenerateKey", { session: session.handle, mechanism, template })).key,
  );
}

export function wrapKey(
  session: Session,
  wrappingKey: TokenObject,
  mechanism: Mechanism,
  key: TokenObject,
): Promise<Uint8Array> {
  return session.run([wrappingKey, key], () => {
    const { pool } = session;
    const args = { session: pool.main, mechanism, wrappingKey: wrappingKey.handle, key: key.handle };
    return readOutput((room) => pool.call("C_WrapKey", { ...args, room }));
  });
}

export function unwrapKey(
  session: Session,
  unwrappingKey: TokenObject,
  mechanism: Mechanism,
  wrapped: Uint8Array,
  attributes: Attributes,
): Promise<TokenObject> {
  const template = toTemplate(attributes);
  return made(session, ObjectIdentity.made(template), [unwrappingKey], async () => {
    const args = { session: session.handle, mechanism, unwrappingKey: unwrappingKey.handle, wrapped, template };
    return (await session.call("C_UnwrapKey", args)).key;
  });
}

export function deriveKey(
  session: Session,
  baseKey: TokenObject,
  mechanism: Mechanism,
  attributes: Attributes,
): Promise<TokenObject> {
  const template = toTemplate(attributes);
  return made(session, ObjectIdentity.made(template, CKO.CKO_SECRET_KEY[0]), [baseKey], async () => {
    const args = { session: session.handle, mechanism, baseKey: baseKey.handle, template };
    return (await session.call("C_DeriveKey", args)).key;
  });
}
