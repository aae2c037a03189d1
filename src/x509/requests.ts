/**
 * Certificate signing requests (PKCS#10, RFC 2986).
 * @module
 */
import { verify } from "node:crypto";
import { CertificationRequest, CertificationRequestInfo } from "@peculiar/asn1-csr";
import { AsnConvert } from "@peculiar/asn1-schema";
import {
  AlgorithmIdentifier,
  Name as AsnName,
  Attribute,
  type Extension,
  Extensions,
  SubjectPublicKeyInfo,
} from "@peculiar/asn1-x509";
import { fromUtf8, toHex } from "../codec/bytes.ts";
import { decodePem, encodePem } from "../codec/pem.ts";
import { DIGESTS } from "../cryptoki/mechanisms.ts";
import { X509Error } from "./errors.ts";
import { buildExtensions } from "./extensions.ts";
import { decodeName, encodeName, type Name } from "./names.ts";
import { publicKeyObject } from "./public-keys.ts";
import { digestOfSignature, type Signer } from "./signers.ts";

/** extensionRequest (RFC 2985 5.4.2). */
const EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
const RSASSA_PSS = "1.2.840.113549.1.1.10";

/** Makes a request. @param extensions in OpenSSL's syntax @returns DER */
export async function makeRequest(
  subject: Name,
  spki: Uint8Array,
  extensions: readonly string[],
  signer: Signer,
): Promise<Uint8Array> {
  const info = new CertificationRequestInfo({
    version: 0,
    subject: AsnConvert.parse(encodeName(subject), AsnName),
    subjectPKInfo: AsnConvert.parse(spki, SubjectPublicKeyInfo),
  });
  const requested = buildExtensions(extensions, { subject, spki }, true);
  if (requested.length > 0) {
    const values = [AsnConvert.serialize(new Extensions(requested))];
    info.attributes.push(new Attribute({ type: EXTENSION_REQUEST, values }));
  }
  const signature = await signer.sign(new Uint8Array(AsnConvert.serialize(info)));
  const request = new CertificationRequest({
    certificationRequestInfo: info,
    signatureAlgorithm: AsnConvert.parse(signer.algorithm, AlgorithmIdentifier),
    signature: Uint8Array.from(signature).buffer,
  });
  return new Uint8Array(AsnConvert.serialize(request));
}

/** PEM, `CERTIFICATE REQUEST`. */
export function requestPem(der: Uint8Array): string {
  return encodePem("CERTIFICATE REQUEST", der);
}

/** What a request asks for. */
export interface RequestFacts {
  readonly subject: Name;
  readonly spki: Uint8Array;
  /** The extensions asked for, as declarations write them: `OID=critical,DER:hex`. */
  readonly extensions: readonly string[];
}

/**
 * Reads a request and checks that it was signed with the key that it carries.
 * @param contents PEM or DER @throws X509Error when it is none, or its signature is wrong
 */
export function readRequest(contents: Uint8Array): RequestFacts {
  const der = requestDer(contents);
  const request = AsnConvert.parse(der, CertificationRequest);
  const { certificationRequestInfo: info, signatureAlgorithm } = request;
  const spki = new Uint8Array(AsnConvert.serialize(info.subjectPKInfo));
  const signed = request.certificationRequestInfoRaw ?? AsnConvert.serialize(info);
  if (!signatureHolds(spki, signatureAlgorithm.algorithm, new Uint8Array(signed), new Uint8Array(request.signature))) {
    throw new X509Error("the request was not signed with the key that it carries");
  }
  const attribute = info.attributes?.find(({ type }) => type === EXTENSION_REQUEST);
  const extensions: Extension[] =
    attribute === undefined ? [] : [...AsnConvert.parse(attribute.values[0]!, Extensions)];
  return {
    subject: decodeName(new Uint8Array(AsnConvert.serialize(info.subject))),
    spki,
    extensions: extensions.map(
      ({ extnID, critical, extnValue }) =>
        `${extnID}=${critical ? "critical," : ""}DER:${toHex(new Uint8Array(extnValue.buffer))}`,
    ),
  };
}

function requestDer(contents: Uint8Array): Uint8Array {
  if (contents[0] === 0x30) return contents;
  const block = decodePem(fromUtf8(contents)).find(({ label }) => /^(?:NEW )?CERTIFICATE REQUEST$/.test(label));
  if (block === undefined) throw new X509Error("no certificate request, in PEM or DER, is there");
  return block.bytes;
}

function signatureHolds(spki: Uint8Array, algorithm: string, data: Uint8Array, signature: Uint8Array): boolean {
  if (algorithm === RSASSA_PSS) throw new X509Error("a request with an RSASSA-PSS signature cannot be checked here");
  const digest = digestOfSignature(algorithm);
  return verify(digest === undefined ? null : DIGESTS[digest].node, data, publicKeyObject(spki), signature);
}
