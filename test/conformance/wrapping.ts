import { createCipheriv, createECDH } from "node:crypto";
import { expect } from "vitest";
import { concat, fromHex } from "../../src/codec/bytes.ts";
import type { Ulong } from "../../src/cryptoki/port.ts";
import { CKD, CKK, CKO } from "../../src/spec/objects.ts";
import { bytesOf, type Kit, mechanism, refuses, template } from "./kit.ts";
import type { Can } from "./suite.ts";

const WRAPPING = new Uint8Array(32).map((_, i) => 200 - i);
const VALUE = new Uint8Array(32).map((_, i) => 3 * i);

const wrappingKey = (kit: Kit, session: Ulong) =>
  kit.secret(session, "CKK_AES", WRAPPING, { CKA_WRAP: true, CKA_UNWRAP: true });

const unwrapped = (kit: Kit) =>
  template({
    ...kit.own,
    CKA_CLASS: CKO.CKO_SECRET_KEY[0],
    CKA_KEY_TYPE: CKK.CKK_AES[0],
    CKA_SENSITIVE: false,
    CKA_EXTRACTABLE: true,
    CKA_ENCRYPT: true,
  });

export function wrapping(can: Can): void {
  can(
    ["CKM_AES_KEY_WRAP", "importing a secret key"],
    "CKM_AES_KEY_WRAP: what OpenSSL makes of the same keys, and back",
    (kit) =>
      kit.user(async (session) => {
        const wrapper = await wrappingKey(kit, session);
        const key = await kit.secret(session, "CKK_AES", VALUE, { CKA_ENCRYPT: true });
        const how = mechanism("CKM_AES_KEY_WRAP");
        const given = { session, mechanism: how, wrappingKey: wrapper, key };
        const { needed } = (await kit.call("C_WrapKey", { ...given, room: null })).output as { needed: number };
        expect(needed).toBeGreaterThanOrEqual(40);
        const wrapped = bytesOf(await kit.call("C_WrapKey", { ...given, room: needed }));
        const cipher = createCipheriv("id-aes256-wrap", WRAPPING, fromHex("a6a6a6a6a6a6a6a6")!);
        expect(wrapped).toEqual(new Uint8Array(concat(cipher.update(VALUE), cipher.final())));
        const back = await kit.call("C_UnwrapKey", {
          session,
          mechanism: how,
          unwrappingKey: wrapper,
          wrapped,
          template: unwrapped(kit),
        });
        expect(await kit.read(session, back.key, "CKA_VALUE", "CKA_LOCAL")).toEqual({
          CKA_VALUE: VALUE,
          CKA_LOCAL: false,
        });
      }),
  );

  can(
    ["CKM_AES_KEY_WRAP", "importing a secret key", "what may not leave is not wrapped"],
    "a key that may not leave the token is not wrapped",
    (kit) =>
      kit.user(async (session) => {
        const wrapper = await wrappingKey(kit, session);
        const key = await kit.aes(session, { CKA_EXTRACTABLE: false });
        const wrap = () =>
          kit.call("C_WrapKey", {
            session,
            mechanism: mechanism("CKM_AES_KEY_WRAP"),
            wrappingKey: wrapper,
            key,
            room: 64,
          });
        await refuses(wrap, "CKR_KEY_UNEXTRACTABLE");
      }),
  );

  can(
    ["CKM_RSA_PKCS", "C_WrapKey", "importing a secret key"],
    "CKM_RSA_PKCS wraps a secret key and unwraps it",
    (kit) =>
      kit.user(async (session) => {
        const pair = await kit.rsa(session, "unwrap");
        const key = await kit.secret(session, "CKK_AES", VALUE, { CKA_ENCRYPT: true });
        const how = mechanism("CKM_RSA_PKCS");
        const wrapped = bytesOf(
          await kit.call("C_WrapKey", { session, mechanism: how, wrappingKey: pair.publicKey, key, room: 256 }),
        );
        const back = await kit.call("C_UnwrapKey", {
          session,
          mechanism: how,
          unwrappingKey: pair.privateKey,
          wrapped,
          template: unwrapped(kit),
        });
        expect(await kit.read(session, back.key, "CKA_VALUE")).toEqual({ CKA_VALUE: VALUE });
      }),
  );

  can(["CKM_ECDH1_DERIVE", "extracting a secret key"], "CKM_ECDH1_DERIVE agrees with OpenSSL on a secret", (kit) =>
    kit.user(async (session) => {
      const pair = await kit.ec(session, "P-256", { CKA_DERIVE: true });
      const ours = await kit.exported(session, pair.publicKey);
      const { x, y } = ours.export({ format: "jwk" }) as { x: string; y: string };
      const peer = createECDH("prime256v1");
      peer.generateKeys();
      const { key } = await kit.call("C_DeriveKey", {
        session,
        mechanism: mechanism("CKM_ECDH1_DERIVE", {
          kdf: CKD.CKD_NULL[0],
          sharedData: new Uint8Array(),
          publicData: new Uint8Array(peer.getPublicKey()),
        }),
        baseKey: pair.privateKey,
        template: template({
          ...kit.own,
          CKA_CLASS: CKO.CKO_SECRET_KEY[0],
          CKA_KEY_TYPE: CKK.CKK_GENERIC_SECRET[0],
          CKA_VALUE_LEN: 32,
          CKA_SENSITIVE: false,
          CKA_EXTRACTABLE: true,
        }),
      });
      const point = concat(Uint8Array.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url"));
      expect(await kit.read(session, key, "CKA_VALUE")).toEqual({
        CKA_VALUE: new Uint8Array(peer.computeSecret(point)),
      });
    }),
  );
}
