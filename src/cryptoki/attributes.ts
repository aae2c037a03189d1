/**
 * Attributes by name, typed from the table: between what people write and what the port carries.
 * @module
 */
import { fromUtf8, utf8 } from "../codec/bytes.ts";
import { type AttributeName, attributeKind, attributeName, CKA, type ValueKind } from "../spec/attributes.ts";
import { CKM, type MechanismName, mechanismName } from "../spec/mechanisms.ts";
import {
  CKC,
  CKH,
  CKK,
  CKO,
  CKP,
  certificateTypeName,
  hardwareFeatureName,
  keyTypeName,
  objectClassName,
  profileName,
} from "../spec/objects.ts";
import { BYTES, described, FLAG, isPlain, type Kind, kind, listOf, TEXT, whole } from "./arguments.ts";
import { KeywrightError } from "./errors.ts";
import type { Attribute, AttributeValue, Ulong } from "./port.ts";

type Named<T> = (keyof T & string) | number;

interface NamedValues {
  bool: boolean;
  ulong: Ulong;
  class: Named<typeof CKO>;
  keyType: Named<typeof CKK>;
  certificateType: Named<typeof CKC>;
  mechanism: Named<typeof CKM>;
  hardwareFeature: Named<typeof CKH>;
  profile: Named<typeof CKP>;
  text: string;
  /** `YYYY-MM-DD`, or empty where the token has no date. */
  date: string;
  template: Attributes;
  mechanisms: readonly Named<typeof CKM>[];
  ulongs: readonly Ulong[];
}

/** What people write for an attribute of this kind; kinds that are not listed are bytes. */
export type NamedValue<K extends ValueKind> = K extends keyof NamedValues ? NamedValues[K] : Uint8Array;

/** What people may write where {@link NamedValue} is read: a text may be bytes, as a label is that is not UTF-8. */
type GivenValue<K extends ValueKind> = K extends "text" ? string | Uint8Array : NamedValue<K>;

/** Attributes by name: `{ CKA_LABEL: "www", CKA_CLASS: "CKO_PRIVATE_KEY", CKA_SIGN: true }`. */
export type Attributes = { readonly [N in AttributeName]?: GivenValue<(typeof CKA)[N][1]> | undefined };

/** An attribute name or value that the table does not know. */
export class AttributeError extends KeywrightError {
  override readonly code = "ERR_ATTRIBUTE";
}

const NAME_TABLES = {
  class: { table: CKO, name: objectClassName },
  keyType: { table: CKK, name: keyTypeName },
  certificateType: { table: CKC, name: certificateTypeName },
  mechanism: { table: CKM, name: mechanismName },
  hardwareFeature: { table: CKH, name: hardwareFeatureName },
  profile: { table: CKP, name: profileName },
} as const satisfies Partial<Record<ValueKind, { table: object; name: (code: number) => string }>>;

type NamedKind = keyof typeof NAME_TABLES;

function isNamedKind(kind: ValueKind): kind is NamedKind {
  return Object.hasOwn(NAME_TABLES, kind);
}

function code(kind: NamedKind, value: string | Ulong): Ulong {
  if (typeof value !== "string") return value;
  const table = NAME_TABLES[kind].table as Record<string, readonly [number, ...unknown[]]>;
  if (!Object.hasOwn(table, value)) throw new AttributeError(`${value} is not a known ${kind}`);
  return table[value]![0];
}

function nameOrCode(kind: NamedKind, value: Ulong): string | Ulong {
  if (typeof value !== "number") return value;
  const name = NAME_TABLES[kind].name(value);
  return Object.hasOwn(NAME_TABLES[kind].table, name) ? name : value;
}

/**
 * From names to what the port carries; attributes that are undefined are left out, the order is kept.
 * @throws AttributeError for an unknown attribute or value name
 */
export function toTemplate(attributes: Attributes): Attribute[] {
  if (!isPlain(attributes)) {
    throw new AttributeError(`attributes are an object like { CKA_LABEL: "www" }; this is ${described(attributes)}`);
  }
  return Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const [type, kind] = attributeRow(name);
      const fault = VALUES[kind](value);
      if (fault !== undefined) throw new AttributeError(`${name} ${fault}`);
      return { type, value: toPort(kind, value) };
    });
}

/** An attribute's code and kind. @throws AttributeError for a name that the table does not have */
export function attributeRow(name: string): readonly [code: number, kind: ValueKind] {
  if (!Object.hasOwn(CKA, name)) throw new AttributeError(`${name} is not a known attribute`);
  const [code, valueKind] = CKA[name as AttributeName];
  return [code, valueKind];
}

const NAMED: Kind = (value) =>
  typeof value === "string" ? undefined : whole(0)(value) && `is ${described(value)}, not a name or a number`;

/** What people may write for each kind; see {@link NamedValue}. */
const VALUES: Readonly<Record<ValueKind, Kind>> = {
  bool: FLAG,
  ulong: whole(0),
  class: NAMED,
  keyType: NAMED,
  certificateType: NAMED,
  mechanism: NAMED,
  hardwareFeature: NAMED,
  profile: NAMED,
  text: kind("a text or bytes (Uint8Array)", (value) => typeof value === "string" || value instanceof Uint8Array),
  date: TEXT,
  bytes: BYTES,
  bigint: BYTES,
  der: BYTES,
  version: BYTES,
  template: kind("an object of attributes", isPlain),
  mechanisms: listOf("mechanisms", NAMED),
  ulongs: listOf("numbers", whole(0)),
};

function toPort(kind: ValueKind, value: unknown): AttributeValue {
  if (isNamedKind(kind)) return code(kind, value as string | Ulong);
  if (kind === "text") return typeof value === "string" ? utf8(value) : (value as Uint8Array);
  if (kind === "date") return utf8((value as string).replaceAll("-", ""));
  if (kind === "template") return toTemplate(value as Attributes);
  if (kind === "mechanisms") return (value as (MechanismName | number)[]).map((m) => code("mechanism", m));
  return value as AttributeValue;
}

/** From what the port carries to names. An attribute that is not in the table is left out. */
export function fromTemplate(attributes: readonly Attribute[]): Attributes {
  return Object.fromEntries(
    attributes
      .map(({ type, value }) => [attributeName(type), fromPort(attributeKind(type), value)] as const)
      .filter(([name]) => Object.hasOwn(CKA, name)),
  );
}

/** A value as people read it; bytes stay bytes when a module gave a value of the wrong size for its kind. */
export function fromPort(kind: ValueKind, value: AttributeValue): NamedValue<ValueKind> {
  if (isNamedKind(kind) && !(value instanceof Uint8Array)) return nameOrCode(kind, value as Ulong) as never;
  if (kind === "template" && Array.isArray(value)) return fromTemplate(value as Attribute[]);
  if (kind === "mechanisms" && Array.isArray(value)) {
    return value.map((m) => nameOrCode("mechanism", m as Ulong)) as never;
  }
  if (!(value instanceof Uint8Array)) return value as never;
  if (kind === "text") return fromUtf8(value);
  if (kind === "date") return fromUtf8(value).replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3");
  return value;
}
