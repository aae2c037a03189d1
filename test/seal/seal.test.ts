import fc from "fast-check";
import { expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { authenticate, blindEntry, openEntry, sameMac } from "../../src/seal/blind.ts";
import { ENVELOPE_OVERHEAD, openEnvelope, sealEnvelope, subkey } from "../../src/seal/envelope.ts";
import { unwrapUnderPin, wrapCost, wrapUnderPin } from "../../src/seal/scrypt.ts";

const KEY = new Uint8Array(32).fill(1);
const any = fc.uint8Array({ maxLength: 200 });

test("an envelope opens with its key and context, and with nothing else", () => {
  fc.assert(
    fc.property(any, any, fc.nat(), (value, context, at) => {
      const sealed = sealEnvelope(KEY, value, context);
      expect(sealed.length).toBe(value.length + ENVELOPE_OVERHEAD);
      expect(openEnvelope(KEY, sealed, context)).toEqual(value);
      expect(openEnvelope(new Uint8Array(32), sealed, context)).toBeUndefined();
      expect(openEnvelope(KEY, sealed, utf8(`${context.length} other`))).toBeUndefined();
      const changed = Uint8Array.from(sealed);
      changed[at % changed.length]! ^= 1;
      expect(openEnvelope(KEY, changed, context)).toBeUndefined();
      expect(openEnvelope(KEY, sealed.subarray(0, at % sealed.length), context)).toBeUndefined();
    }),
  );
});

test("what an envelope gives is a copy that can be wiped, not a view of a shared buffer", () => {
  const opened = openEnvelope(KEY, sealEnvelope(KEY, utf8("value"), KEY), KEY)!;
  expect(Buffer.isBuffer(opened)).toBe(false);
  const copy = opened.slice();
  opened.fill(0);
  expect(copy).toEqual(utf8("value"));
});

test("the same value is sealed differently each time", () => {
  expect(sealEnvelope(KEY, utf8("x"), KEY)).not.toEqual(sealEnvelope(KEY, utf8("x"), KEY));
});

test("a wrap opens with its PIN and context, and says what it cost", async () => {
  const wrap = await wrapUnderPin(utf8("pin"), utf8("secret"), 10, utf8("here"));
  expect(wrapCost(wrap)).toBe(10);
  expect(await unwrapUnderPin(utf8("pin"), wrap, utf8("here"))).toEqual(utf8("secret"));
  expect(await unwrapUnderPin(utf8("Pin"), wrap, utf8("here"))).toBeUndefined();
  expect(await unwrapUnderPin(utf8("pin"), wrap, utf8("there"))).toBeUndefined();
  const cheaper = Uint8Array.from(wrap);
  cheaper[1] = 11;
  expect(await unwrapUnderPin(utf8("pin"), cheaper, utf8("here"))).toBeUndefined();
});

test.each([9, 21, 10.5])("a cost of %d is out of bounds", async (cost) => {
  await expect(wrapUnderPin(utf8("pin"), utf8("secret"), cost, KEY)).rejects.toThrow(/give 10 to 20/);
});

test("a wrap of an unknown format, or one that would take any memory, is refused before scrypt", async () => {
  const wrap = await wrapUnderPin(utf8("pin"), utf8("secret"), 10, KEY);
  const changed = (at: number, value: number) => Uint8Array.from(wrap, (byte, i) => (i === at ? value : byte));
  await expect(unwrapUnderPin(utf8("pin"), changed(0, 2), KEY)).rejects.toThrow("unknown format");
  await expect(unwrapUnderPin(utf8("pin"), changed(1, 30), KEY)).rejects.toThrow("scrypt cost 30 is out of bounds");
});

test("ten wraps at once all come out", async () => {
  const pins = Array.from({ length: 10 }, (_, i) => utf8(`pin ${i}`));
  const wraps = await Promise.all(pins.map((pin) => wrapUnderPin(pin, pin, 10, KEY)));
  const opened = await Promise.all(wraps.map((wrap, i) => unwrapUnderPin(pins[i]!, wrap, KEY)));
  expect(opened).toEqual(pins);
});

test("index entries: equal for equal values in one field, different for other fields and keys", () => {
  const entry = blindEntry(KEY, utf8("label"), utf8("www"));
  expect(entry.length).toBe(16);
  expect(blindEntry(KEY, utf8("label"), utf8("www"))).toEqual(entry);
  expect(blindEntry(KEY, utf8("id"), utf8("www"))).not.toEqual(entry);
  expect(blindEntry(KEY, utf8("labelw"), utf8("ww"))).not.toEqual(entry);
  expect(blindEntry(new Uint8Array(32), utf8("label"), utf8("www"))).not.toEqual(entry);
  expect(openEntry(utf8("label"), utf8("www"))).not.toEqual(entry);
});

test("parts that are split otherwise have another MAC", () => {
  const mac = authenticate(KEY, utf8("ab"), utf8("c"));
  expect(sameMac(mac, authenticate(KEY, utf8("ab"), utf8("c")))).toBe(true);
  expect(sameMac(mac, authenticate(KEY, utf8("a"), utf8("bc")))).toBe(false);
  expect(sameMac(mac, mac.subarray(1))).toBe(false);
});

test("each purpose has a key of its own", () => {
  expect(subkey(KEY, "a")).not.toEqual(subkey(KEY, "b"));
});
