/**
 * Distinguished names: OpenSSL's form with slashes, RFC 4514's with commas, and DER.
 * @module
 */
import { bytesToBigint, fromHex, fromUtf8, Reader, toHex, utf8 } from "../codec/bytes.ts";
import { der, derOid, derSequence, expectTlv, readOid, readTlv, TAG } from "../codec/der.ts";
import { type Kind, listOf, requireArguments, TEXT } from "../cryptoki/arguments.ts";
import { X509Error } from "./errors.ts";

const IA5_STRING = 0x16;

/** One attribute of a name. `der` is the value's own encoding when it is not one of the usual string types. */
export interface NameAttribute {
  readonly oid: string;
  readonly value: string;
  readonly der?: Uint8Array;
}

/** A name: relative distinguished names in DER's order, the most general first; each has one attribute or more. */
export type Name = readonly (readonly NameAttribute[])[];

/** What Name is, for callers without types. */
export const NAME: Kind = listOf("relative names, as parseName gives", (value) =>
  Array.isArray(value) ? undefined : "",
);

/** Attribute types by their short names; RFC 4519, RFC 5280 appendix A.1, and the names that OpenSSL prints. */
const TYPES: Readonly<Record<string, string>> = {
  CN: "2.5.4.3",
  SN: "2.5.4.4",
  serialNumber: "2.5.4.5",
  C: "2.5.4.6",
  L: "2.5.4.7",
  ST: "2.5.4.8",
  street: "2.5.4.9",
  O: "2.5.4.10",
  OU: "2.5.4.11",
  title: "2.5.4.12",
  description: "2.5.4.13",
  businessCategory: "2.5.4.15",
  postalCode: "2.5.4.17",
  name: "2.5.4.41",
  GN: "2.5.4.42",
  initials: "2.5.4.43",
  generationQualifier: "2.5.4.44",
  dnQualifier: "2.5.4.46",
  pseudonym: "2.5.4.65",
  organizationIdentifier: "2.5.4.97",
  emailAddress: "1.2.840.113549.1.9.1",
  unstructuredName: "1.2.840.113549.1.9.2",
  UID: "0.9.2342.19200300.100.1.1",
  DC: "0.9.2342.19200300.100.1.25",
  jurisdictionC: "1.3.6.1.4.1.311.60.2.1.3",
  jurisdictionST: "1.3.6.1.4.1.311.60.2.1.2",
  jurisdictionL: "1.3.6.1.4.1.311.60.2.1.1",
};
const ALSO: Readonly<Record<string, string>> = {
  S: "ST",
  givenName: "GN",
  surname: "SN",
  E: "emailAddress",
  T: "title",
};

/** RFC 5280 appendix A.1, upper bounds: the most characters that a value has. A country has two letters (below). */
const MOST: Readonly<Record<string, number>> = {
  CN: 64,
  serialNumber: 64,
  L: 128,
  ST: 128,
  O: 64,
  OU: 64,
  title: 64,
  pseudonym: 128,
  emailAddress: 255,
};

/** RFC 5280: these are PrintableString, these IA5String; every other value is UTF8String. */
const PRINTABLE = new Set(["2.5.4.5", "2.5.4.6", "2.5.4.46", "1.3.6.1.4.1.311.60.2.1.3"]);
const IA5 = new Set(["1.2.840.113549.1.9.1", "1.2.840.113549.1.9.2", "0.9.2342.19200300.100.1.25"]);

/**
 * Parses a name. With slashes (`C=US/O=Example/CN=www`, a slash in front allowed) the order is DER's; with commas
 * (`CN=www,O=Example,C=US`) it is RFC 4514's, the most specific first. `+` joins attributes of one relative name.
 * @throws X509Error for an unknown attribute type, an empty value, one that is too long (RFC 5280 appendix A.1) or a
 * country that is not two letters
 */
export function parseName(text: string): Name {
  requireArguments("parseName", { name: [text, TEXT] });
  const body = text.startsWith("/") ? text.slice(1) : text;
  if (body.trim() === "")
    throw new X509Error("the name is empty", { hints: ["a name looks like C=US/O=Example/CN=www"] });
  const slashes = text.startsWith("/") || /(?<!\\)\/[A-Za-z][A-Za-z0-9.-]*=/.test(body);
  const parts = slashes ? splitAt(body, "/") : splitAt(body, ",").reverse();
  return parts.map((part) => inOrder(splitAt(part, "+").map((one) => parseAttribute(one, text))));
}

/** X.690 11.6: the elements of a SET OF stand in the order of their encodings. */
function inOrder(attributes: readonly NameAttribute[]): NameAttribute[] {
  return [...attributes].sort((a, b) => Buffer.compare(encodeAttribute(a), encodeAttribute(b)));
}

/**
 * Splits where a separator is followed by another `type=`; so a slash or comma within a value needs no escape unless
 * such a text follows it.
 */
function splitAt(text: string, separator: string): string[] {
  const escaped = separator === "+" ? "\\+" : separator;
  return text.split(new RegExp(`(?<!\\\\)${escaped}(?=\\s*(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\\.[0-9]+)+)\\s*=)`));
}

