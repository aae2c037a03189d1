/** Names for codes, codes for names, and kinds. */
import { describe, expect, test } from "vitest";
import { ARRAY_ATTRIBUTE, attributeKind, attributeName, CKA } from "../../src/spec/attributes.ts";
import { flagNames, hasFlag, MECHANISM_FLAGS, TOKEN_FLAGS } from "../../src/spec/flags.ts";
import { CKM, mechanismCode, mechanismName, parameterKind } from "../../src/spec/mechanisms.ts";
import { keyTypeName, objectClassName, sessionStateName } from "../../src/spec/objects.ts";
import { PARAMETERS } from "../../src/spec/parameters.ts";
import { explainReturn, returnName } from "../../src/spec/returns.ts";

test("a code has its current name, whatever older ones it has", () => {
  expect(attributeName(0x0180)).toBe("CKA_EC_PARAMS");
  expect(keyTypeName(3)).toBe("CKK_EC");
  expect(mechanismName(0x1041)).toBe("CKM_ECDSA");
  expect(objectClassName(4)).toBe("CKO_SECRET_KEY");
  expect(sessionStateName(4)).toBe("CKS_RW_SO_FUNCTIONS");
  expect(returnName(0xa0)).toBe("CKR_PIN_INCORRECT");
});

test("vendors' codes and unknown ones are ordinary values", () => {
  expect(attributeName(0x9999)).toBe("CKA 0x00009999");
  expect(attributeName(0xce53_4351)).toBe("CKA vendor 0xce534351");
  expect(attributeKind(0xce53_4351)).toBe("bytes");
  expect(mechanismName(0x8000_0001)).toBe("CKM vendor 0x80000001");
  expect(parameterKind(0x8000_0001)).toBe("raw");
  expect(returnName(0x8000_0001)).toBe("CKR vendor 0x80000001");
  expect(explainReturn(0x8000_0001)).toEqual({ meaning: "", next: "" });
});

test("a mechanism is found by its name, with or without the prefix", () => {
  expect(mechanismCode("ECDSA_SHA256")).toBe(CKM.CKM_ECDSA_SHA256[0]);
  expect(mechanismCode("CKM_ECDSA_SHA256")).toBe(CKM.CKM_ECDSA_SHA256[0]);
  expect(mechanismCode("toString")).toBeUndefined();
});

test("bit 31 is a flag like any other, and bits without a name are shown", () => {
  expect(hasFlag(0x8000_0000, MECHANISM_FLAGS.CKF_EXTENSION[0])).toBe(true);
  expect(hasFlag(0x4000_0000, MECHANISM_FLAGS.CKF_EXTENSION[0])).toBe(false);
  expect(flagNames(0x8000_0801, MECHANISM_FLAGS)).toEqual(["CKF_HW", "CKF_SIGN", "CKF_EXTENSION"]);
  expect(flagNames(0x401 + 0x10, TOKEN_FLAGS)).toEqual(["CKF_RNG", "CKF_TOKEN_INITIALIZED", "0x10"]);
});

describe("kinds", () => {
  test("an attribute that holds a list, by its code, is a list by its kind", () => {
    const marked = Object.entries(CKA).filter(([, [code]]) => (code & ARRAY_ATTRIBUTE) !== 0);
    expect(marked.map(([name, [, kind]]) => [name, kind])).toEqual([
      ["CKA_WRAP_TEMPLATE", "template"],
      ["CKA_UNWRAP_TEMPLATE", "template"],
      ["CKA_DERIVE_TEMPLATE", "template"],
      ["CKA_ALLOWED_MECHANISMS", "mechanisms"],
    ]);
  });

  test.each([
    [/_TEMPLATE$/, "template"],
    [/_BITS$|_LEN$/, "ulong"],
    [/^CKA_(PRIME|EXPONENT)_\d$/, "bigint"],
    [/_DATE$/, "date"],
    [/^CKA_(ENCRYPT|DECRYPT|SIGN|VERIFY|WRAP|UNWRAP|DERIVE)(_RECOVER)?$/, "bool"],
  ] as const)("attributes named like %s are all %s", (pattern, kind) => {
    const found = Object.entries(CKA).filter(([name]) => pattern.test(name));
    expect(found.length).toBeGreaterThan(1);
    expect(found.filter(([, [, of]]) => of !== kind)).toEqual([]);
  });

  test("a parameter structure points only to one that comes before it", () => {
    const names = Object.keys(PARAMETERS);
    for (const [name, fields] of Object.entries(PARAMETERS)) {
      for (const field of Object.values(fields) as unknown[]) {
        const to = typeof field === "object" && field !== null && "to" in field ? String(field.to) : undefined;
        if (to !== undefined) expect(names.indexOf(to)).toBeLessThan(names.indexOf(name));
      }
    }
  });
});
