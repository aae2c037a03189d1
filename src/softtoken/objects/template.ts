/**
 * Templates: what a caller gives, checked against the table of attributes.
 * @module
 */
import { sameBytes } from "../../codec/bytes.ts";
import type { Attribute, AttributeValue, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { attributeKind, attributeName } from "../../spec/attributes.ts";
import { refuse } from "../refusal.ts";
import { isTemplate, type Values } from "../store/record.ts";
import { isUlong } from "../ulong.ts";

/** The attributes of a template. @throws Refusal when one comes twice or has another shape than its kind */
export function readTemplate(template: readonly Attribute[]): Values {
  const values: Values = new Map();
  for (const { type, value } of template) {
    const before = values.get(type);
    if (before !== undefined && !sameValue(before, value)) {
      return refuse("CKR_TEMPLATE_INCONSISTENT", `${attributeName(type)} is given twice`);
    }
    values.set(type, checked(type, value));
  }
  return values;
}

/** The value, copied: the caller's memory is its own. */
function checked(type: number, value: AttributeValue): AttributeValue {
  if (!hasShape(type, value)) return refuse("CKR_ATTRIBUTE_VALUE_INVALID", attributeName(type));
  return copied(value);
}

function copied(value: AttributeValue): AttributeValue {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (!Array.isArray(value)) return value;
  const items = value as readonly Attribute[] | readonly Ulong[];
  return isTemplate(items) ? items.map((item) => ({ type: item.type, value: copied(item.value) })) : [...items];
}

const BYTES_KINDS = new Set(["text", "bytes", "bigint", "der", "date", "version"]);

/** A CK_DATE: YYYYMMDD, a day that the calendar has. */
function isDate(text: string): boolean {
  const [, year, month, day] = /^(\d{4})(\d\d)(\d\d)$/.exec(text) ?? [];
  if (year === undefined) return false;
  const date = new Date(`${year}-${month}-${day}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.getUTCDate() === Number(day);
}

function hasShape(type: number, value: AttributeValue): boolean {
  const kind = attributeKind(type);
  if (kind === "bool") return typeof value === "boolean";
  if (kind === "template" || kind === "mechanisms" || kind === "ulongs") return Array.isArray(value);
  if (!BYTES_KINDS.has(kind)) return isUlong(value);
  if (!(value instanceof Uint8Array)) return false;
  return kind !== "date" || value.length === 0 || isDate(Buffer.from(value).toString("latin1"));
}

/** Whether two values are the same, whatever their shape. Not for secrets. */
export function sameValue(a: AttributeValue | undefined, b: AttributeValue | undefined): boolean {
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && sameBytes(a, b);
  }
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  if (a.length !== b.length) return false;
  return (a as readonly (Attribute | Ulong)[]).every((item, i) => {
    const other = (b as readonly (Attribute | Ulong)[])[i]!;
    if (typeof item !== "object" || typeof other !== "object") return item === other;
    return item.type === other.type && sameValue(item.value, other.value);
  });
}

/** A code that a template may give, such as CKA_CLASS. */
export function codeIn(values: Values, type: number): number | undefined {
  const value = values.get(type);
  return value === undefined ? undefined : small(value as Ulong);
}

/** Puts what CKA_UNWRAP_TEMPLATE and its like demand into a caller's template. @throws Refusal on contradiction */
export function impose(values: Values, demanded: AttributeValue | undefined): void {
  if (!Array.isArray(demanded) || !isTemplate(demanded)) return;
  for (const { type, value } of demanded) {
    if (values.has(type) && !sameValue(values.get(type), value)) {
      refuse("CKR_TEMPLATE_INCONSISTENT", `the key demands another ${attributeName(type)}`);
    }
    values.set(type, value);
  }
}

/** How many bytes an attribute's value takes in C. */
export function lengthInC(value: AttributeValue): number {
  if (value instanceof Uint8Array) return value.length;
  if (typeof value === "boolean") return 1;
  if (!Array.isArray(value)) return 8;
  return value.length * (isTemplate(value) ? 24 : 8);
}
