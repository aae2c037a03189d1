/**
 * Certificate signing requests (PKCS#10, RFC 2986).
 * @module
 */
import { verify } from "node:crypto";
import { fromUtf8, Reader, toHex } from "../codec/bytes.ts";
import {
  der,
  derBitString,
  derConstructed,
  derInteger,
  derOid,
  derSequence,
  expectTlv,
  readBitString,
  readInteger,
  readOid,
  TAG,
} from "../codec/der.ts";
import { CodecError } from "../codec/errors.ts";
import { decodePem, encodePem } from "../codec/pem.ts";
import { BYTES, listOf, requireArguments, TEXT } from "../cryptoki/arguments.ts";
import { DIGESTS } from "../cryptoki/mechanisms.ts";
import { X509Error } from "./errors.ts";
import { decodeExtensions, type Extension, encodeExtensions } from "./extension-list.ts";
import { buildExtensions } from "./extensions.ts";
import { decodeName, encodeName, NAME, type Name } from "./names.ts";
import { publicKeyObject, requireSpki } from "./public-keys.ts";
import { digestOfSignature, SIGNER, type Signer } from "./signers.ts";

/** extensionRequest (RFC 2985 5.4.2). */
const EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
/** The tag of CertificationRequestInfo's attributes. */
const ATTRIBUTES = 0;
const RSASSA_PSS = "1.2.840.113549.1.1.10";

/** Makes a request. @param extensions in OpenSSL's syntax @returns DER */
export async function makeRequest(
  subject: Name,
  spki: Uint8Array,
  extensions: readonly string[],
  signer: Signer,
): Promise<Uint8Array> {
  requireArguments("makeRequest", {
    subject: [subject, NAME],
    spki: [spki, BYTES],
    extensions: [extensions, listOf("texts", TEXT)],
    signer: [signer, SIGNER],
  });
  requireSpki(spki);
  const info = requestInfo(subject, spki, extensions);
  return derSequence(info, signer.algorithm, derBitString(await signer.sign(info)));
}

/** What is signed of a request: CertificationRequestInfo, in DER; the same for the same subject, key and extensions. */
export function requestInfo(subject: Name, spki: Uint8Array, extensions: readonly string[]): Uint8Array {
  const requested = buildExtensions(extensions, { subject, spki }, true);
  const attributes =
    requested.length === 0 ? [] : [derSequence(derOid(EXTENSION_REQUEST), der(TAG.set, encodeExtensions(requested)))];
  return derSequence(derInteger(0n), encodeName(subject), spki, derConstructed(ATTRIBUTES, ...attributes));
}

/** The CertificationRequestInfo of a request, PEM or DER; undefined if it is none. */
export function requestInfoOf(contents: Uint8Array): Uint8Array | undefined {
  try {
    const r = new Reader(requestDer(contents), "request");
    const { value: request } = expectTlv(r, TAG.sequence, "CertificationRequest");
    return expectTlv(request, TAG.sequence, "certificationRequestInfo").whole;
  } catch (error) {
    if (error instanceof CodecError || error instanceof X509Error) return undefined;
    throw error;
  }
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
 * @param contents PEM or DER
 * @throws X509Error when it is none, or its signature is wrong; CodecError when it is broken off or put together wrongly
 */
export function readRequest(contents: Uint8Array): RequestFacts {
  const r = new Reader(requestDer(contents), "request");
  const { value: request } = expectTlv(r, TAG.sequence, "CertificationRequest");
  r.end();
  const info = expectTlv(request, TAG.sequence, "certificationRequestInfo");
  const algorithm = readOid(expectTlv(request, TAG.sequence, "signatureAlgorithm").value);
  const signature = readBitString(request, "signature");
  request.end();
  readInteger(info.value, "version");
  const subject = decodeName(expectTlv(info.value, TAG.sequence, "subject").whole);
  const spki = expectTlv(info.value, TAG.sequence, "subjectPKInfo").whole;
  if (!signatureHolds(spki, algorithm, info.whole, signature)) {
    throw new X509Error("the request was not signed with the key that it carries");
  }
  const extensions = info.value.left === 0 ? [] : requestedExtensions(info.value);
  return {
    subject,
    spki,
    extensions: extensions.map(
      ({ oid, critical, value }) => `${oid}=${critical ? "critical," : ""}DER:${toHex(value)}`,
    ),
  };
}

function requestedExtensions(info: Reader): Extension[] {
  const { value: attributes } = expectTlv(info, 0xa0 | ATTRIBUTES, "attributes");
  info.end();
  while (attributes.left > 0) {
    const { value: attribute } = expectTlv(attributes, TAG.sequence, "attribute");
    if (readOid(attribute) !== EXTENSION_REQUEST) continue;
    return decodeExtensions(expectTlv(attribute, TAG.set, "values").value);
  }
  return [];
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
