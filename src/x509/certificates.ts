/**
 * Making certificates. The library lays out the structures; the signature comes from a token.
 * @module
 */
import { randomBytes } from "node:crypto";
import { AsnConvert } from "@peculiar/asn1-schema";
import {
  AlgorithmIdentifier,
  Name as AsnName,
  Certificate,
  Extensions,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Time,
  Validity,
} from "@peculiar/asn1-x509";
import { X509Error } from "./errors.ts";
import { buildExtensions } from "./extensions.ts";
import { encodeName, type Name } from "./names.ts";
import type { CertificateFacts } from "./read.ts";
import type { Signer } from "./signers.ts";

/** What a certificate says. */
export interface CertificateContents {
  readonly subject: Name;
  /** SubjectPublicKeyInfo of the certified key, in DER. */
  readonly spki: Uint8Array;
  /** The issuing certificate; absent for a certificate that signs itself. */
  readonly issuer?: CertificateFacts;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Big-endian, positive, at most 20 bytes (RFC 5280 4.1.2.2); 16 random bytes by default. */
  readonly serial?: Uint8Array | undefined;
  /** In OpenSSL's syntax. */
  readonly extensions: readonly string[];
}

/** Makes a certificate. @returns DER @throws X509Error for a serial number, date or extension that cannot be */
export async function makeCertificate(contents: CertificateContents, signer: Signer): Promise<Uint8Array> {
  const { subject, spki, issuer } = contents;
  const context = {
    subject,
    spki,
    ...(issuer === undefined
      ? {}
      : { issuer: { spki: issuer.spki, name: issuer.subject, serial: Buffer.from(issuer.serial, "hex") } }),
  };
  if (contents.notAfter <= contents.notBefore) throw new X509Error("the certificate would end before it begins");
  const signature = AsnConvert.parse(signer.algorithm, AlgorithmIdentifier);
  const tbs = new TBSCertificate({
    version: 2,
    serialNumber: serialNumber(contents.serial ?? randomSerial()),
    signature,
    issuer: AsnConvert.parse(issuer?.raw.subject ?? encodeName(subject), AsnName),
    validity: validity(contents.notBefore, contents.notAfter),
    subject: AsnConvert.parse(encodeName(subject), AsnName),
    subjectPublicKeyInfo: AsnConvert.parse(spki, SubjectPublicKeyInfo),
    extensions: new Extensions(buildExtensions(contents.extensions, context)),
  });
  const signed = new Uint8Array(AsnConvert.serialize(tbs));
  const certificate = new Certificate({
    tbsCertificate: tbs,
    signatureAlgorithm: signature,
    signatureValue: arrayBuffer(await signer.sign(signed)),
  });
  return new Uint8Array(AsnConvert.serialize(certificate));
}

/** 127 random bits; the first byte is never 0, so that the number has always the same length. */
function randomSerial(): Uint8Array {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial;
}

function serialNumber(serial: Uint8Array): ArrayBuffer {
  let from = 0;
  while (from < serial.length - 1 && serial[from] === 0) from += 1;
  const bytes = serial.subarray(from);
  const signed = bytes[0]! >= 0x80 ? Uint8Array.of(0, ...bytes) : bytes;
  if (signed.length > 20 || bytes.every((byte) => byte === 0)) {
    throw new X509Error("the serial number is not a positive number of at most 20 bytes", {
      hints: ["RFC 5280 4.1.2.2"],
    });
  }
  return arrayBuffer(signed);
}

/** RFC 5280 4.1.2.5: whole seconds, UTCTime until 2049. */
function validity(notBefore: Date, notAfter: Date): Validity {
  const time = (date: Date) => {
    const whole = new Date(Math.floor(date.getTime() / 1000) * 1000);
    return new Time(whole.getUTCFullYear() < 2050 ? { utcTime: whole } : { generalTime: whole });
  };
  const made = new Validity();
  made.notBefore = time(notBefore);
  made.notAfter = time(notAfter);
  return made;
}

function arrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
