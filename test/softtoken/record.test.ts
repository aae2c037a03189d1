import fc from "fast-check";
import { expect, test } from "vitest";
import { CodecError } from "../../src/codec/errors.ts";
import type { AttributeValue } from "../../src/cryptoki/port.ts";
import { ulong } from "../../src/cryptoki/ulong.ts";
import { decodeSealed, decodeValues, encodeSealed, encodeValues } from "../../src/softtoken/store/record.ts";

const anyUlong = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }).map(ulong);
const anyType = fc.nat({ max: 0xffff_ffff });

const { value: anyValue } = fc.letrec<{ value: AttributeValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 2 },
    fc.boolean(),
    anyUlong,
    fc.uint8Array({ maxLength: 40 }),
    fc.array(anyUlong, { maxLength: 5 }),
    fc.array(fc.record({ type: anyType, value: tie("value") }), { minLength: 1, maxLength: 4 }),
  ),
}));

test("decoding inverts encoding, for every shape and nesting", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(anyType, anyValue), { selector: ([type]) => type }), (rows) => {
      const values = new Map<number, AttributeValue>(rows);
      expect(decodeValues(encodeValues(values))).toEqual(values);
    }),
  );
});

test("decoding inverts encoding, for sealed values", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(anyType, fc.uint8Array()), { selector: ([type]) => type }), (rows) => {
      const sealed = new Map(rows);
      expect(decodeSealed(encodeSealed(sealed))).toEqual(sealed);
    }),
  );
});

test("bytes that are cut short or of an unknown shape are refused", () => {
  const whole = encodeValues(new Map<number, AttributeValue>([[3, Uint8Array.of(1, 2, 3)]]));
  for (let length = 1; length < whole.length; length += 1) {
    expect(() => decodeValues(whole.subarray(0, length))).toThrow(CodecError);
  }
  expect(() => decodeValues(Uint8Array.from(whole, (byte, i) => (i === 8 ? 9 : byte)))).toThrow("shape 9 is not known");
});
