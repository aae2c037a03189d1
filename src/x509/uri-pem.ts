/**
 * A key's URI as a PEM file, for programs that load keys from files (OpenSSL's pkcs11-provider).
 * @module
 */
import { utf8 } from "../codec/bytes.ts";
import { der, derSequence, TAG } from "../codec/der.ts";
import { encodePem } from "../codec/pem.ts";

/** PEM of SEQUENCE { VisibleString "PKCS#11 Provider URI v1.0", UTF8String uri }. The URI should carry no pin-value. */
export function uriPem(uri: string): string {
  const version = der(TAG.visibleString, utf8("PKCS#11 Provider URI v1.0"));
  return encodePem("PKCS#11 PROVIDER URI", derSequence(version, der(TAG.utf8String, utf8(uri))));
}
