import { expect, onTestFinished, test } from "vitest";
import type { Cryptoki, Reply } from "../../src/cryptoki/port.ts";
import { CKA } from "../../src/spec/attributes.ts";
import { World } from "../support/world.ts";

/** A module that gives every EC point as tpm2-pkcs11 gives those of P-521: 133 as one byte of length, which is not DER. */
const oddPoints = (inner: Cryptoki): Cryptoki => ({
  async call(fn, args) {
    const reply = await inner.call(fn, args);
    if (fn !== "C_GetAttributeValue") return reply;
    const { rv, values } = (reply as Reply<"C_GetAttributeValue">).values;
    const odd = values.map((one) =>
      one.type === CKA.CKA_EC_POINT[0] && one.value instanceof Uint8Array && one.value.length > 0
        ? { ...one, value: Uint8Array.of(0x04, 0x85, ...new Uint8Array(133)) }
        : one,
    );
    return { values: { rv, values: odd } } as typeof reply;
  },
});

test("a public key that its token holds wrongly keeps no other from being seen", async () => {
  const keys = (more = "") =>
    `  a: { token: demo, id: 1, type: EC:secp256r1, certificate: { subject: CN=a } }\n  b: { token: demo, id: 2, type: RSA:2048${more} }\n`;
  const w = new World({ token: "{ module: softtoken, store: t.db, label: demo }", keys: keys() });
  onTestFinished(() => w.remove());
  await w.applied();
  const seen = await w.objects();
  w.layer = oddPoints;
  expect(await w.objects()).toEqual(seen);
  const { demo } = (await w.observe()).tokens;
  const points = demo?.state === "present" ? demo.objects.filter(({ class: kind }) => kind === "public") : [];
  expect(points.map(({ type, publicKey }) => [type, publicKey === undefined])).toEqual([
    ["EC:secp256r1", true],
    ["RSA:2048", false],
  ]);
  // The certificate says which public key it is.
  expect(await w.steps()).toEqual(["keep a", "keep b"]);
  expect(await w.steps(["a"])).toEqual(["generate a", "issue a", "promote a", "archive a", "keep b"]);
});
