/**
 * Whether a key's certificate is to be made, renewed or kept.
 * @module
 */
import { digestByName } from "../../cryptoki/mechanisms.ts";
import { type Authority, buildExtensions, keyIdentifierIn } from "../../x509/extensions.ts";
import { formatName, type Name, parseName, sameName } from "../../x509/names.ts";
import {
  type CertificateFacts,
  EXTENSION_NAMES,
  isIssuedBy,
  readCertificate,
  readExtensions,
} from "../../x509/read.ts";
import { signatureForm } from "../../x509/signers.ts";
import type { CertificateDeclaration, KeyDeclaration } from "../declaration.ts";
import type { SeenObject } from "../observation.ts";
import { addDuration } from "../values.ts";
import { Refusal } from "./refusal.ts";
import type { CertificatePlan } from "./steps.ts";

/** Certificates begin a little before they are made, for clocks that are slow. In ms. */
const BACKDATE = 5 * 60_000;
/** A certificate that begins further in the future than this was made by a clock that was ahead, or this one is behind. */
const CLOCK_TOLERANCE = 60 * 60_000;

/** What is known of an issuer while its children are planned. */
export interface IssuerState {
  readonly name: string;
  /** Its certificate, if it keeps it; undefined when it gets another in this plan. */
  readonly certificate: CertificateFacts | undefined;
  /** The name that it has after this plan. */
  readonly subject: Name;
  /** What its certificate is named by after this plan; undefined for a key that is made in it. */
  authority(): Authority | undefined;
  /** When the certificate that it will have after this plan ends. */
  readonly notAfter: Date;
  /** Whether its certificate changes in this plan. */
  readonly changes: boolean;
  /** Whether its key changes in this plan, so that every child needs a new certificate. */
  readonly newKey: boolean;
}

/** What a certificate will be named by that a plan makes for a key that is there. @param spki SubjectPublicKeyInfo */
export function authorityToBe(
  { subject, extensions }: CertificateDeclaration,
  issuer: IssuerState | undefined,
  spki: Uint8Array,
): Authority {
  const name = parseName(subject!);
  const above = issuer?.authority();
  const own = buildExtensions(extensions, { subject: name, spki, ...(above && { issuer: above }) });
  // It will have a serial number that no other has.
  return { keyIdentifier: keyIdentifierIn(own, spki), issuer: issuer?.subject ?? name, serial: new Uint8Array() };
}

/** Why a certificate is to be made again; undefined when it is to be kept. */
export interface Renewal {
  readonly reason: string;
  /** Whether the declaration's `renewKey` applies: the time has come, rather than the contents being different. */
  readonly byTime: boolean;
}

/** Each is asked several times while its key is planned. */
const read = new WeakMap<SeenObject, CertificateFacts>();

/** What a certificate object of a token says. */
export function certificateFacts(object: SeenObject | undefined): CertificateFacts | undefined {
  if (object?.der === undefined) return undefined;
  let facts = read.get(object);
  if (facts === undefined) {
    facts = readCertificate(Buffer.from(object.der, "base64"));
    read.set(object, facts);
  }
  return facts;
}

/**
 * The dates, name and extensions of a certificate to be made now.
 * @param objects those of the key's token: no two certificates of an issuer have one serial number (RFC 5280 4.1.2.2), so
 * a declared one is for the first certificate of a key
 * @param isFirst whether it is that
 * @throws Refusal when it would outlive its issuer
 */
export function certificatePlan(
  key: KeyDeclaration,
  issuer: IssuerState | undefined,
  objects: readonly SeenObject[],
  isFirst: boolean,
  now: Date,
): CertificatePlan {
  const declared = key.certificate!;
  const notBefore = wholeSeconds(new Date(now.getTime() - BACKDATE));
  const notAfter = wholeSeconds(addDuration(now, declared.validity));
  if (issuer !== undefined && notAfter > issuer.notAfter) {
    throw new Refusal(
      `its certificate would end on ${day(notAfter)}, after that of its issuer ${issuer.name} (${day(issuer.notAfter)})`,
      ["declare a shorter validity", `or renew the issuer: renewBefore, or keywright apply --rotate ${issuer.name}`],
    );
  }
  return {
    subject: formatName(parseName(declared.subject!)),
    ...(declared.issuer === undefined ? {} : { issuer: declared.issuer }),
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
    ...(isFirst && declared.serial !== undefined && !isUsed(declared, issuer, objects)
      ? { serial: declared.serial }
      : {}),
    ...(declared.digest === undefined ? {} : { digest: declared.digest }),
    pss: declared.pss,
    extensions: declared.extensions,
  };
}

