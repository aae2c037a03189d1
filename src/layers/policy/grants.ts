/**
 * What a policy grants: which keys, and what may be done with them.
 * @module
 */
import { sameBytes, utf8 } from "../../codec/bytes.ts";
import type { Structure } from "../../cryptoki/port.ts";
import { type Pkcs11Uri, parseUri, unknownAttribute } from "../../cryptoki/uri.ts";
import { OPERATIONS, type Operation } from "../../spec/operations.ts";
import { URI_TYPES } from "../../spec/uri.ts";
import type { ObjectFacts } from "../facts.ts";
import type { Hours } from "./hours.ts";

/** What a policy may grant. A copy of a key would be out of its reach, so none is ever made. */
export type Grantable = Exclude<Operation, "copy">;
export const GRANTABLE: readonly Grantable[] = OPERATIONS.filter((one) => one !== "copy");

/** Keys, and what may be done with them. */
export interface Grant {
  /** Where it stands, such as `clients.web.keys.0`. */
  readonly path: string;
  /** Which objects: those to which all that is given applies. */
  readonly label?: Uint8Array;
  readonly id?: Uint8Array;
  readonly uri?: Pkcs11Uri;
  readonly operations: readonly Grantable[];
  /** Codes of the only mechanisms; absent: any whose parameter can be read. */
  readonly mechanisms?: readonly number[];
  readonly perMinute?: number;
  readonly perDay?: number;
  readonly hours?: readonly Hours[];
}

/** Whether a grant is for an object. */
export function covers(grant: Grant, facts: ObjectFacts, token: Structure<"tokenInfo">): boolean {
  return named(grant, facts, token, facts.class);
}

/**
 * Whether an object belongs to a key that is granted: a public one (a certificate, a public key) that is named as it is,
 * whatever `type` its URI has.
 */
export function accompanies(grant: Grant, facts: ObjectFacts, token: Structure<"tokenInfo">): boolean {
  return !facts.isPrivate && named(grant, facts, token, undefined);
}

function named(
  { label, id, uri }: Grant,
  facts: ObjectFacts,
  token: Structure<"tokenInfo">,
  objectClass: ObjectFacts["class"],
): boolean {
  if (label !== undefined && !sameBytes(label, facts.label)) return false;
  if (id !== undefined && !sameBytes(id, facts.id)) return false;
  if (uri === undefined) return true;
  const { object, id: uriId, type, ...rest } = uri.path;
  const tells: [unknown, string][] = [
    [rest.token, token.label],
    [rest.manufacturer, token.manufacturerID],
    [rest.serial, token.serialNumber],
    [rest.model, token.model],
  ];
  if (!tells.every(([wanted, actual]) => wanted === undefined || wanted === actual)) return false;
  if (object !== undefined && !sameBytes(typeof object === "string" ? utf8(object) : object, facts.label)) return false;
  if (uriId !== undefined && !sameBytes(uriId, facts.id)) return false;
  return type === undefined || objectClass === undefined || URI_TYPES[type as keyof typeof URI_TYPES] === objectClass;
}

/** What of a URI names a token or an object for certain; the library and the slot differ with how the token is reached. */
const URI_ATTRIBUTES = new Set(["token", "manufacturer", "serial", "model", "object", "type", "id"]);

/** Checks the URI of a grant. @throws Error for one with other attributes, or that names no object */
export function checkGrantUri(text: string): string {
  const uri = parseUri(text);
  const unknown = unknownAttribute(uri) ?? Object.keys(uri.path).find((name) => !URI_ATTRIBUTES.has(name));
  if (unknown !== undefined) {
    throw new Error(`a key is named by ${[...URI_ATTRIBUTES].join(", ")}; this URI has ${unknown}`);
  }
  if (uri.path.object === undefined && uri.path.id === undefined) {
    throw new Error("this URI names no key: it has neither object nor id");
  }
  return text;
}
