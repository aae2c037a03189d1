import { describe, expect, test } from "vitest";
import { decodeName, encodeName, formatName, parseName } from "../../src/x509/names.ts";

/** RFC 5280 appendix A.1, upper bounds. */
const BOUNDS: readonly (readonly [type: string, most: number])[] = [
  ["CN", 64],
  ["O", 64],
  ["OU", 64],
  ["L", 128],
  ["ST", 128],
  ["serialNumber", 64],
  ["title", 64],
  ["pseudonym", 128],
  ["emailAddress", 255],
];

describe("names that we make keep to the upper bounds of RFC 5280", () => {
  test.each(BOUNDS)("%s has at most %i characters", (type, most) => {
    expect(() => parseName(`${type}=${"a".repeat(most)}`)).not.toThrow();
    const long = `${type}=${"a".repeat(most + 1)}`;
    expect(() => parseName(long)).toThrow(`has a ${type} of ${most + 1} characters, at most ${most}`);
  });

  test("characters are counted, not bytes", () => {
    expect(() => parseName(`CN=${"ü".repeat(64)}`)).not.toThrow();
    expect(() => parseName(`CN=${"😀".repeat(64)}`)).not.toThrow();
  });

  test("in hexadecimal too: a value of 65 characters, a country of three", () => {
    expect(() => parseName(`CN=#0c41${"61".repeat(65)}`)).toThrow("a CN of 65 characters");
    expect(() => parseName("C=#1303555341")).toThrow('the country "USA", not two letters');
    expect(formatName(parseName("C=#13025553"))).toBe("C=US");
  });

  test("those of others are read as they are", () => {
    const long = [[{ oid: "2.5.4.3", value: "a".repeat(100) }]];
    expect(formatName(decodeName(encodeName(long)))).toBe(`CN=${"a".repeat(100)}`);
  });
});