function parseAttribute(text: string, whole: string): NameAttribute {
  const equals = text.indexOf("=");
  const type = text.slice(0, Math.max(equals, 0)).trim();
  const oid = equals <= 0 ? undefined : typeOid(type);
  if (oid === undefined) {
    throw new X509Error(
      `the name ${JSON.stringify(whole)} has ${JSON.stringify(equals <= 0 ? text : type)} where an attribute like CN=… is expected`,
      {
        hints: [`attributes: ${Object.keys(TYPES).join(", ")}, or an object identifier`],
      },
    );
  }
  const raw = text.slice(equals + 1).trim();
  if (/^#(?:[0-9A-Fa-f]{2})+$/.test(raw)) return bounded(fromDerValue(oid, fromHex(raw.slice(1))!), whole);
  const value = raw.replace(/\\([0-9A-Fa-f]{2}(?:\\[0-9A-Fa-f]{2})*|.)/g, (_all, one: string) =>
    one.length === 1 ? one : fromUtf8(fromHex(one.replaceAll("\\", ""))!),
  );
  if (value === "") throw new X509Error(`the name ${JSON.stringify(whole)} has an empty ${type}`);
  return bounded({ oid, value }, whole);
}

/** @throws X509Error for a value that certificates must not have; only what we make is looked at */
function bounded(attribute: NameAttribute, whole: string): NameAttribute {
  const { oid, value } = attribute;
  if (oid === TYPES.C && !/^[A-Za-z]{2}$/.test(value)) {
    throw new X509Error(`the name ${JSON.stringify(whole)} has the country ${JSON.stringify(value)}, not two letters`);
  }
  const type = typeName(oid);
  const most = MOST[type] ?? Number.POSITIVE_INFINITY;
  const length = [...value].length;
  if (length <= most) return attribute;
  throw new X509Error(
    `the name ${JSON.stringify(whole)} has a ${type} of ${length} characters, at most ${most} (RFC 5280 appendix A.1)`,
    { hints: type === "CN" ? ["a longer host name stands in the extension subjectAltName alone"] : [] },
  );
}

function typeOid(type: string): string | undefined {
  if (/^[0-2](?:\.[0-9]+)+$/.test(type)) return type;
  const wanted = type.toLowerCase();
  const short = [...Object.keys(TYPES), ...Object.keys(ALSO)].find((name) => name.toLowerCase() === wanted);
  return short === undefined ? undefined : TYPES[ALSO[short] ?? short];
}

/** Encodes a name (X.501, Name). */
export function encodeName(name: Name): Uint8Array {
  return derSequence(...name.map((attributes) => der(TAG.set, ...inOrder(attributes).map(encodeAttribute))));
}

function encodeAttribute(attribute: NameAttribute): Uint8Array {
  return derSequence(derOid(attribute.oid), attribute.der ?? encodeValue(attribute));
}

function encodeValue({ oid, value }: NameAttribute): Uint8Array {
  const tag = PRINTABLE.has(oid) ? TAG.printableString : IA5.has(oid) ? IA5_STRING : TAG.utf8String;
  return der(tag, utf8(value));
}

/** Decodes a name. @throws CodecError for anything that is not one */
export function decodeName(bytes: Uint8Array): Name {
  const r = new Reader(bytes, "name");
  const { value } = expectTlv(r, TAG.sequence, "relative names");
  r.end();
  const names: NameAttribute[][] = [];
  while (value.left > 0) {
    const { value: set } = expectTlv(value, TAG.set, "relative name");
    const attributes: NameAttribute[] = [];
    while (set.left > 0) {
      const { value: pair } = expectTlv(set, TAG.sequence, "attribute");
      const oid = readOid(pair);
      attributes.push(fromDerValue(oid, readTlv(pair).whole));
      pair.end();
    }
    names.push(attributes);
  }
  return names;
}

function fromDerValue(oid: string, encoded: Uint8Array): NameAttribute {
  const { tag, value } = readTlv(new Reader(encoded, "attribute value"));
  const bytes = value.take(value.left);
  if (tag === TAG.utf8String || tag === TAG.printableString || tag === IA5_STRING)
    return { oid, value: fromUtf8(bytes) };
  const latin1 = 0x14;
  const bmp = 0x1e;
  if (tag === latin1) return { oid, value: Buffer.from(bytes).toString("latin1"), der: encoded };
  if (tag === bmp) return { oid, value: Buffer.from(bytes).swap16().toString("utf16le"), der: encoded };
  return { oid, value: `#${toHex(encoded)}`, der: encoded };
}

/** The name as RFC 4514 writes it: the most specific first, joined by commas. */
export function formatName(name: Name): string {
  return [...name]
    .reverse()
    .map((attributes) => attributes.map((a) => `${typeName(a.oid)}=${escapeValue(a.value)}`).join("+"))
    .join(",");
}

function typeName(oid: string): string {
  return Object.keys(TYPES).find((name) => TYPES[name] === oid) ?? oid;
}

/** RFC 4514 section 2.4. */
function escapeValue(value: string): string {
  if (/^#(?:[0-9a-f]{2})+$/.test(value)) return value;
  return value
    .replace(/[\\"+,;<>]/g, "\\$&")
    .replace(/^[ #]/, "\\$&")
    .replace(/ $/, "\\ ")
    .replaceAll("\0", "\\00");
}

/** Whether two names are the same: the same attributes and values, whatever string types they are encoded in. */
export function sameName(a: Name, b: Name): boolean {
  return formatName(a) === formatName(b);
}

/** The first value of an attribute type, such as `CN`; undefined if the name has none. */
export function nameValue(name: Name, type: string): string | undefined {
  return name.flat().find((attribute) => attribute.oid === typeOid(type))?.value;
}

/** A serial number as OpenSSL prints it: capitals, whole bytes. */
export function serialText(serial: Uint8Array): string {
  const hex = bytesToBigint(serial).toString(16).toUpperCase();
  return hex.padStart(hex.length + (hex.length % 2), "0");
}
