/**
 * Certificate extensions in OpenSSL's syntax (x509v3_config(5)): `basicConstraints=critical,CA:TRUE`.
 * @module
 */
import { bytesToBigint, fromHex, Reader, toHex } from "../codec/bytes.ts";
import {
  derBoolean,
  derConstructed,
  derInteger,
  derNamedBits,
  derOctetString,
  derOid,
  derPrimitive,
  derSequence,
  integerBytes,
  isOid,
  readOctetString,
  TAG,
} from "../codec/der.ts";
import { X509Error } from "./errors.ts";
import type { Extension } from "./extension-list.ts";
import { directoryName, parseConstraint, parseGeneralName, parseOid, rfc822Name } from "./general-names.ts";
import { type Name, nameValue } from "./names.ts";
import { keyIdentifier } from "./public-keys.ts";
import { type CertificateFacts, readExtensions } from "./read.ts";

/** What some extensions are made from. */
export interface ExtensionContext {
  readonly subject: Name;
  /** SubjectPublicKeyInfo of the certified key. */
  readonly spki: Uint8Array;
  /** The issuer; absent for a certificate that signs itself, and for a request. */
  readonly issuer?: Authority;
}

/** What a certificate says of the one that it was issued with (authorityKeyIdentifier, RFC 5280 4.2.1.1). */
export interface Authority {
  /** Its subjectKeyIdentifier, whatever that was made from. */
  readonly keyIdentifier: Uint8Array;
  /** Who issued it in its turn. */
  readonly issuer: Name;
  /** Its serial number, big-endian. */
  readonly serial: Uint8Array;
}

/** Of a certificate that issues. */
export function authorityOf({ der, spki, issuer, serial }: CertificateFacts): Authority {
  return { keyIdentifier: keyIdentifierIn(readExtensions(der), spki), issuer, serial: Buffer.from(serial, "hex") };
}

/** The subjectKeyIdentifier among extensions; where there is none, that of the key. @param spki SubjectPublicKeyInfo */
export function keyIdentifierIn(extensions: readonly Extension[], spki: Uint8Array): Uint8Array {
  const own = extensions.find(({ oid }) => oid === SUBJECT_KEY_IDENTIFIER);
  return own === undefined ? keyIdentifier(spki) : readOctetString(new Reader(own.value, "subjectKeyIdentifier"));
}

const SUBJECT_KEY_IDENTIFIER = "2.5.29.14";

/** The DER of the value, or nothing (`none`). */
type Built = Uint8Array | undefined;
type Build = (values: string[], context: Building, text: string) => Built;
/** `self`: the certificate's own key identifier. */
type Building = ExtensionContext & { readonly self?: Uint8Array | undefined };

const EXTENSIONS: Readonly<Record<string, readonly [oid: string, build: Build]>> = {
  basicConstraints: ["2.5.29.19", basicConstraints],
  keyUsage: ["2.5.29.15", keyUsage],
  extendedKeyUsage: ["2.5.29.37", extendedKeyUsage],
  subjectAltName: ["2.5.29.17", subjectAltName],
  nameConstraints: ["2.5.29.30", nameConstraints],
  certificatePolicies: ["2.5.29.32", certificatePolicies],
  authorityInfoAccess: ["1.3.6.1.5.5.7.1.1", authorityInfoAccess],
  crlDistributionPoints: ["2.5.29.31", crlDistributionPoints],
  subjectKeyIdentifier: [SUBJECT_KEY_IDENTIFIER, subjectKeyIdentifier],
  authorityKeyIdentifier: ["2.5.29.35", authorityKeyIdentifier],
};

/** Sections of OpenSSL's stock configuration that declarations name without `=`. */
const SECTIONS: Readonly<Record<string, readonly string[]>> = {
  v3_ca: [
    "subjectKeyIdentifier=hash",
    "authorityKeyIdentifier=keyid:always,issuer",
    "basicConstraints=critical,CA:TRUE",
  ],
  v3_req: ["basicConstraints=CA:FALSE", "keyUsage=nonRepudiation,digitalSignature,keyEncipherment"],
};

