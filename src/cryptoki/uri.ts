/**
 * PKCS#11 URIs: parse, format, match. Clauses are of RFC 7512.
 * @module
 */
import { toHex, utf8 } from "../codec/bytes.ts";
import { URI_PATH, URI_QUERY, URI_TYPES, type UriPathName, type UriType } from "../spec/uri.ts";
import { isPlain, kind, members, requireArguments, TEXT } from "./arguments.ts";
import { KeywrightError } from "./errors.ts";
import type { Structure, Ulong } from "./port.ts";

/**
 * A URI, decoded. `id` is bytes, and `object` where it is not UTF-8; every other value is text. Unknown attributes are kept; one that repeats in the query, as
 * 2.3 allows for unknown ones, is the list of its values.
 */
export interface Pkcs11Uri {
  readonly path: { readonly [N in Exclude<UriPathName, "id" | "object">]?: string | undefined } & {
    readonly id?: Uint8Array | undefined;
    readonly object?: string | Uint8Array | undefined;
  } & Readonly<Record<string, string | Uint8Array | undefined>>;
  readonly query: { readonly [N in (typeof URI_QUERY)[number]]?: string | undefined } & Readonly<
    Record<string, string | readonly string[] | undefined>
  >;
}

/** Text that is not a PKCS#11 URI. */
export class UriError extends KeywrightError {
  override readonly code = "ERR_URI";
}

const SCHEME = "pkcs11:";
/** RFC 3986 3.1: schemes are written in either case. */
const ANY_CASE = /^pkcs11:/i;
// 2.3: what may stand unescaped in the path and in the query besides unreserved characters (pk11-path-res-avail …).
// Only unreserved ones are left alone here, as other programs do, so that the same object always has the same URI.
const UNRESERVED = /[A-Za-z0-9\-._~]/;

/**
 * Parses a URI.
 * @throws UriError when it is not one: no scheme, a bad escape, an attribute twice (2.3), an unknown `type`
 */
export function parseUri(text: string): Pkcs11Uri {
  requireArguments("parseUri", { uri: [text, TEXT] });
  if (!isUri(text)) throw refuse(text, "does not start with pkcs11:");
  const rest = text.slice(SCHEME.length);
  const mark = rest.indexOf("?");
  const pathText = mark < 0 ? rest : rest.slice(0, mark);
  const queryText = mark < 0 ? "" : rest.slice(mark + 1);
  const values = new Map<string, string | Uint8Array>();
  for (const [name, bytes] of attributes(text, pathText, ";")) {
    if (values.has(name)) throw refuse(text, `has ${name} twice`);
    if (name === "id") values.set(name, bytes);
    else values.set(name, name === "object" ? textOrBytes(bytes) : decodeText(text, name, bytes));
  }
  const path = Object.fromEntries(values);
  checkPath(text, path);
  const query = new Map<string, string | string[]>();
  for (const [name, bytes] of attributes(text, queryText, "&")) {
    const value = decodeText(text, name, bytes);
    const before = query.get(name);
    if (before !== undefined && (URI_QUERY as readonly string[]).includes(name))
      throw refuse(text, `has ${name} twice`);
    query.set(name, before === undefined ? value : [before, value].flat());
  }
  return { path, query: Object.fromEntries(query) as Pkcs11Uri["query"] };
}

/** Whether a text means to be a PKCS#11 URI. */
export function isUri(text: string): boolean {
  return ANY_CASE.test(text);
}

/** A URI's text without the value of `pin-value`, for messages. */
export function redactUri(text: string): string {
  return text.replace(/(pin-value=)[^&]*/g, "$1…");
}

function refuse(text: string, fault: string): UriError {
  return new UriError(`${redactUri(text)} ${fault}`, {
    hints: ["a PKCS#11 URI looks like pkcs11:token=my-token;id=%01;type=private (RFC 7512)"],
  });
}

function* attributes(text: string, part: string, separator: string): Generator<[string, Uint8Array]> {
  if (part === "") return;
  for (const piece of part.split(separator)) {
    const equals = piece.indexOf("=");
    if (equals <= 0) throw refuse(text, `has ${JSON.stringify(redactUri(piece))} where name=value is expected`);
    const name = piece.slice(0, equals);
    if (!/^[A-Za-z0-9\-_]+$/.test(name)) throw refuse(text, `has an attribute named ${JSON.stringify(name)}`);
    yield [name, decodeValue(text, name, piece.slice(equals + 1))];
  }
}

function decodeValue(text: string, name: string, value: string): Uint8Array {
  if (/%(?![0-9A-Fa-f]{2})/.test(value)) throw refuse(text, `has a broken %-escape in ${name}`);
  const bytes: number[] = [];
  for (const [piece] of value.matchAll(/%[0-9A-Fa-f]{2}|[^%]+/g)) {
    if (piece.startsWith("%")) bytes.push(Number.parseInt(piece.slice(1), 16));
    else bytes.push(...utf8(piece));
  }
  return Uint8Array.from(bytes);
}

function decodeText(text: string, name: string, bytes: Uint8Array): string {
  const decoded = textOrBytes(bytes);
  if (typeof decoded === "string") return decoded;
  throw refuse(text, `has a value of ${name} that is not UTF-8`);
}

/** The text that these bytes are; the bytes where they are not UTF-8. */
function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bytes;
  }
}

function checkPath(text: string, path: Record<string, string | Uint8Array>): void {
  const { type } = path;
  if (typeof type === "string" && !Object.hasOwn(URI_TYPES, type)) {
    throw refuse(text, `has the type ${JSON.stringify(type)}, not one of ${Object.keys(URI_TYPES).join(", ")}`);
  }
  const slot = path["slot-id"];
  if (typeof slot === "string" && !/^\d+$/.test(slot)) throw refuse(text, "has a slot-id that is not a number");
  const version = path["library-version"];
  if (typeof version === "string" && !/^\d+(?:\.\d+)?$/.test(version)) {
    throw refuse(text, "has a library-version that is not a number like 2.1");
  }
}

