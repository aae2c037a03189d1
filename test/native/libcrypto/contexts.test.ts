import { createHash, createSign, generateKeyPairSync, sign as nodeSign } from "node:crypto";
import { expect, test } from "vitest";
import { utf8 } from "../../../src/codec/bytes.ts";
import { agree, Signer, Transformer, Verifier } from "../../../src/native/libcrypto/contexts.ts";
import { Cmac } from "../../../src/native/libcrypto/derivation.ts";
import { Pkey } from "../../../src/native/libcrypto/keys.ts";
import { LibcryptoError, opensslVersion } from "../../../src/native/libcrypto/library.ts";

const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
type Pair = typeof ec;

function keys(pair: Pair): { own: Pkey; other: Pkey } {
  return {
    own: Pkey.fromPrivate(pair.privateKey.export({ type: "pkcs8", format: "der" })),
    other: Pkey.fromPublic(pair.publicKey.export({ type: "spki", format: "der" })),
  };
}

test("the version is that of the running Node", () => {
  expect(opensslVersion()).toBeGreaterThanOrEqual(300);
});

test("a digest is signed as it is: node's own sign(null, …) would hash it again", () => {
  const digest = createHash("sha256").update("text").digest();
  const { own, other } = keys(ec);
  const verifier = new Verifier(other);
  expect(verifier.verify(digest, new Signer(own).sign(digest))).toBe(true);
  expect(verifier.verify(digest, createSign("sha256").update("text").sign(ec.privateKey))).toBe(true);
  // The trap: should this ever become true, node can do it alone.
  expect(verifier.verify(digest, nodeSign(null, digest, ec.privateKey))).toBe(false);
});

test("what fails leaves no error behind for node:crypto", () => {
  expect(() => Pkey.fromPrivate(utf8("no key"))).toThrow(LibcryptoError);
  const { other } = keys(rsa);
  expect(new Verifier(other, { type: "pkcs1", digest: "sha256" }).verify(new Uint8Array(32), new Uint8Array(256))).toBe(
    false,
  );
  expect(nodeSign("sha256", utf8("x"), rsa.privateKey).length).toBe(256);
});

test("encryption comes back, with a label and another mask hash", () => {
  const { own, other } = keys(rsa);
  const padding = { type: "oaep", digest: "sha256", mask: "sha1", label: utf8("label") } as const;
  const sealed = new Transformer("encrypt", other, padding).run(utf8("text"))!;
  expect(new Transformer("decrypt", own, padding).run(sealed)).toEqual(utf8("text"));
  expect(new Transformer("decrypt", own, { ...padding, label: utf8("x") }).run(sealed)).toBeUndefined();
});

test("two keys agree", () => {
  const peer = generateKeyPairSync("ec", { namedCurve: "P-256" });
  expect(agree(keys(ec).own, keys(peer).other)).toEqual(agree(keys(peer).own, keys(ec).other));
  expect(() => agree(keys(ec).own, keys(rsa).other)).toThrow(LibcryptoError);
});

test("a key is freed once", () => {
  const { own } = keys(ec);
  own.free();
  own.free();
});

test("a CMAC key has 16, 24 or 32 bytes", () => {
  expect(() => new Cmac(new Uint8Array(15))).toThrow(LibcryptoError);
});