/** Added where a declaration does not say otherwise (RFC 5280 4.2.1.1 and 4.2.1.2). */
const DEFAULTS = ["subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid"];

interface Parsed {
  readonly name: string;
  readonly oid: string;
  readonly critical: boolean;
  readonly values: string[];
  readonly text: string;
}

/** Checks the syntax of extensions without making them. @throws X509Error naming what is wrong */
export function checkExtensions(texts: readonly string[]): void {
  const example = { subject: [], spki: EXAMPLE_SPKI };
  for (const parsed of parseAll(texts)) buildOne(parsed, example);
}

/** The SubjectPublicKeyInfo of an Ed25519 key of zeroes, for checking extensions before there is a key. */
const EXAMPLE_SPKI = Uint8Array.of(0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, ...new Uint8Array(33));

/**
 * Makes the extensions of a certificate or request, with the key identifiers added where they are not given.
 * @throws X509Error naming the extension and the fault; for an extension that is given twice
 */
export function buildExtensions(texts: readonly string[], context: ExtensionContext, request = false): Extension[] {
  const given = parseAll(texts);
  const defaults = request ? [] : parseAll(DEFAULTS).filter((d) => !given.some((g) => g.oid === d.oid));
  const all = [...given, ...defaults];
  const build = (parsed: Parsed, self?: Uint8Array) => {
    const value = buildOne(parsed, { ...context, self });
    return value === undefined ? [] : [{ oid: parsed.oid, critical: parsed.critical, value }];
  };
  const own = all.filter(({ oid }) => oid === SUBJECT_KEY_IDENTIFIER).flatMap((parsed) => build(parsed));
  const self = keyIdentifierIn(own, context.spki);
  return all.flatMap((parsed) => build(parsed, self));
}

/** The extensions of a request that are not given otherwise. @param given in OpenSSL's syntax, as `requested` is */
export function notGiven(requested: readonly string[], given: readonly string[]): string[] {
  const oids = new Set(parseAll(given).map(({ oid }) => oid));
  return requested.filter((text) => !oids.has(parseOne(text).oid));
}

/** Those that make a CA of whoever has them (RFC 5280 4.2.1.3 and 4.2.1.9), as people write them. */
export function authorityIn(texts: readonly string[]): string[] {
  const example = { subject: [], spki: EXAMPLE_SPKI };
  return parseAll(texts).flatMap((parsed) => {
    const value = buildOne(parsed, example);
    return value === undefined ? [] : (AUTHORITY[parsed.oid]?.(value) ?? []);
  });
}

/** Strict: in what is not DER one program sees a CA where another sees none. */
const AUTHORITY: Readonly<Record<string, (value: Uint8Array) => string[]>> = {
  "2.5.29.19": (value) => (["3000", "3003010100"].includes(toHex(value)) ? [] : ["basicConstraints=CA:TRUE"]),
  "2.5.29.15": (value) => {
    const named = Object.entries({ keyCertSign: 0x04, cRLSign: 0x02 }).filter(([, bit]) => namesAuthority(value, bit));
    return named.length === 0 ? [] : [`keyUsage=${named.map(([name]) => name).join(",")}`];
  },
  // Netscape's, which OpenSSL still heeds.
  "2.16.840.1.113730.1.1": (value) => (namesAuthority(value, 0x07) ? ["nsCertType=sslCA"] : []),
};

/** Whether one of these bits of a BIT STRING's first byte is set. */
function namesAuthority([tag, length, _unused, bits]: Uint8Array, mask: number): boolean {
  return tag !== TAG.bitString || length! < 1 || length! >= 0x80 || ((bits ?? 0) & mask) !== 0;
}

function parseAll(texts: readonly string[]): Parsed[] {
  const all = texts.flatMap((text) => (text.includes("=") ? [text] : section(text))).map(parseOne);
  const twice = all.find((one, i) => all.findIndex((other) => other.oid === one.oid) !== i);
  if (twice !== undefined) throw new X509Error(`the extension ${twice.name} is given twice`);
  return all;
}

