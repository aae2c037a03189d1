/** PKCS#11 URIs; clauses are of RFC 7512. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatUri, matchesToken, type Pkcs11Uri, parseUri, redactUri, sameUri } from "../../src/cryptoki/uri.ts";

const TOKEN = {
  label: "My token",
  manufacturerID: "Snake Oil, Inc.",
  model: "1.0",
  serialNumber: "0001",
  flags: 0,
  maxSessionCount: 0,
  sessionCount: 0,
  maxRwSessionCount: 0,
  rwSessionCount: 0,
  maxPinLen: 8,
  minPinLen: 4,
  totalPublicMemory: 0,
  freePublicMemory: 0,
  totalPrivateMemory: 0,
  freePrivateMemory: 0,
  hardwareVersion: { major: 1, minor: 0 },
  firmwareVersion: { major: 1, minor: 0 },
  utcTime: "",
};

describe("parsing", () => {
  test("the examples of section 3 are read", () => {
    const uri = parseUri(
      "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
    );
    expect(uri.path.token).toBe("The Software PKCS#11 Softtoken");
    expect(uri.path.manufacturer).toBe("Snake Oil, Inc.");
    expect(uri.path.id).toEqual(Uint8Array.of(0x69, 0x95, 0x3e, 0x5c, 0xf4, 0xbd, 0xec, 0x91));
    expect(uri.path.serial).toBe("");
    expect(uri.query["pin-source"]).toBe("file:/etc/token_pin");
    expect(parseUri("pkcs11:")).toEqual({ path: {}, query: {} });
    expect(
      parseUri("pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin")
        .query["pin-value"],
    ).toBe("the-pin");
  });

  test("an unknown attribute is kept", () => {
    expect(parseUri("pkcs11:token=a;vendor-x=b?vendor-y=c")).toEqual({
      path: { token: "a", "vendor-x": "b" },
      query: { "vendor-y": "c" },
    });
  });

  test.each([
    ["http://x", "does not start with pkcs11:"],
    ["pkcs11:token=a;token=b", "has token twice"],
    ["pkcs11:token=a?pin-source=x&pin-source=y", "has pin-source twice"],
    ["pkcs11:token", 'has "token" where name=value is expected'],
    ["pkcs11:token=%4", "has a broken %-escape in token"],
    ["pkcs11:token=%ff", "has a value of token that is not UTF-8"],
    ["pkcs11:type=key", 'has the type "key"'],
    ["pkcs11:slot-id=x", "has a slot-id that is not a number"],
    ["pkcs11:library-version=a", "has a library-version that is not a number"],
    ["pkcs11:to ken=a", 'has an attribute named "to ken"'],
  ])("%s is refused: it %s", (text, fault) => {
    expect(() => parseUri(text)).toThrow(fault);
  });

  test("a refusal never repeats a pin-value", () => {
    expect(() => parseUri("pkcs11:token=%4?pin-value=12345678")).toThrow(expect.not.stringContaining("12345678"));
    expect(redactUri("pkcs11:?pin-value=1234&pin-source=x")).toBe("pkcs11:?pin-value=…&pin-source=x");
  });
});

describe("formatting", () => {
  test("attributes are in alphabetical order, and every byte of an id is escaped (N30 to N33)", () => {
    const id = Uint8Array.of(0xde, 0xad, 0xbe, 0xef, 0xca, 0xfe);
    const uri = {
      path: { token: "a/b", object: "c:d", type: "private", id, "slot-id": "2" },
      query: { "pin-source": "file:/etc/user.pin", "module-path": "/lib/x.so" },
    };
    expect(formatUri(uri)).toBe(
      "pkcs11:id=%DE%AD%BE%EF%CA%FE;object=c%3Ad;slot-id=2;token=a%2Fb;type=private?module-path=%2Flib%2Fx.so&pin-source=file%3A%2Fetc%2Fuser.pin",
    );
  });

  const text = fc.string({ unit: "grapheme", minLength: 1 });
  const anyUri: fc.Arbitrary<Pkcs11Uri> = fc.record({
    path: fc.record(
      {
        token: text,
        object: text,
        id: fc.uint8Array({ maxLength: 40 }),
        type: fc.constantFrom("private", "cert"),
        "x-vendor": text,
      },
      { requiredKeys: [] },
    ),
    query: fc.record({ "pin-source": text, "module-path": text }, { requiredKeys: [] }),
  });
  test("parsing inverts formatting", () => {
    fc.assert(fc.property(anyUri, (uri) => sameUri(parseUri(formatUri(uri)), uri)));
  });
});

describe("matching (2.5)", () => {
  test.each([
    ["pkcs11:", true],
    ["pkcs11:token=My%20token", true],
    ["pkcs11:token=my%20token", false],
    ["pkcs11:token=My%20token;serial=0001;model=1.0", true],
    ["pkcs11:serial=1", false],
    ["pkcs11:slot-id=007", true],
    ["pkcs11:slot-id=8", false],
    ["pkcs11:library-description=x", false],
    ["pkcs11:something-new=x", true],
  ])("%s: %s", (text, expected) => {
    expect(matchesToken(parseUri(text), { slot: 7, token: TOKEN })).toBe(expected);
  });
});
