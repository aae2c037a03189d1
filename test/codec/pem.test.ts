import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { derOctetString } from "../../src/codec/der.ts";
import { decodePem, encodePem } from "../../src/codec/pem.ts";
import { openssl } from "../support/openssl.ts";
import { peer } from "../support/peers.ts";

const label = fc.stringMatching(/^[A-Z0-9]([A-Z0-9 #]{0,20}[A-Z0-9])?$/);

test("decode inverts encode, with text around the blocks", () => {
  const block = fc.record({ label, bytes: fc.uint8Array({ maxLength: 300 }) });
  fc.assert(
    fc.property(fc.array(block, { maxLength: 4 }), (blocks) => {
      const text = blocks.map((one) => `subject=CN = a\n${encodePem(one.label, one.bytes)}\n`).join("");
      expect(decodePem(text)).toEqual(blocks);
      expect(decodePem(text.replaceAll("\n", "\r\n"))).toEqual(blocks);
    }),
  );
});

test("lines have 64 characters, and the text ends with a newline", () => {
  const lines = encodePem("DATA", new Uint8Array(100)).split("\n");
  expect(lines.map((line) => line.length)).toEqual([20, 64, 64, 8, 18, 0]);
});

test.skipIf(!peer("openssl"))("openssl reads what is written here", () => {
  const encoded = derOctetString(new Uint8Array(99));
  const said = openssl(["asn1parse", "-inform", "PEM"], Buffer.from(encodePem("DATA", encoded))).toString();
  expect(said).toMatch(/l= +99 prim: OCTET STRING/);
});

describe("one phrase per refusal", () => {
  test.each([
    ["-----BEGIN A-----\nAAAA\n-----END B-----\n", "A at byte 0: the block ends as B"],
    ["x\n-----BEGIN A-----\nAAA*\n-----END A-----\n", "A at byte 2: not base64"],
    ["-----BEGIN A-----\nAAA\n-----END A-----\n", "A at byte 0: not base64"],
    ["-----BEGIN A-----\nA===\n-----END A-----\n", "A at byte 0: not base64"],
  ])("%j", (text, message) => {
    expect(() => decodePem(text)).toThrow(message);
  });

  test("a text without blocks has none", () => {
    expect(decodePem("nothing here\n-----BEGIN A-----\n")).toEqual([]);
  });
});
