/**
 * What a layer has to know of an object before it is used. Read each time: an object's label may change, and a handle may
 * be another object's by the next call.
 * @module
 */
import { toHex } from "../codec/bytes.ts";
import { after } from "../cryptoki/awaitable.ts";
import { failedWith } from "../cryptoki/errors.ts";
import type { AttributeReply, Awaitable, Cryptoki, Structure, Ulong } from "../cryptoki/port.ts";
import { formatUri, objectUri } from "../cryptoki/uri.ts";
import { CKA } from "../spec/attributes.ts";
import { CKO, objectClassName } from "../spec/objects.ts";
import { URI_TYPES, type UriType } from "../spec/uri.ts";

export interface ObjectFacts {
  readonly class: Ulong | undefined;
  readonly label: Uint8Array;
  readonly id: Uint8Array;
  /** CKA_TOKEN: false for an object that one application made for itself, and nobody else sees. */
  readonly isToken: boolean;
  readonly isPrivate: boolean;
}

const REQUESTS = [CKA.CKA_CLASS, CKA.CKA_TOKEN, CKA.CKA_PRIVATE, CKA.CKA_LABEL, CKA.CKA_ID].map(([type]) => ({ type }));
const NOTHING = new Uint8Array();

/** Reads them. @returns undefined where there is no such object. @throws what else the module answers */
export function readFacts(inner: Cryptoki, session: Ulong, object: Ulong): Awaitable<ObjectFacts | undefined> {
  return after<{ values: { values: readonly AttributeReply[] } }, ObjectFacts | undefined>(
    () => inner.call("C_GetAttributeValue", { session, object, requests: REQUESTS }),
    ({ values: { values } }) => factsOf(new Map(values.map(({ type, value }) => [type, value]))),
    (error) => {
      if (failedWith(error, "CKR_OBJECT_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID")) return undefined;
      throw error;
    },
  );
}

/** The facts that a list of attributes tells. What is not told is taken for the stricter: in the token, and private. */
export function factsOf(values: ReadonlyMap<number, unknown>): ObjectFacts {
  const bytes = (type: number) => {
    const value = values.get(type);
    return value instanceof Uint8Array ? value : NOTHING;
  };
  const objectClass = values.get(CKA.CKA_CLASS[0]);
  return {
    class: typeof objectClass === "number" || typeof objectClass === "bigint" ? objectClass : undefined,
    label: bytes(CKA.CKA_LABEL[0]),
    id: bytes(CKA.CKA_ID[0]),
    isToken: values.get(CKA.CKA_TOKEN[0]) !== false,
    isPrivate: values.get(CKA.CKA_PRIVATE[0]) !== false,
  };
}

/** Whether an object is a key that is to be guarded. What has no known class is. */
export function isSecretKey({ class: objectClass }: ObjectFacts): boolean {
  return objectClass === undefined || !OPEN.has(objectClass);
}

const OPEN: ReadonlySet<Ulong> = new Set([
  CKO.CKO_CERTIFICATE[0],
  CKO.CKO_PUBLIC_KEY[0],
  CKO.CKO_DATA[0],
  CKO.CKO_HW_FEATURE[0],
  CKO.CKO_DOMAIN_PARAMETERS[0],
  CKO.CKO_MECHANISM[0],
  CKO.CKO_PROFILE[0],
  CKO.CKO_VALIDATION[0],
  CKO.CKO_TRUST[0],
]);

/** A key as logs and questions name it. */
export interface KeyName {
  /** RFC 7512, without the library: the same wherever the token is. */
  readonly uri: string;
  readonly label: string;
  /** CKA_ID in lower-case hexadecimal. */
  readonly id: string;
  /** Such as `CKO_PRIVATE_KEY`. */
  readonly class: string;
}

export function keyName(facts: ObjectFacts, token: Structure<"tokenInfo">): KeyName {
  const { label, id, class: objectClass } = facts;
  const type = (Object.keys(URI_TYPES) as UriType[]).find((name) => URI_TYPES[name] === objectClass);
  return {
    uri: formatUri(objectUri(token, { label, id, type })),
    label: new TextDecoder().decode(label),
    id: toHex(id),
    class: objectClass === undefined ? "unknown" : objectClassName(Number(objectClass)),
  };
}
