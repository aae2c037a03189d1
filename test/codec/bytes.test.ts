import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bigintToBytes,
  bytesToBigint,
  concat,
  fromHex,
  fromUtf8,
  Reader,
  sameBytes,
  toHex,
  utf8,
  Writer,
} from "../../src/codec/bytes.ts";
import { CodecError } from "../../src/codec/errors.ts";

const bytes = fc.uint8Array({ maxLength: 40 });

describe("decode inverts encode", () => {
  test("numbers and bytes, in the order written", () => {
    const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(fc.nat(0xff), fc.nat(0xffff), fc.nat(0xffff_ffff), u64, bytes, (a, b, c, d, tail) => {
        const w = new Writer().u8(a).u16(b).u32(c).u64(d).bytes(tail);
        const r = new Reader(w.finish());
        expect(w.length).toBe(15 + tail.length);
        expect([r.u8(), r.u16(), r.u32(), r.u64()]).toEqual([a, b, c, d]);
        expect(r.take(tail.length)).toEqual(tail);
        r.end();
      }),
    );
  });

  test("however much is written, in however small parts", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (parts) => {
        const w = new Writer();
        for (const part of parts)
          w.u8(part.length & 0xff)
            .bytes(part)
            .u32(part.length);
        const r = new Reader(w.finish());
        for (const part of parts) {
          expect(r.u8()).toBe(part.length & 0xff);
          expect(r.take(part.length)).toEqual(part);
          expect(r.u32()).toBe(part.length);
        }
        r.end();
      }),
    );
  });

  test("hexadecimal of either case", () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(fromHex(toHex(value))).toEqual(value);
        expect(fromHex(toHex(value).toUpperCase())).toEqual(value);
      }),
    );
  });

  test("text", () => {
    const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("\ufeffx", "\0"));
    fc.assert(
      fc.property(text, (value) => {
        expect(fromUtf8(utf8(value))).toBe(value);
      }),
    );
  });

  test("unsigned numbers, at any least length", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 200n }), fc.nat(30), (value, length) => {
        const encoded = bigintToBytes(value, length);
        expect(bytesToBigint(encoded)).toBe(value);
        expect(encoded.length).toBeGreaterThanOrEqual(length);
        if (encoded.length > Math.max(length, 1)) expect(encoded[0]).not.toBe(0);
      }),
    );
  });
});

test("hexadecimal is pairs of digits and nothing else", () => {
  expect(fromHex("")).toEqual(new Uint8Array());
  for (const wrong of ["a", "0g", "0x00", "00 11", "00\n"]) expect(fromHex(wrong)).toBeUndefined();
});

test("two byte sequences are the same when every byte is", () => {
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(sameBytes(a, b)).toBe(toHex(a) === toHex(b));
      expect(sameBytes(a, concat(a))).toBe(true);
      expect(sameBytes(a, concat(a, Uint8Array.of(0)))).toBe(false);
    }),
  );
});

describe("a reader says what is wrong, and where", () => {
  const nested = () => new Reader(Uint8Array.of(1, 2, 3, 4, 5), "reply").sub(5, "value");

  test.each([
    ["a length beyond the end", (r: Reader) => r.take(6), "reply/value at byte 0: length 6 exceeds the 5 bytes left"],
    [
      "a number beyond the end",
      (r: Reader) => [r.u32(), r.u16()],
      "reply/value at byte 4: length 2 exceeds the 1 bytes left",
    ],
    ["nothing left to look at", (r: Reader) => [r.take(5), r.peek()], "reply/value at byte 5: the input ends here"],
    ["bytes that nobody read", (r: Reader) => [r.u16(), r.end()], "reply/value at byte 2: 3 bytes are left over"],
    ["a fault that the caller found", (r: Reader) => r.fail("no", 3), "reply/value at byte 3: no"],
  ])("%s", (_name, read, message) => {
    expect(() => read(nested())).toThrow(
      new CodecError("reply/value", Number(/byte (\d)/.exec(message)![1]), message.split(": ")[1]!),
    );
    expect(() => read(nested())).toThrow(message);
  });

  test("an offset counts from the start of the whole input, and peeking takes nothing", () => {
    const r = new Reader(Uint8Array.of(1, 2, 3, 4));
    r.u8();
    const inner = r.sub(2, "inner");
    expect([inner.offset, inner.peek(), inner.u8(), inner.offset, inner.left, r.offset]).toEqual([1, 2, 2, 2, 1, 3]);
    expect(inner.path).toBe("inner");
  });
});