function section(name: string): readonly string[] {
  const found = SECTIONS[name.trim()];
  if (found !== undefined) return found;
  throw new X509Error(`${JSON.stringify(name)} is not an extension`, {
    hints: [
      `an extension looks like keyUsage=critical,digitalSignature; sections: ${Object.keys(SECTIONS).join(", ")}`,
    ],
  });
}

function parseOne(text: string): Parsed {
  const equals = text.indexOf("=");
  const name = text.slice(0, equals).trim();
  const parts = text
    .slice(equals + 1)
    .split(",")
    .map((part) => part.trim());
  const critical = parts[0] === "critical";
  const values = critical ? parts.slice(1) : parts;
  const known = EXTENSIONS[name];
  const code = known?.[0] ?? (isOid(name) ? name : undefined);
  if (code === undefined) {
    throw new X509Error(`there is no extension ${JSON.stringify(name)}`, {
      hints: [`extensions: ${Object.keys(EXTENSIONS).join(", ")}, or an object identifier with DER:hex`],
    });
  }
  if (values.length === 0 || values.includes(""))
    throw new X509Error(`the extension ${JSON.stringify(text)} has an empty value`);
  return { name, oid: code, critical, values, text };
}

function buildOne({ name, values, text }: Parsed, context: Building): Built {
  if (values[0]!.startsWith("DER:")) return derValue(values.join(","), text);
  const known = EXTENSIONS[name];
  return known === undefined ? unknown(text) : known[1](values, context, text);
}

function unknown(text: string): never {
  throw new X509Error(`${JSON.stringify(text)}: an extension by its identifier takes DER:hex`);
}

function refuse(text: string, value: string, expected: string): never {
  throw new X509Error(`${JSON.stringify(text)}: ${JSON.stringify(value)} is not ${expected}`);
}

function derValue(value: string, text: string): Uint8Array {
  const bytes = fromHex(value.slice("DER:".length).replaceAll(/[: ]/g, ""));
  if (bytes === undefined || bytes.length === 0) refuse(text, value, "DER: and hexadecimal");
  return bytes;
}

function basicConstraints(values: string[], _context: ExtensionContext, text: string): Built {
  let ca = false;
  let pathLength: bigint | undefined;
  for (const value of values) {
    const [name, setting] = value.split(":").map((part) => part.trim().toLowerCase());
    if (name === "ca" && (setting === "true" || setting === "false")) ca = setting === "true";
    else if (name === "pathlen" && /^\d+$/.test(setting ?? "")) pathLength = BigInt(setting!);
    else refuse(text, value, "CA:TRUE, CA:FALSE or pathlen:N");
  }
  // cA is FALSE by default, and DER leaves defaults out.
  return derSequence(...(ca ? [derBoolean(true)] : []), ...(pathLength === undefined ? [] : [derInteger(pathLength)]));
}

/** KeyUsage's bits, from bit 0 (RFC 5280 4.2.1.3). */
const USAGES = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
];

function keyUsage(values: string[], _context: ExtensionContext, text: string): Built {
  return derNamedBits(
    values.map((value) => {
      const wanted = value === "contentCommitment" ? "nonRepudiation" : value;
      const bit = USAGES.findIndex((one) => one.toLowerCase() === wanted.toLowerCase());
      return bit < 0 ? refuse(text, value, `one of ${USAGES.join(", ")}`) : bit;
    }),
  );
}

const PURPOSES: Readonly<Record<string, string>> = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  codeSigning: "1.3.6.1.5.5.7.3.3",
  emailProtection: "1.3.6.1.5.5.7.3.4",
  timeStamping: "1.3.6.1.5.5.7.3.8",
  OCSPSigning: "1.3.6.1.5.5.7.3.9",
  ipsecIKE: "1.3.6.1.5.5.7.3.17",
  msSmartcardLogin: "1.3.6.1.4.1.311.20.2.2",
  anyExtendedKeyUsage: "2.5.29.37.0",
};

