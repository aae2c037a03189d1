/**
 * What callers may hand to a module that is not JavaScript: values that would be written elsewhere, or read as something
 * else, are refused before anything is written.
 * @module
 */

import { attributeName } from "../spec/attributes.ts";
import { described } from "./arguments.ts";
import { CryptokiError } from "./errors.ts";
import type { AttributeRequest, AttributeValue, FunctionName } from "./port.ts";

/** The largest size that a caller may ask for, in bytes or entries. */
const MOST = 0x7fff_ffff;

const MOST_ULONG = 0xffff_ffff_ffff_ffffn;

/** @throws CryptokiError CKR_ARGUMENTS_BAD for what is no size: negative, broken, absurd */
export function checkSize(fn: FunctionName, name: string, value: unknown): void {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MOST) return;
  throw bad(fn, `${name} is ${shown(value)}, not a whole number from 0 to ${MOST}`);
}

/** @throws CryptokiError CKR_ARGUMENTS_BAD for what is no CK_ULONG */
export function checkUlong(fn: FunctionName, name: string, value: unknown): void {
  if (!isUlong(value)) throw bad(fn, `${name} is ${shown(value)}, not a whole number from 0`);
}

/** @throws CryptokiError CKR_ARGUMENTS_BAD for what are no bytes */
export function checkBytes(fn: FunctionName, name: string, value: unknown): void {
  if (!(value instanceof Uint8Array)) throw bad(fn, `${name} is ${described(value)}, not bytes (Uint8Array)`);
}

/** @throws CryptokiError CKR_ARGUMENTS_BAD for what is no template, CKR_ATTRIBUTE_VALUE_INVALID for what is no value */
export function checkTemplate(fn: FunctionName, name: string, template: unknown): void {
  if (!Array.isArray(template)) throw bad(fn, `${name} is ${described(template)}, not a list of attributes`);
  for (const attribute of template as unknown[]) {
    if (typeof attribute !== "object" || attribute === null || !isUlong((attribute as { type?: unknown }).type)) {
      throw bad(fn, `${name} has ${described(attribute)} that is not an attribute like { type: 3, value: … }`);
    }
    const { type, value } = attribute as { type: number; value: unknown };
    if (isValue(value)) continue;
    if (isTemplate(value)) checkTemplate(fn, attributeName(type), value);
    else {
      throw new CryptokiError(
        fn,
        "CKR_ATTRIBUTE_VALUE_INVALID",
        `${attributeName(type)} is ${shown(value)}, not bytes, a whole number from 0, true or false, or a list`,
      );
    }
  }
}

/** @throws CryptokiError CKR_ARGUMENTS_BAD for what are no attributes to read */
export function checkRequests(fn: FunctionName, requests: unknown): void {
  if (!Array.isArray(requests)) throw bad(fn, `requests are ${described(requests)}, not a list`);
  for (const { type, room } of requests as AttributeRequest[]) {
    checkUlong(fn, "type", type);
    if (room !== undefined && room !== null) checkSize(fn, `room of ${attributeName(type)}`, room);
  }
}

function isValue(value: unknown): value is AttributeValue {
  if (typeof value === "boolean" || value instanceof Uint8Array) return true;
  return Array.isArray(value) ? value.every(isUlong) : isUlong(value);
}

function isTemplate(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === "object");
}

/** Whether a value is a CK_ULONG. */
export function isUlong(value: unknown): boolean {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0;
  return typeof value === "bigint" && value >= 0n && value <= MOST_ULONG;
}

/** What was given, and of other things than numbers only what it is: it may be secret. */
export function shown(value: unknown): string {
  return typeof value === "number" || typeof value === "bigint" ? String(value) : described(value);
}

function bad(fn: FunctionName, detail: string): CryptokiError {
  return new CryptokiError(fn, "CKR_ARGUMENTS_BAD", detail);
}
