/**
 * How p11-kit's RPC protocol carries the value of each attribute. From p11-kit-rpc.md, 4.2 and 4.3.
 *
 * `byte` one byte · `ulong` eight bytes · `bytes` length and bytes · `date` the same, 8 digits or none · `template`
 * attributes · `mechanisms` numbers. What is not listed travels as `bytes`, be it a number or a truth value: then as the
 * sender's memory has it.
 * @module
 */
import { type AttributeName, CKA } from "./attributes.ts";
import type { Release } from "./wire-mechanisms.ts";

export type WireKind = "byte" | "ulong" | "bytes" | "date" | "template" | "mechanisms";

const BYTE = `
  TOKEN PRIVATE TRUSTED SENSITIVE ENCRYPT DECRYPT WRAP UNWRAP SIGN SIGN_RECOVER VERIFY VERIFY_RECOVER DERIVE EXTRACTABLE
  LOCAL NEVER_EXTRACTABLE ALWAYS_SENSITIVE MODIFIABLE COPYABLE SECONDARY_AUTH ALWAYS_AUTHENTICATE WRAP_WITH_TRUSTED
  RESET_ON_INIT HAS_RESET COLOR
`;
const ULONG = `
  CLASS CERTIFICATE_TYPE CERTIFICATE_CATEGORY JAVA_MIDP_SECURITY_DOMAIN KEY_TYPE MODULUS_BITS PRIME_BITS SUB_PRIME_BITS
  VALUE_BITS VALUE_LEN KEY_GEN_MECHANISM AUTH_PIN_FLAGS HW_FEATURE_TYPE PIXEL_X PIXEL_Y RESOLUTION CHAR_ROWS
  CHAR_COLUMNS BITS_PER_PIXEL MECHANISM_TYPE
`;

function codes(names: string): number[] {
  return names
    .trim()
    .split(/\s+/)
    .map((name) => CKA[`CKA_${name}` as AttributeName][0]);
}

const ALWAYS = new Map<number, WireKind>([
  ...codes(BYTE).map((code) => [code, "byte"] as const),
  ...codes(ULONG).map((code) => [code, "ulong"] as const),
  ...codes("START_DATE END_DATE").map((code) => [code, "date"] as const),
  ...codes("WRAP_TEMPLATE UNWRAP_TEMPLATE").map((code) => [code, "template"] as const),
  ...codes("ALLOWED_MECHANISMS").map((code) => [code, "mechanisms"] as const),
]);

/** IBM's attributes, by the release from which they are known to be other than bytes. */
const IBM_0_25: ReadonlyMap<number, WireKind> = new Map([
  ...[0x80010001, 0x80010002, 0x80010003, 0x80010004, 0x80010008, 0x8001000c, 0x8001000d].map(
    (code) => [code, "byte"] as const,
  ),
  ...[0x80010005, 0x8001000a, 0x800d0001].map((code) => [code, "ulong"] as const),
]);
const IBM_0_26 = [0x800d0101, 0x800d0009].map((code) => [code, "ulong"] as const);

const SINCE_0_25 = [...IBM_0_25, ...codes("DERIVE_TEMPLATE").map((code) => [code, "template"] as const)];

const BY_RELEASE: Readonly<Record<Release, ReadonlyMap<number, WireKind>>> = {
  "0.24": ALWAYS,
  "0.25": new Map([...ALWAYS, ...SINCE_0_25]),
  "0.26": new Map([...ALWAYS, ...SINCE_0_25, ...IBM_0_26]),
};

/** How a release carries the value of an attribute. */
export function wireKind(type: number, release: Release): WireKind {
  return BY_RELEASE[release].get(type) ?? "bytes";
}
