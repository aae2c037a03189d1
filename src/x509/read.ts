/**
 * Reading certificates: the few fields that deciding needs, without a library to load.
 * @module
 */
import { createHash, X509Certificate } from "node:crypto";
import { fromUtf8, Reader } from "../codec/bytes.ts";
import { expectTlv, readTlv, TAG } from "../codec/der.ts";
import { CodecError } from "../codec/errors.ts";
import { decodePem, encodePem } from "../codec/pem.ts";
import { X509Error } from "./errors.ts";
import { decodeExtensions, type Extension } from "./extension-list.ts";
import { decodeName, type Name, serialText } from "./names.ts";
import { readTime } from "./times.ts";

/** What is read of a certificate (RFC 5280 4.1). */
export interface CertificateFacts {
  readonly der: Uint8Array;
  /** AlgorithmIdentifier of its signature, in DER. */
  readonly signature: Uint8Array;
  /** As OpenSSL prints it: hexadecimal, capitals. */
  readonly serial: string;
  readonly issuer: Name;
  readonly subject: Name;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo, in DER. */
  readonly spki: Uint8Array;
  /** The INTEGER, issuer and subject as they stand, for CKA_SERIAL_NUMBER, CKA_ISSUER and CKA_SUBJECT. */
  readonly raw: { readonly serial: Uint8Array; readonly issuer: Uint8Array; readonly subject: Uint8Array };
}

/** Reads a certificate. @throws CodecError for bytes that are not one */
export function readCertificate(der: Uint8Array): CertificateFacts {
  const r = new Reader(der, "certificate");
  const { value: certificate } = expectTlv(r, TAG.sequence, "Certificate");
  r.end();
  const { value: tbs } = expectTlv(certificate, TAG.sequence, "tbsCertificate");
  if (tbs.peek() === 0xa0) readTlv(tbs, "version");
  const serial = expectTlv(tbs, TAG.integer, "serialNumber");
  const signature = expectTlv(tbs, TAG.sequence, "signature").whole;
  const issuer = expectTlv(tbs, TAG.sequence, "issuer").whole;
  const { value: validity } = expectTlv(tbs, TAG.sequence, "validity");
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  const subject = expectTlv(tbs, TAG.sequence, "subject").whole;
  const spki = expectTlv(tbs, TAG.sequence, "subjectPublicKeyInfo").whole;
  return {
    der,
    signature,
    serial: serialText(serial.value.take(serial.value.left)),
    issuer: decodeName(issuer),
    subject: decodeName(subject),
    notBefore,
    notAfter,
    spki,
    raw: { serial: serial.whole, issuer, subject },
  };
}

/** What an object holds that should be a certificate; undefined where it is none, which a program that was killed left so. */
export function certificateIn(der: Uint8Array): CertificateFacts | undefined {
  try {
    return readCertificate(der);
  } catch (error) {
    if (error instanceof CodecError) return undefined;
    throw error;
  }
}

/** The certificates of a file's contents: PEM blocks, or one DER. @throws X509Error when there is none */
export function readCertificates(contents: Uint8Array): CertificateFacts[] {
  if (contents[0] === TAG.sequence) return [readCertificate(contents)];
  const blocks = decodePem(fromUtf8(contents)).filter(({ label }) => label === "CERTIFICATE");
  if (blocks.length === 0) throw new X509Error("no certificate, in PEM or DER, is there");
  return blocks.map(({ bytes }) => readCertificate(bytes));
}

/** SHA-256 of the first certificate of a PEM file that begins with one; undefined for any other. */
export function firstFingerprint(contents: Uint8Array): string | undefined {
  const text = Buffer.from(contents.buffer, contents.byteOffset, contents.byteLength).toString("latin1");
  if (!text.startsWith("-----BEGIN CERTIFICATE-----")) return undefined;
  try {
    const [first] = decodePem(text);
    return first === undefined ? undefined : fingerprint(first.bytes);
  } catch (error) {
    if (error instanceof CodecError) return undefined;
    throw error;
  }
}

/** PEM, `CERTIFICATE`. */
export function certificatePem(der: Uint8Array): string {
  return encodePem("CERTIFICATE", der);
}

/** The SHA-256 of a certificate or public key, in hexadecimal. */
export function fingerprint(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("hex");
}

/** Whether one certificate's key signed another, and may have: names, key usage, signature. */
export function isIssuedBy(der: Uint8Array, issuer: Uint8Array): boolean {
  const child = new X509Certificate(der);
  const parent = new X509Certificate(issuer);
  return child.checkIssued(parent) && child.verify(parent.publicKey);
}

/** Whether a certificate says that it is a CA's (basicConstraints). */
export function isCa(der: Uint8Array): boolean {
  return new X509Certificate(der).ca;
}

/** The names of RFC 5280's extensions, by their object identifiers. */
export const EXTENSION_NAMES: Readonly<Record<string, string>> = {
  "2.5.29.14": "subjectKeyIdentifier",
  "2.5.29.15": "keyUsage",
  "2.5.29.17": "subjectAltName",
  "2.5.29.18": "issuerAltName",
  "2.5.29.19": "basicConstraints",
  "2.5.29.30": "nameConstraints",
  "2.5.29.31": "crlDistributionPoints",
  "2.5.29.32": "certificatePolicies",
  "2.5.29.33": "policyMappings",
  "2.5.29.35": "authorityKeyIdentifier",
  "2.5.29.36": "policyConstraints",
  "2.5.29.37": "extendedKeyUsage",
  "2.5.29.46": "freshestCRL",
  "2.5.29.54": "inhibitAnyPolicy",
  "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
  "1.3.6.1.5.5.7.1.11": "subjectInfoAccess",
  "1.3.6.1.5.5.7.1.24": "tlsfeature",
};

/** The extensions of a certificate (RFC 5280 4.1.2.9). */
export function readExtensions(der: Uint8Array): Extension[] {
  const r = new Reader(der, "certificate");
  const { value: certificate } = expectTlv(r, TAG.sequence, "Certificate");
  const { value: tbs } = expectTlv(certificate, TAG.sequence, "tbsCertificate");
  while (tbs.left > 0) {
    const { tag, value } = readTlv(tbs, "field");
    if (tag === 0xa3) return decodeExtensions(value);
  }
  return [];
}
