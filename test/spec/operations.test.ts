/** What each function does, against the table of functions. */
import { expect, test } from "vitest";
import { CKA } from "../../src/spec/attributes.ts";
import { MECHANISM_FLAGS } from "../../src/spec/flags.ts";
import { FUNCTIONS, type FunctionRow } from "../../src/spec/functions.ts";
import { CKO } from "../../src/spec/objects.ts";
import { CANCELLED_BY, FUNCTION_OPERATIONS, type OperationRow, operationOf } from "../../src/spec/operations.ts";
import { isSecretAttribute } from "../../src/spec/secrecy.ts";

const rows: [string, FunctionRow, OperationRow][] = Object.entries(FUNCTIONS).map(([name, row]) => [
  name,
  row,
  FUNCTION_OPERATIONS[name as keyof typeof FUNCTIONS],
]);

test("every function is in the table, in the same order, and nothing else is", () => {
  expect(Object.keys(FUNCTION_OPERATIONS)).toEqual(Object.keys(FUNCTIONS));
  expect(operationOf("C_Unknown")).toBeUndefined();
  expect(operationOf("toString")).toBeUndefined();
});

test("every input that is a handle of an object, and no other, is listed as one", () => {
  // Numbers that are no objects.
  const others = new Set(["session", "slot", "type", "flags", "userType"]);
  for (const [name, { in: given }, { objects = {} }] of rows) {
    const handles = Object.keys(given).filter((key) => given[key] === "ulong" && !others.has(key));
    expect([name, Object.keys(objects).sort()]).toEqual([name, handles.sort()]);
  }
});

test("every output that is a new object's handle is listed as one", () => {
  const others = new Set(["session", "slot", "size", "flags"]);
  for (const [name, { out }, { makes = [] }] of rows) {
    const handles = Object.keys(out).filter((key) => out[key] === "ulong" && !others.has(key));
    expect([name, [...makes]]).toEqual([name, handles]);
  }
});

test("for all bytes of every function it is said whether they are secret, and for PINs nothing", () => {
  const kinds = new Set(["bytes", "label", "username", "parameter", "output", "random"]);
  for (const [name, { in: given, out }, { bytes = {} }] of rows) {
    const all = { ...given, ...out };
    const listed = Object.keys(all).filter((key) => kinds.has(all[key]!));
    expect([name, Object.keys(bytes).sort()]).toEqual([name, listed.sort()]);
  }
});

test("what a function goes on with was begun by another", () => {
  const begun = new Set(rows.flatMap(([, , { begins }]) => (begins === undefined ? [] : [begins])));
  for (const [, , { continues = [] }] of rows) for (const one of continues) expect(begun).toContain(one);
  expect([...begun].sort()).toEqual(Object.keys(CANCELLED_BY).sort());
  for (const flag of Object.values(CANCELLED_BY)) expect(MECHANISM_FLAGS).toHaveProperty(flag);
});

test("whatever takes a mechanism and a key says what the key is used for", () => {
  for (const [name, { in: given }, { objects = {} }] of rows) {
    if (!("mechanism" in given)) continue;
    for (const use of Object.values(objects)) expect([name, use.as]).not.toEqual([name, undefined]);
  }
});

test("private components, values of keys, seeds and attributes that nobody knows are secret", () => {
  const secret = [
    "CKA_PRIVATE_EXPONENT",
    "CKA_PRIME_1",
    "CKA_PRIME_2",
    "CKA_EXPONENT_1",
    "CKA_EXPONENT_2",
    "CKA_COEFFICIENT",
    "CKA_VALUE",
    "CKA_SEED",
    "CKA_OTP_COUNTER",
    "CKA_X2RATCHET_RK",
  ] as const;
  for (const name of secret) expect([name, isSecretAttribute(CKA[name][0])]).toEqual([name, true]);
  expect(isSecretAttribute(0x8000_0001)).toBe(true);
  const [value] = CKA.CKA_VALUE;
  for (const name of ["CKO_PRIVATE_KEY", "CKO_SECRET_KEY", "CKO_DATA", "CKO_OTP_KEY"] as const) {
    expect([name, isSecretAttribute(value, CKO[name][0])]).toEqual([name, true]);
  }
});

test("labels, ids, moduli, points and certificates are public", () => {
  const open = ["CKA_LABEL", "CKA_ID", "CKA_MODULUS", "CKA_EC_POINT", "CKA_CLASS", "CKA_SENSITIVE"] as const;
  for (const name of open) expect([name, isSecretAttribute(CKA[name][0])]).toEqual([name, false]);
  expect(isSecretAttribute(CKA.CKA_VALUE[0], CKO.CKO_CERTIFICATE[0])).toBe(false);
});
