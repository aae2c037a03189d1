/**
 * Making certificates. The signature comes from a token.
 * @module
 */
import { randomBytes } from "node:crypto";
import { bytesToBigint } from "../codec/bytes.ts";
import { derBitString, derConstructed, derInteger, derSequence, integerBytes } from "../codec/der.ts";
import {
  BYTES,
  DATE,
  isPlain,
  kind,
  listOf,
  members,
  optional,
  requireArguments,
  TEXT,
} from "../cryptoki/arguments.ts";
import { X509Error } from "./errors.ts";
import { encodeExtensions } from "./extension-list.ts";
import { authorityOf, buildExtensions } from "./extensions.ts";
import { encodeName, NAME, type Name } from "./names.ts";
import { requireSpki } from "./public-keys.ts";
import type { CertificateFacts } from "./read.ts";
import { SIGNER, type Signer } from "./signers.ts";
import { encodeTime } from "./times.ts";

/** X.509 version 3 is number 2. */
const VERSION_3 = derConstructed(0, derInteger(2n));

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

const CONTENTS = members({
  subject: NAME,
  spki: BYTES,
  issuer: optional(kind("a certificate that was read (readCertificate)", isPlain)),
  notBefore: DATE,
  notAfter: DATE,
  serial: optional(BYTES),
  extensions: listOf("texts", TEXT),
});

/** Makes a certificate. @returns DER @throws X509Error for a serial number, date or extension that cannot be */
export async function makeCertificate(contents: CertificateContents, signer: Signer): Promise<Uint8Array> {
  requireArguments("makeCertificate", { contents: [contents, CONTENTS], signer: [signer, SIGNER] });
  const { subject, spki, issuer } = contents;
  const context = {
    subject,
    spki,
    ...(issuer === undefined ? {} : { issuer: authorityOf(issuer) }),
  };
  if (contents.notAfter <= contents.notBefore) throw new X509Error("the certificate would end before it begins");
  requireSpki(spki);
  const extensions = buildExtensions(contents.extensions, context);
  const tbs = derSequence(
    VERSION_3,
    serialNumber(contents.serial ?? randomSerial()),
    signer.algorithm,
    issuer?.raw.subject ?? encodeName(subject),
    derSequence(encodeTime(contents.notBefore), encodeTime(contents.notAfter)),
    encodeName(subject),
    spki,
    ...(extensions.length === 0 ? [] : [derConstructed(3, encodeExtensions(extensions))]),
  );
  return derSequence(tbs, signer.algorithm, derBitString(await signer.sign(tbs)));
}

/** 127 random bits; the first byte is never 0, so that the number has always the same length. */
function randomSerial(): Uint8Array {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial;
}

function serialNumber(serial: Uint8Array): Uint8Array {
  const number = bytesToBigint(serial);
  if (number === 0n || integerBytes(number).length > 20) {
    throw new X509Error("the serial number is not a positive number of at most 20 bytes", {
      hints: ["RFC 5280 4.1.2.2"],
    });
  }
  return derInteger(number);
}
