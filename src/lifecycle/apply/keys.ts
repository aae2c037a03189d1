/**
 * The steps of a plan that change objects in a token.
 * @module
 */
import { X509Certificate } from "node:crypto";
import type { Attributes } from "../../cryptoki/attributes.ts";
import { CryptokiError, KeywrightError } from "../../cryptoki/errors.ts";
import { digestByName } from "../../cryptoki/mechanisms.ts";
import type { TokenObject } from "../../cryptoki/session/objects.ts";
import type { Session } from "../../cryptoki/session/session.ts";
import { makeCertificate } from "../../x509/certificates.ts";
import { parseName } from "../../x509/names.ts";
import { possessionOf } from "../../x509/possession.ts";
import { PUBLIC_KEY_ATTRIBUTES, publicKeyObject, publicKeyOf, spkiFromAttributes } from "../../x509/public-keys.ts";
import { type CertificateFacts, fingerprint, readCertificate } from "../../x509/read.ts";
import { signerFor } from "../../x509/signers.ts";
import type { PresentToken } from "../access.ts";
import type { KeyDeclaration } from "../declaration.ts";
import { finalIdentity, type Identity } from "../identities.ts";
import type { CertificatePlan, ObjectRef } from "../plan/steps.ts";
import { certificateTemplate, keyPairTemplates } from "../templates.ts";

/** Something that was made and is not what it should be. */
export class ApplyError extends KeywrightError {
  override readonly code = "ERR_APPLY";
}

/** Makes a key pair under an identity. */
export async function generate(at: PresentToken, key: KeyDeclaration, identity: Identity): Promise<TokenObject[]> {
  const { type, usage, attributes } = key;
  const wish = { type, usage, identity, attributes };
  const { mechanism, publicKey, privateKey } = keyPairTemplates(wish, at.family);
  const made = await at.write((session) => session.generateKeyPair(mechanism, publicKey, privateKey));
  return [made.privateKey, made.publicKey];
}

/** The private key under an identity, as the user's session sees it. */
export function privateKeyAt(session: Session, identity: Identity): Promise<TokenObject> {
  return session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_TOKEN: true, ...byIdentity(identity) });
}

function byIdentity({ id }: Identity): Attributes {
  return { CKA_ID: Buffer.from(id, "hex") };
}

/** The public key under an identity: its own object, what the private key tells, or what its certificates say. */
export async function spkiAt(session: Session, identity: Identity): Promise<Uint8Array> {
  const objects: TokenObject[] = [];
  for await (const object of session.find({ CKA_CLASS: "CKO_PUBLIC_KEY", CKA_TOKEN: true, ...byIdentity(identity) })) {
    objects.push(object);
  }
  if (objects.length === 1) return publicKeyOf(objects[0]!);
  const privateKey = await privateKeyAt(session, identity);
  const spki = spkiFromAttributes(await privateKey.get(...PUBLIC_KEY_ATTRIBUTES));
  if (spki !== undefined) return spki;
  const certified = new Map<string, Uint8Array>();
  const certificates = { CKA_CLASS: "CKO_CERTIFICATE", CKA_TOKEN: true, ...byIdentity(identity) } as const;
  for await (const object of session.find(certificates)) {
    const { CKA_VALUE } = await object.get("CKA_VALUE");
    const told = CKA_VALUE === undefined ? undefined : readCertificate(CKA_VALUE).spki;
    if (told !== undefined) certified.set(fingerprint(told), told);
  }
  const [only] = certified.values();
  if (certified.size === 1) return only!;
  throw new ApplyError(`the public key of ${await privateKey.uri()} is not in the token`, {
    hints: ["no certificate can be made without it; put its public key or a certificate of it back under its id"],
  });
}

/** Who signs: the key itself, or the issuer with its certificate. */
export interface Issuing {
  readonly at: PresentToken;
  readonly identity: Identity;
  readonly certificate: CertificateFacts | undefined;
}

/**
 * Makes a certificate and puts it into the token, after it and the key were proven: the certificate verifies with its
 * issuer's key, and a signature made with the key verifies with the certificate.
 */
