import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHex, Reader, toHex } from "../../src/codec/bytes.ts";
import {
  decodeDer,
  der,
  derBitString,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  expectTlv,
  readBitString,
  readInteger,
  readOctetString,
  readOid,
  readTlv,
  TAG,
} from "../../src/codec/der.ts";
import { openssl } from "../support/openssl.ts";
import { peer } from "../support/peers.ts";

const bytes = fc.uint8Array({ maxLength: 400 });

/** Reads one value that fills the input. */
function all<T>(encoded: Uint8Array, read: (r: Reader) => T): T {
  const r = new Reader(encoded);
  const value = read(r);
  r.end();
  return value;
}

describe("decode inverts encode", () => {
  test("integers", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 600n }), (value) => {
        expect(all(derInteger(value), (r) => readInteger(r))).toBe(value);
      }),
    );
  });

  test("octet and bit strings, of any length", () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(all(derOctetString(value), (r) => readOctetString(r))).toEqual(value);
        expect(all(derBitString(value), (r) => readBitString(r))).toEqual(value);
      }),
    );
  });

  test("lengths of one to three bytes", () => {
    for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
      const encoded = derOctetString(new Uint8Array(length));
      expect(all(encoded, (r) => readOctetString(r))).toHaveLength(length);
    }
  });

  test("object identifiers, whatever the first arc", () => {
    const arc = fc.bigInt({ min: 0n, max: 2n ** 70n });
    const head = fc.oneof(
      fc.tuple(fc.constantFrom(0n, 1n), fc.bigInt({ min: 0n, max: 39n })),
      fc.tuple(fc.constant(2n), arc),
    );
    fc.assert(
      fc.property(head, fc.array(arc, { maxLength: 6 }), (first, rest) => {
        const oid = [...first, ...rest].join(".");
        expect(all(derOid(oid), (r) => readOid(r))).toBe(oid);
      }),
    );
  });

  test("a value keeps its whole encoding", () => {
    fc.assert(
      fc.property(bytes, bytes, (before, value) => {
        const encoded = derSequence(derOctetString(before), derOctetString(value));
        const [first, second] = decodeDer(encoded, TAG.sequence, "pair", (r) => [readTlv(r), readTlv(r)]);
        expect(first!.whole).toEqual(derOctetString(before));
        expect(second!.whole).toEqual(derOctetString(value));
      }),
    );
  });
});

test("encodings are those of X.690", () => {
  expect(toHex(derInteger(0n))).toBe("020100");
  expect(toHex(derInteger(127n))).toBe("02017f");
  expect(toHex(derInteger(128n))).toBe("02020080");
  expect(toHex(derNull)).toBe("0500");
  expect(toHex(derOid("1.2.840.10045.3.1.7"))).toBe("06082a8648ce3d030107");
  expect(toHex(der(TAG.utf8String, fromHex("c3a9")!))).toBe("0c02c3a9");
});

test.skipIf(!peer("openssl"))("openssl reads what is written here", () => {
  const encoded = derSequence(derInteger(2n ** 64n), derOid("2.999.3"), derBitString(Uint8Array.of(1, 2)), derNull);
  const said = openssl(["asn1parse", "-inform", "DER"], encoded).toString();
  expect(said).toMatch(/INTEGER\s+:010000000000000000/);
  expect(said).toMatch(/OBJECT\s+:2\.999\.3/);
  expect(said).toMatch(/BIT STRING/);
  expect(said).toMatch(/NULL/);
});

describe("one phrase per refusal", () => {
  const integer = (r: Reader) => readInteger(r);
  const oid = (r: Reader) => readOid(r);
  const bits = (r: Reader) => readBitString(r);
  const any = (r: Reader) => readTlv(r);

  test.each([
    ["1f 81 00", any, "input at byte 0: tag longer than one byte"],
    ["30 80 00 00", any, "input at byte 1: indefinite length"],
    ["04 85 01 00 00 00 00", any, "input at byte 1: length longer than four bytes"],
    ["04 81 05 00", any, "input at byte 1: length not minimal"],
    ["04 82 00 80", any, "input at byte 1: length not minimal"],
    ["04 03 01 02", any, "input at byte 2: length 3 exceeds the 2 bytes left"],
    ["04 82 01", any, "input at byte 2: length 2 exceeds the 1 bytes left"],
    ["04", any, "input at byte 1: length 1 exceeds the 0 bytes left"],
    ["", integer, "input at byte 0: integer is missing"],
    ["04 01 00", integer, "input at byte 0: tag 0x04 where integer has 0x02"],
    ["02 00", integer, "integer at byte 2: integer without contents"],
    ["02 01 80", integer, "integer at byte 2: integer is negative"],
    ["02 02 00 7f", integer, "integer at byte 2: integer has a leading zero"],
    ["06 00", oid, "object identifier at byte 2: object identifier without contents"],
    ["06 02 80 01", oid, "object identifier at byte 2: object identifier has a leading zero"],
    ["06 03 2a 80 01", oid, "object identifier at byte 3: object identifier has a leading zero"],
    ["06 02 2a 86", oid, "object identifier at byte 4: length 1 exceeds the 0 bytes left"],
    ["03 02 07 80", bits, "bit string at byte 2: bit string is not of whole bytes"],
    ["03 00", bits, "bit string at byte 2: length 1 exceeds the 0 bytes left"],
  ])("DER %s: %s", (hex, read, message) => {
    expect(() => read(new Reader(fromHex(hex.replaceAll(" ", ""))!))).toThrow(message);
  });

  test.each([
    ["30 03 02 01 01 00", "input at byte 5: 1 bytes are left over"],
    ["30 04 02 01 01 00", "pair at byte 5: 1 bytes are left over"],
    ["31 03 02 01 01", "input at byte 0: tag 0x31 where pair has 0x30"],
  ])("a value that has to fill the input: %s", (hex, message) => {
    const encoded = fromHex(hex.replaceAll(" ", ""))!;
    expect(() => decodeDer(encoded, TAG.sequence, "pair", (r) => readInteger(r))).toThrow(message);
  });

  test("the path names every value on the way", () => {
    const encoded = derSequence(der(TAG.sequence, fromHex("020180")!));
    const read = () =>
      decodeDer(encoded, TAG.sequence, "outer", (r) => readInteger(expectTlv(r, TAG.sequence, "inner").value));
    expect(read).toThrow("outer/inner/integer at byte 6: integer is negative");
  });

  test("no input makes a reader read outside of it or throw anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (input) => {
        for (const read of [integer, oid, bits, any]) {
          try {
            read(new Reader(input));
          } catch (error) {
            expect((error as { code: string }).code).toBe("ERR_CODEC");
          }
        }
      }),
    );
  });
});
