/**
 * The list of extensions that certificates and requests carry (RFC 5280 4.1.2.9).
 * @module
 */
import type { Reader } from "../codec/bytes.ts";
import {
  derBoolean,
  derOctetString,
  derOid,
  derSequence,
  expectTlv,
  readOctetString,
  readOid,
  TAG,
} from "../codec/der.ts";

/** One extension. */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  /** The contents of extnValue, in DER. */
  readonly value: Uint8Array;
}

/** Encodes Extensions. critical is FALSE by default, and DER leaves defaults out. */
export function encodeExtensions(extensions: readonly Extension[]): Uint8Array {
  return derSequence(
    ...extensions.map(({ oid, critical, value }) =>
      derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctetString(value)),
    ),
  );
}

/** Reads Extensions. */
export function decodeExtensions(r: Reader): Extension[] {
  const { value: list } = expectTlv(r, TAG.sequence, "extensions");
  const extensions: Extension[] = [];
  while (list.left > 0) {
    const { value: one } = expectTlv(list, TAG.sequence, "extension");
    const oid = readOid(one);
    const critical = one.peek() === TAG.boolean && expectTlv(one, TAG.boolean, "critical").value.u8() !== 0;
    extensions.push({ oid, critical, value: readOctetString(one) });
  }
  return extensions;
}