export async function certify(
  at: PresentToken,
  key: KeyDeclaration,
  identity: Identity,
  wanted: CertificatePlan,
  issuing: Issuing,
): Promise<{ object: TokenObject; facts: CertificateFacts }> {
  const { session } = at;
  const spki = await spkiAt(session, identity);
  const issuerKey = await privateKeyAt(issuing.at.session, issuing.identity);
  const signer = await signerFor(issuing.at.session, issuerKey, {
    digest: wanted.digest === undefined ? undefined : digestByName(wanted.digest),
    pss: wanted.pss,
  });
  await unloadKeys(at, issuing.at);
  const der = await makeCertificate(
    {
      subject: parseName(wanted.subject),
      spki,
      ...(issuing.certificate === undefined ? {} : { issuer: issuing.certificate }),
      notBefore: new Date(wanted.notBefore),
      notAfter: new Date(wanted.notAfter),
      serial: wanted.serial === undefined ? undefined : Buffer.from(wanted.serial.slice(2), "hex"),
      extensions: wanted.extensions,
    },
    signer,
  );
  const issuerSpki = issuing.certificate?.spki ?? spki;
  if (!new X509Certificate(der).verify(publicKeyObject(issuerSpki))) {
    throw new ApplyError(`the certificate of ${key.name} does not verify with its issuer's key`, {
      hints: ["the token's signature is wrong, or its public key object belongs to another key"],
    });
  }
  await unloadKeys(issuing.at);
  await prove(at, key, identity, spki);
  return writeCertificate(at, der, identity);
}

async function unloadKeys(...tokens: PresentToken[]): Promise<void> {
  for (const token of new Set(tokens)) await token.unloadKeys();
}

/**
 * Uses a key, and sees outside the token that it is its public key's; one that may neither sign nor agree on a secret
 * cannot be proven so.
 * @throws ApplyError when it belongs to another
 */
export async function prove(
  at: PresentToken,
  key: KeyDeclaration,
  identity: Identity,
  spki: Uint8Array,
): Promise<void> {
  await at.unloadKeys();
  const possession = await possessionOf(at.session, await privateKeyAt(at.session, identity));
  if ((await possession?.(spki)) === false) {
    throw new ApplyError(`the private key of ${key.name} does not belong to its public key`, {
      hints: ["the public key object with its id belongs to another key"],
    });
  }
}

/** Puts a certificate into the token and reads it back. */
export async function writeCertificate(
  at: PresentToken,
  der: Uint8Array,
  identity: Identity,
): Promise<{ object: TokenObject; facts: CertificateFacts }> {
  const facts = readCertificate(der);
  const object = await at.write((session) => session.create(certificateTemplate(facts, identity, at.family)));
  const { CKA_VALUE } = await at.session.object(object.handle).get("CKA_VALUE");
  if (CKA_VALUE === undefined || fingerprint(CKA_VALUE) !== fingerprint(der)) {
    throw new ApplyError("the token does not hold the certificate that was written to it");
  }
  return { object, facts };
}

/** The newest certificate under an identity that belongs to its key; undefined if there is none. */
export async function certificateAt(
  session: Session,
  identity: Identity,
  publicKey: Uint8Array,
): Promise<Uint8Array | undefined> {
  const found: CertificateFacts[] = [];
  for await (const object of session.find({ CKA_CLASS: "CKO_CERTIFICATE", CKA_TOKEN: true, ...byIdentity(identity) })) {
    const { CKA_VALUE } = await object.get("CKA_VALUE");
    if (CKA_VALUE === undefined) continue;
    const facts = readCertificate(CKA_VALUE);
    if (fingerprint(facts.spki) === fingerprint(publicKey)) found.push(facts);
  }
  return found.sort((a, b) => b.notBefore.getTime() - a.notBefore.getTime())[0]?.der;
}

/** Gives objects another identity. Private keys go first, so that what is found by id has its private key. */
export async function rename(
  at: PresentToken,
  handles: readonly ObjectRef["handle"][],
  identity: Identity,
): Promise<void> {
  const attributes: Attributes = {
    CKA_ID: Buffer.from(identity.id, "hex"),
    ...(at.family.labels ? { CKA_LABEL: identity.label } : {}),
  };
  await at.write(async (session) => {
    for (const handle of handles) await session.object(handle).set(attributes);
  });
}

/** Destroys objects; one that is gone already is what was wanted. */
export async function retire(at: PresentToken, objects: readonly ObjectRef[]): Promise<void> {
  await at.write(async (session) => {
    for (const { class: kind, id, label, handle } of objects) {
      try {
        await session.object(handle).destroy();
      } catch (error) {
        if (!(error instanceof CryptokiError && error.is("CKR_OBJECT_HANDLE_INVALID"))) throw error;
        // The object may be gone, or the module may have numbered it anew.
        const search = { CKA_CLASS: CLASSES[kind], CKA_ID: Buffer.from(id, "hex"), CKA_LABEL: label } as const;
        for await (const _still of session.find({ CKA_TOKEN: true, ...search })) throw error;
      }
    }
  });
}

const CLASSES = { private: "CKO_PRIVATE_KEY", public: "CKO_PUBLIC_KEY", certificate: "CKO_CERTIFICATE" } as const;

/** The final identity of a key, for its issuer role. */
export function issuingWith(at: PresentToken, key: KeyDeclaration, certificate: CertificateFacts | undefined): Issuing {
  return { at, identity: finalIdentity(key), certificate };
}
