/** PKCS#11 URIs; clauses are of RFC 7512. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatUri,
  isUri,
  matchesToken,
  type Pkcs11Uri,
  parseUri,
  redactUri,
  sameUri,
  UriError,
} from "../../src/cryptoki/uri.ts";

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

  test("the scheme is written in either case (RFC 3986 3.1)", () => {
    expect(parseUri("PKCS11:token=a")).toEqual(parseUri("pkcs11:token=a"));
    expect(formatUri(parseUri("Pkcs11:token=a"))).toBe("pkcs11:token=a");
    expect(isUri("PKCS11:")).toBe(true);
  });

  test("an unknown query attribute that repeats keeps all its values, in their order (2.3)", () => {
    const uri = parseUri("pkcs11:token=a?x=1&y=2&x=3&x=1");
    expect(uri.query).toEqual({ x: ["1", "3", "1"], y: "2" });
    expect(formatUri(uri)).toBe("pkcs11:token=a?x=1&x=3&x=1&y=2");
    expect(sameUri(uri, parseUri("pkcs11:token=a?x=1"))).toBe(false);
  });

  test("an attribute may be called as JavaScript's own are", () => {
    expect(formatUri(parseUri("pkcs11:__proto__=a;constructor=b?toString=c"))).toBe(
      "pkcs11:__proto__=a;constructor=b?toString=c",
    );
    expect(() => parseUri("pkcs11:__proto__=a;__proto__=b")).toThrow("has __proto__ twice");
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
    query: fc.record(
      { "pin-source": text, "module-path": text, "x-vendor": fc.oneof(text, fc.array(text, { minLength: 2 })) },
      { requiredKeys: [] },
    ),
  });
  test("parsing inverts formatting", () => {
    fc.assert(fc.property(anyUri, (uri) => sameUri(parseUri(formatUri(uri)), uri)));
  });

  test("formatting is canonical: what it gives is parsed and formatted to itself", () => {
    fc.assert(fc.property(anyUri, (uri) => formatUri(parseUri(formatUri(uri))) === formatUri(uri)));
  });

  // 2.3: pk11-res-avail and the characters that only the path or only the query has.
  const path = [..."abcXYZ019-._~:[]@!$'()*+,=&"];
  const query = [...path.filter((c) => c !== "&"), "/", "?", "|"];
  const spelled = (characters: string[]) =>
    fc
      .array(fc.constantFrom(...characters, "%3b", "%3B", "%25", "%20", "%c3%A9"), { minLength: 1 })
      .map((c) => c.join(""));
  test("what may stand unescaped in each part stands for itself, in whatever case escapes are (2.3, 2.6)", () => {
    fc.assert(
      fc.property(spelled(path), spelled(query), (a, b) => {
        const uri = parseUri(`pkcs11:object=${a};token=t?pin-source=${b}`);
        expect(uri.path.object).toBe(decodeURIComponent(a));
        expect(uri.query["pin-source"]).toBe(decodeURIComponent(b));
        const upper = (value: string) => value.replaceAll(/%../g, (one) => one.toUpperCase());
        expect(sameUri(uri, parseUri(`PKCS11:token=t;object=${upper(a)}?pin-source=${upper(b)}`))).toBe(true);
      }),
    );
  });

  test("any text that is not a URI is refused with a UriError", () => {
    const nearly = fc.array(
      fc.constantFrom("pkcs11:", "token", "id", "type", "=", ";", "?", "&", "%", "%f", "%ff", "a", "é"),
    );
    fc.assert(
      fc.property(nearly, (pieces) => {
        try {
          parseUri(pieces.join(""));
        } catch (error) {
          expect(error).toBeInstanceOf(UriError);
        }
      }),
    );
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
    // As p11-kit does: whoever wrote it meant something by it.
    ["pkcs11:something-new=x", false],
  ])("%s: %s", (text, expected) => {
    expect(matchesToken(parseUri(text), { slot: 7, token: TOKEN })).toBe(expected);
  });
});