function extendedKeyUsage(values: string[], _context: ExtensionContext, text: string): Built {
  return derSequence(
    ...values.map((value) => {
      if (/^[0-2]\./.test(value)) return derOid(parseOid(value));
      const name = Object.keys(PURPOSES).find((one) => one.toLowerCase() === value.toLowerCase());
      if (name === undefined) refuse(text, value, `one of ${Object.keys(PURPOSES).join(", ")}`);
      return derOid(PURPOSES[name]!);
    }),
  );
}

function subjectAltName(values: string[], { subject }: ExtensionContext): Built {
  const names = values.flatMap((value) => {
    if (value !== "email:copy") return [parseGeneralName(value)];
    const email = nameValue(subject, "emailAddress");
    return email === undefined ? [] : [rfc822Name(email)];
  });
  return derSequence(...names);
}

function nameConstraints(values: string[], _context: ExtensionContext, text: string): Built {
  const trees = { permitted: [] as Uint8Array[], excluded: [] as Uint8Array[] };
  for (const value of values) {
    const [kind, base] = value.split(";").map((part) => part.trim()) as [keyof typeof trees, string | undefined];
    if (!Object.hasOwn(trees, kind) || base === undefined) refuse(text, value, "permitted;NAME or excluded;NAME");
    trees[kind].push(derSequence(parseConstraint(base)));
  }
  return derSequence(
    ...(trees.permitted.length === 0 ? [] : [derConstructed(0, ...trees.permitted)]),
    ...(trees.excluded.length === 0 ? [] : [derConstructed(1, ...trees.excluded)]),
  );
}

function certificatePolicies(values: string[]): Built {
  return derSequence(...values.map((value) => derSequence(derOid(parseOid(value)))));
}

function authorityInfoAccess(values: string[], _context: ExtensionContext, text: string): Built {
  const methods: Readonly<Record<string, string>> = { OCSP: "1.3.6.1.5.5.7.48.1", caIssuers: "1.3.6.1.5.5.7.48.2" };
  return derSequence(
    ...values.map((value) => {
      const [method, location] = value.split(";").map((part) => part.trim());
      const oid = methods[method ?? ""];
      if (oid === undefined || location === undefined) refuse(text, value, "OCSP;URI:… or caIssuers;URI:…");
      return derSequence(derOid(oid), parseGeneralName(location));
    }),
  );
}

/** One distributionPoint [0] with its fullName [0] for each. */
function crlDistributionPoints(values: string[]): Built {
  return derSequence(
    ...values.map((value) => derSequence(derConstructed(0, derConstructed(0, parseGeneralName(value))))),
  );
}

function subjectKeyIdentifier(values: string[], { spki }: ExtensionContext, text: string): Built {
  const [value] = values as [string];
  if (value === "none") return undefined;
  const bytes = value === "hash" ? keyIdentifier(spki) : fromHex(value.replaceAll(":", ""));
  if (bytes === undefined) refuse(text, value, "hash, none or hexadecimal");
  return derOctetString(bytes);
}

function authorityKeyIdentifier(values: string[], context: Building, text: string): Built {
  if (values[0] === "none") return undefined;
  const wanted = (name: string) => values.some((value) => value === name || value === `${name}:always`);
  const stranger = values.find((value) => !/^(?:keyid|issuer)(?::always)?$/.test(value));
  if (stranger !== undefined) refuse(text, stranger, "keyid, issuer (each with :always if need be) or none");
  const { issuer } = context;
  // A certificate that signs itself points at itself. OpenSSL adds name and serial only where it must: `always`, or no
  // key identifier.
  const byName = issuer !== undefined && (values.includes("issuer:always") || (wanted("issuer") && !wanted("keyid")));
  return derSequence(
    ...(wanted("keyid") ? [derPrimitive(0, issuer?.keyIdentifier ?? context.self ?? keyIdentifier(context.spki))] : []),
    ...(byName
      ? [derConstructed(1, directoryName(issuer.issuer)), derPrimitive(2, integerBytes(bytesToBigint(issuer.serial)))]
      : []),
  );
}