/** Whether the declared serial number stands in a certificate of the same issuer already. */
function isUsed(
  { serial, subject }: CertificateDeclaration,
  issuer: IssuerState | undefined,
  objects: readonly SeenObject[],
): boolean {
  const by = issuer === undefined ? parseName(subject!) : issuer.subject;
  return objects.some((object) => {
    const facts = certificateFacts(object);
    if (facts === undefined || !sameName(facts.issuer, by)) return false;
    return BigInt(`0x${facts.serial}`) === BigInt(serial!);
  });
}

function wholeSeconds(date: Date): Date {
  return new Date(Math.floor(date.getTime() / 1000) * 1000);
}

/** A date for people, `2027-01-31`. */
export function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

/**
 * Compares a certificate with its declaration and the time.
 * @throws Refusal when the clock is behind the certificate
 */
export function renewal(
  { name, certificate }: KeyDeclaration,
  facts: CertificateFacts,
  issuer: IssuerState | undefined,
  now: Date,
): Renewal | undefined {
  const declared = certificate!;
  // When an outside CA lets a certificate begin is its own business, as is what it writes.
  const outside = declared.csr !== undefined || declared.import !== undefined;
  if (!outside && facts.notBefore.getTime() - now.getTime() > CLOCK_TOLERANCE) {
    throw new Refusal(
      `its certificate begins on ${facts.notBefore.toISOString()}, and this machine's clock says ${now.toISOString()}`,
      [
        "set the clock right",
        `if it was ahead when the certificate was made, a new key and certificate: keywright apply --rotate ${name}`,
      ],
    );
  }
  const different = outside ? undefined : contentsDiffer(declared, facts, issuer);
  if (different !== undefined) return { reason: different, byTime: false };
  if (declared.renewBefore === undefined) return undefined;
  const due = addDuration(facts.notAfter, declared.renewBefore, -1);
  if (now <= due) return undefined;
  return { reason: `it ${now > facts.notAfter ? "ended" : "ends"} on ${day(facts.notAfter)}`, byTime: true };
}

/** Which part of a certificate is not as declared. Validity is not compared: it is met when the time comes. */
function contentsDiffer(
  declared: CertificateDeclaration,
  facts: CertificateFacts,
  issuer: IssuerState | undefined,
): string | undefined {
  const subject = parseName(declared.subject!);
  if (!sameName(subject, facts.subject)) return `subject: ${formatName(facts.subject)} -> ${formatName(subject)}`;
  if (issuer?.newKey === true) return `its issuer ${issuer.name} gets a new key`;
  if (
    declared.issuer !== undefined &&
    issuer?.certificate !== undefined &&
    !isIssuedBy(facts.der, issuer.certificate.der)
  ) {
    return `it was not issued by the present key of ${declared.issuer}`;
  }
  if (issuer !== undefined && !sameName(facts.issuer, issuer.subject)) {
    return `issuer: ${formatName(facts.issuer)} -> ${formatName(issuer.subject)}`;
  }
  if (declared.issuer === undefined && !sameName(facts.issuer, facts.subject)) {
    return `issuer: ${formatName(facts.issuer)} -> itself`;
  }
  return signatureDiffers(declared, facts) ?? extensionsDiffer(declared, facts, issuer);
}

/** Declared digest and padding are compared; a digest that fits the key by default is not. */
function signatureDiffers(declared: CertificateDeclaration, { signature }: CertificateFacts): string | undefined {
  const form = signatureForm(signature);
  if (form === undefined) return undefined;
  if (form.rsa && form.pss !== declared.pss) return `its signature is ${form.pss ? "" : "not "}RSASSA-PSS`;
  const digest = declared.digest === undefined ? form.digest : digestByName(declared.digest);
  return digest === form.digest ? undefined : `digest: ${form.digest} -> ${digest}`;
}

function extensionsDiffer(
  declared: CertificateDeclaration,
  facts: CertificateFacts,
  issuer: IssuerState | undefined,
): string | undefined {
  const authority = issuer?.authority();
  if (declared.issuer !== undefined && authority === undefined) return undefined;
  const wanted = buildExtensions(declared.extensions, {
    subject: facts.subject,
    spki: facts.spki,
    ...(authority === undefined ? {} : { issuer: authority }),
  });
  const actual = readExtensions(facts.der);
  for (const { oid, critical, value } of wanted) {
    const found = actual.find((one) => one.oid === oid);
    const same = found !== undefined && found.critical === critical && Buffer.compare(found.value, value) === 0;
    if (!same) return `extension ${EXTENSION_NAMES[oid] ?? oid} is ${found === undefined ? "missing" : "different"}`;
  }
  const extra = actual.find(({ oid }) => !wanted.some((one) => one.oid === oid));
  return extra === undefined ? undefined : `extension ${EXTENSION_NAMES[extra.oid] ?? extra.oid} is not declared`;
}
