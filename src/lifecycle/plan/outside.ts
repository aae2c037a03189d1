/**
 * Keys whose certificate an outside CA makes: a request goes out, and a certificate comes in when it comes. Until it is
 * there, what the key has stays as it is.
 * @module
 */
import { authorityOf } from "../../x509/extensions.ts";
import { parseName, sameName } from "../../x509/names.ts";
import { type CertificateFacts, fingerprint, readCertificate } from "../../x509/read.ts";
import { requestInfo } from "../../x509/requests.ts";
import type { CertificateDeclaration, KeyDeclaration } from "../declaration.ts";
import { finalIdentity, type Identity, newIdentity } from "../identities.ts";
import type { Observation, SeenObject } from "../observation.ts";
import { certificateFacts, day, renewal } from "./certificate.ts";
import type { Disentangled } from "./disentangle.ts";
import type { KeySteps } from "./key-steps.ts";
import { type KeyOutcome, unchanged } from "./outcome.ts";
import { Refusal } from "./refusal.ts";

/** What such a key is planned from. */
export interface OutsideContext {
  readonly key: KeyDeclaration;
  readonly observation: Observation;
  readonly now: Date;
  resolve(path: string): string;
}

/** Whether an outside CA makes a key's certificate. */
export function isOutside({ certificate }: KeyDeclaration): boolean {
  return certificate?.csr !== undefined || certificate?.import !== undefined;
}

/** A key that was just made, or is made by this plan: the request goes out. */
export function request(context: OutsideContext, steps: KeySteps, identity: Identity, reason: string): void {
  steps.request(identity, reason);
  steps.wait(comesFrom(context.key.certificate!));
}

function comesFrom({ import: file }: CertificateDeclaration): string {
  return `its certificate is to come from outside${file === undefined ? ": keywright cert import" : `, in ${file}`}`;
}

/**
 * A key that stands under its identity alone: a certificate that came is taken, one that ends is asked for.
 * @returns undefined when there is nothing to do; `rotate` when the time has come for a new key
 */
export function planOutside(
  context: OutsideContext,
  steps: KeySteps,
  found: Disentangled,
  archived: readonly SeenObject[],
): KeyOutcome | { rotate: string } | undefined {
  const { key, now } = context;
  const { certificate } = found;
  const arrived = arrival(context, [found]);
  if (arrived !== undefined) return take(context, steps, arrived.facts, arrived.of, archived);
  const facts = certificateFacts(certificate);
  if (facts === undefined) {
    ask(context, steps, found, finalIdentity(key), "the key has no certificate");
    return unchanged(key.name, steps.steps, undefined);
  }
  const due = renewal(key, facts, undefined, now);
  if (due === undefined) return undefined;
  if (key.certificate!.renewKey) return { rotate: due.reason };
  ask(context, steps, found, finalIdentity(key), due.reason);
  return unchanged(key.name, steps.steps, facts);
}

/**
 * A replacement that has no certificate yet: it waits under its own identity, while the key that is certified keeps
 * its place.
 * @param current what stands under the key's identity; undefined when that cannot be told
 */
export function planReplacement(
  context: OutsideContext,
  steps: KeySteps,
  found: Disentangled,
  current: Disentangled | undefined,
  archived: readonly SeenObject[],
): KeyOutcome {
  const { key } = context;
  const arrived = arrival(context, current === undefined ? [found] : [found, current]);
  if (arrived?.of === current && current !== undefined) return take(context, steps, arrived!.facts, current, archived);
  if (arrived === undefined) {
    ask(context, steps, found, newIdentity(key), "its replacement has no certificate");
    return unchanged(key.name, steps.steps, certificateFacts(current?.certificate));
  }
  const { facts } = arrived;
  steps.import(newIdentity(key), key.certificate!.import!, facts.notAfter, "that of its replacement came");
  steps.promote(found.promote, found.archive);
  steps.publish("a replacement was completed");
  steps.retireReplaced(archived);
  return changed(key.name, steps, facts, true);
}

/** The certificate in the import file, where it is one to take; and whose it is. */
function arrival(
  { key, observation, resolve, now }: OutsideContext,
  candidates: readonly Disentangled[],
): { facts: CertificateFacts; of: Disentangled } | undefined {
  const file = key.certificate!.import;
  const seen = file === undefined ? undefined : observation.imports[resolve(file)];
  if (seen?.state === "unreadable") {
    throw new Refusal(`${file} cannot be read: ${seen.error}`, ["put the certificate there, in PEM or DER"]);
  }
  if (seen?.state !== "present") return undefined;
  const facts = readCertificate(Buffer.from(seen.der, "base64"));
  const of = candidates.find(({ publicKey }) => publicKey === undefined || publicKey === fingerprint(facts.spki));
  if (of === undefined) {
    // That of a key that was replaced, and nobody has taken the file away.
    const isOld = candidates.some(({ certificate }) => {
      const present = certificateFacts(certificate);
      return present !== undefined && present.notBefore > facts.notBefore && sameName(present.subject, facts.subject);
    });
    if (isOld) return undefined;
    throw new Refusal(`the certificate in ${file} does not match the key`, [
      "it was made for another key; send the request of this one again",
    ]);
  }
  const present = certificateFacts(of.certificate);
  if (present !== undefined && Buffer.compare(present.der, facts.der) === 0) return undefined;
  if (present !== undefined && present.notBefore > facts.notBefore) return undefined;
  if (facts.notAfter < now) {
    throw new Refusal(`the certificate in ${file} ended on ${day(facts.notAfter)}`, [
      "put a newer one there, or take the file away",
    ]);
  }
  return { facts, of };
}

/** Takes a certificate for the key as it stands. */
function take(
  { key }: OutsideContext,
  steps: KeySteps,
  facts: CertificateFacts,
  { certificate }: Disentangled,
  archived: readonly SeenObject[],
): KeyOutcome {
  const reason = certificate === undefined ? "it came" : "a newer one came";
  steps.import(finalIdentity(key), key.certificate!.import!, facts.notAfter, reason);
  steps.publish(reason);
  if (certificate !== undefined) {
    steps.archive([certificate]);
    steps.retireReplaced(archived);
  }
  return changed(key.name, steps, facts, false);
}

function changed(name: string, steps: KeySteps, certificate: CertificateFacts, newKey: boolean): KeyOutcome {
  const { subject, notAfter } = certificate;
  const asIssuer = {
    name,
    certificate,
    subject,
    authority: () => authorityOf(certificate),
    notAfter,
    changes: true,
    newKey,
  };
  return { steps: steps.steps, refused: false, certificate: undefined, asIssuer };
}

/** Writes the request, or waits where it is written already. */
function ask(
  context: OutsideContext,
  steps: KeySteps,
  { spki }: Disentangled,
  identity: Identity,
  reason: string,
): void {
  const { csr, subject, extensions } = context.key.certificate!;
  const written = csr === undefined ? undefined : context.observation.requests[context.resolve(csr)];
  const wanted =
    subject === undefined || spki === undefined
      ? undefined
      : fingerprint(requestInfo(parseName(subject), Buffer.from(spki, "base64"), extensions));
  if (written !== undefined && written === wanted) steps.wait(`${reason}; the request is in ${csr}`);
  else request(context, steps, identity, reason);
}
