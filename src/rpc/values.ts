/**
 * Attributes between the port and the wire.
 * @module
 */
import { ATTRIBUTE_SIZE } from "../cryptoki/attribute-reading.ts";
import { ULONG_SIZE, ulongFromMemory, ulongToMemory, valueFromMemory } from "../cryptoki/memory.ts";
import type { Attribute, AttributeValue, Ulong } from "../cryptoki/port.ts";
import { attributeKind } from "../spec/attributes.ts";
import { kindOf, type WireAttribute, type WireValue } from "./attributes.ts";
import type { Dialect } from "./dialect.ts";

const NOTHING = new Uint8Array();

/** An attribute as it travels; undefined where the wire has no form for a value of this shape. */
export function toWireAttribute({ type, value }: Attribute, dialect: Dialect): WireAttribute | undefined {
  switch (kindOf(type, dialect)) {
    case "byte":
      return one(type, 1, toByte(value));
    case "ulong":
      return one(type, ULONG_SIZE, toUlong(value));
    case "mechanisms":
      return isNumbers(value) ? one(type, value.length * ULONG_SIZE, value) : undefined;
    case "template": {
      if (!isTemplate(value)) return undefined;
      const elements = toWireTemplate(value, dialect);
      return elements && one(type, elements.length * ATTRIBUTE_SIZE, elements);
    }
    case "date":
    case "bytes": {
      const bytes = toMemory(value);
      return bytes && one(type, bytes.length, bytes.length === 0 ? null : bytes);
    }
  }
}

/** Attributes as they travel; undefined where one has no form. */
export function toWireTemplate(template: readonly Attribute[], dialect: Dialect): WireAttribute[] | undefined {
  const attributes = template.map((attribute) => toWireAttribute(attribute, dialect));
  return attributes.every((attribute) => attribute !== undefined) ? attributes : undefined;
}

/** The value with its declared length, where a value has none yet and only its length is told. */
export function lengthOnly(type: number, declared: number, dialect: Dialect): WireAttribute {
  const kind = kindOf(type, dialect);
  if (kind === "byte" || kind === "ulong") return { type, declared, value: 0 };
  return { type, declared, value: kind === "template" || kind === "mechanisms" ? [] : null };
}

function one(type: number, declared: number, value: WireValue | undefined): WireAttribute | undefined {
  return value === undefined ? undefined : { type, declared, value };
}

function isTemplate(value: AttributeValue): value is readonly Attribute[] {
  return Array.isArray(value) && value.every((element) => typeof element === "object");
}

function isNumbers(value: AttributeValue): value is readonly Ulong[] {
  return Array.isArray(value) && value.every((element) => typeof element !== "object");
}

function toByte(value: AttributeValue): number | undefined {
  if (typeof value === "boolean") return value ? 1 : 0;
  return value instanceof Uint8Array && value.length === 1 ? value[0] : undefined;
}

function toUlong(value: AttributeValue): Ulong | undefined {
  if (typeof value === "number" || typeof value === "bigint") return value;
  return value instanceof Uint8Array && value.length === ULONG_SIZE ? ulongFromMemory(value) : undefined;
}

function toMemory(value: AttributeValue): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (typeof value === "boolean") return Uint8Array.of(value ? 1 : 0);
  if (typeof value === "number" || typeof value === "bigint") return ulongToMemory(value);
  if (!isNumbers(value)) return undefined;
  const bytes = new Uint8Array(value.length * ULONG_SIZE);
  for (const [i, element] of value.entries()) bytes.set(ulongToMemory(element), i * ULONG_SIZE);
  return bytes;
}

/** The value of an attribute that arrived; undefined where it is not available, or cannot be carried. */
export function fromWireAttribute({ type, value }: WireAttribute, dialect: Dialect): AttributeValue | undefined {
  if (value === undefined) return undefined;
  const kind = attributeKind(type);
  switch (kindOf(type, dialect)) {
    case "byte":
      return kind === "bool" ? value !== 0 : Uint8Array.of(value as number);
    case "ulong":
      return kind === "bytes" ? ulongToMemory(value as Ulong) : (value as Ulong);
    case "mechanisms":
      return typeof value === "number" ? undefined : (value as readonly Ulong[]);
    case "template":
      return fromWireTemplate(value as readonly WireAttribute[], dialect);
    case "date":
    case "bytes": {
      const bytes = value === null ? NOTHING : (value as Uint8Array);
      // Pointers of another process.
      if (kind === "template") return bytes.length === 0 ? [] : undefined;
      return valueFromMemory(type, bytes.slice());
    }
  }
}

/** Attributes that arrived; undefined where one is not available, or cannot be carried. */
export function fromWireTemplate(template: readonly WireAttribute[], dialect: Dialect): Attribute[] | undefined {
  const attributes: Attribute[] = [];
  for (const attribute of template) {
    const value = fromWireAttribute(attribute, dialect);
    if (value === undefined) return undefined;
    attributes.push({ type: attribute.type, value });
  }
  return attributes;
}