/**
 * Formats a URI: attributes in alphabetical order, so that the same object always has the same URI; unreserved characters
 * stand for themselves, everything else is escaped with capitals, and every byte of `id` is (2.3: binary values).
 */
export function formatUri(uri: Pkcs11Uri): string {
  requireArguments("formatUri", { uri: [uri, members({ path: PART, query: PART })] });
  const path = sorted(uri.path).map(([name, value]) => `${name}=${encodeValue(value)}`);
  const query = sorted(uri.query).flatMap(([name, values]) =>
    [values].flat().map((value) => `${name}=${encodeValue(value)}`),
  );
  return `${SCHEME}${path.join(";")}${query.length === 0 ? "" : `?${query.join("&")}`}`;
}

const PART = kind("an object of attributes", isPlain);

function sorted<T>(values: Readonly<Record<string, T | undefined>>): [string, T][] {
  const names = Object.keys(values).sort();
  return names.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]] as [string, T]]));
}

function encodeValue(value: string | Uint8Array): string {
  if (typeof value !== "string") return Array.from(value, percent).join("");
  return Array.from(utf8(value), (byte) => {
    const character = String.fromCharCode(byte);
    return UNRESERVED.test(character) ? character : percent(byte);
  }).join("");
}

function percent(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
}

/** What a token's URI is made of. */
export type TokenNames = Pick<Structure<"tokenInfo">, "label" | "manufacturerID" | "serialNumber" | "model">;

/** The URI of a token: label, manufacturer, serial and model; blank fields are left out, for they tell nothing. */
export function tokenUri(info: TokenNames): Pkcs11Uri {
  const path = {
    token: info.label,
    manufacturer: info.manufacturerID,
    serial: info.serialNumber,
    model: info.model,
  };
  return { path: Object.fromEntries(Object.entries(path).filter(([, value]) => value !== "")), query: {} };
}

/** The object part of a URI. */
export interface ObjectIdentity {
  /** CKA_LABEL: as text, or as the token has it. */
  readonly label?: string | Uint8Array | undefined;
  readonly id?: Uint8Array | undefined;
  readonly type?: UriType | undefined;
}

/** The URI of an object in a token; an empty label or id is left out. */
export function objectUri(info: TokenNames, object: ObjectIdentity): Pkcs11Uri {
  const { label, id, type } = object;
  return {
    path: {
      ...tokenUri(info).path,
      ...(label === undefined || label.length === 0
        ? {}
        : { object: typeof label === "string" ? label : textOrBytes(label) }),
      ...(type === undefined ? {} : { type }),
      ...(id === undefined || id.length === 0 ? {} : { id }),
    },
    query: {},
  };
}

/** The first path attribute that is none of RFC 7512's (2.3): a vendor's, or a misspelt one. */
export function unknownAttribute({ path }: Pkcs11Uri): string | undefined {
  return Object.keys(path).find((name) => !Object.hasOwn(URI_PATH, name));
}

/** What a token is matched against. */
export interface TokenFacts {
  readonly slot: Ulong;
  readonly token: Structure<"tokenInfo">;
  readonly info?: Structure<"info"> | undefined;
  readonly slotInfo?: Structure<"slotInfo"> | undefined;
}

/**
 * Whether a URI's token, library and slot attributes match (2.5): each that is given is compared exactly; a fact that is
 * not known does not match, nor does an unknown attribute: what it was to tell apart is not known.
 */
export function matchesToken(uri: Pkcs11Uri, facts: TokenFacts): boolean {
  const { path } = uri;
  if (unknownAttribute(uri) !== undefined) return false;
  const { token, info, slotInfo } = facts;
  const version = info === undefined ? undefined : `${info.libraryVersion.major}.${info.libraryVersion.minor}`;
  const pairs: [string | undefined, string | undefined][] = [
    [path.token, token.label],
    [path.manufacturer, token.manufacturerID],
    [path.serial, token.serialNumber],
    [path.model, token.model],
    [path["library-manufacturer"], info?.manufacturerID],
    [path["library-description"], info?.libraryDescription],
    [wholeVersion(path["library-version"]), version],
    [path["slot-manufacturer"], slotInfo?.manufacturerID],
    [path["slot-description"], slotInfo?.slotDescription],
    [path["slot-id"] === undefined ? undefined : String(BigInt(path["slot-id"])), String(facts.slot)],
  ];
  return pairs.every(([wanted, actual]) => wanted === undefined || wanted === actual);
}

/** 2.3: a version without a minor number has the minor number 0. */
function wholeVersion(version: string | undefined): string | undefined {
  return version === undefined || version.includes(".") ? version : `${version}.0`;
}

/** Whether two URIs are equivalent (2.6): the same attributes with the same values, in whatever order. */
export function sameUri(a: Pkcs11Uri, b: Pkcs11Uri): boolean {
  return canonical(a) === canonical(b);
}

function canonical(uri: Pkcs11Uri): string {
  const values = (part: Readonly<Record<string, string | readonly string[] | Uint8Array | undefined>>) =>
    sorted(part)
      .flatMap(([name, value]) =>
        value instanceof Uint8Array ? [[name, value]] : [value].flat().map((v) => [name, v]),
      )
      .map(([name, value]) => `${name}=${toHex(typeof value === "string" ? utf8(value) : (value as Uint8Array))}`)
      .sort();
  return JSON.stringify([values(uri.path), values(uri.query)]);
}
