import { constants, createCipheriv, publicEncrypt } from "node:crypto";
import { expect } from "vitest";
import { concat, utf8 } from "../../src/codec/bytes.ts";
import type { Mechanism, Ulong } from "../../src/cryptoki/port.ts";
import { CKM, type MechanismName } from "../../src/spec/mechanisms.ts";
import { CKG_MGF, CKZ } from "../../src/spec/objects.ts";
import { bytesOf, type Kit, mechanism, refuses, rvOf } from "./kit.ts";
import type { Can } from "./suite.ts";

const KEY = new Uint8Array(32).map((_, i) => 7 * i + 1);
const IV = new Uint8Array(16).map((_, i) => 0xa0 + i);
const AAD = utf8("bound to this");
const BLOCKS = new Uint8Array(48).map((_, i) => i);
const TEXT = utf8("not a whole number of blocks, by far");

interface Row {
  readonly name: MechanismName;
  readonly how: Mechanism;
  readonly data: Uint8Array;
  readonly expected: Uint8Array;
  readonly parts: boolean;
}

function openssl(name: string, iv: Uint8Array | null, data: Uint8Array, padding = false): Uint8Array {
  const cipher = createCipheriv(name, KEY, iv).setAutoPadding(padding);
  return new Uint8Array(concat(cipher.update(data), cipher.final()));
}

function opensslGcm(): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", KEY, IV.subarray(0, 12)).setAAD(AAD);
  return new Uint8Array(concat(cipher.update(TEXT), cipher.final(), cipher.getAuthTag()));
}

const GCM = { iv: IV.subarray(0, 12), ivBits: 96, aad: AAD, tagBits: 128 };

const ROWS: readonly Row[] = [
  {
    name: "CKM_AES_ECB",
    how: mechanism("CKM_AES_ECB"),
    data: BLOCKS,
    expected: openssl("aes-256-ecb", null, BLOCKS),
    parts: true,
  },
  {
    name: "CKM_AES_CBC",
    how: mechanism("CKM_AES_CBC", IV),
    data: BLOCKS,
    expected: openssl("aes-256-cbc", IV, BLOCKS),
    parts: true,
  },
  {
    name: "CKM_AES_CBC_PAD",
    how: mechanism("CKM_AES_CBC_PAD", IV),
    data: TEXT,
    expected: openssl("aes-256-cbc", IV, TEXT, true),
    parts: true,
  },
  {
    name: "CKM_AES_CTR",
    how: mechanism("CKM_AES_CTR", { counterBits: 128, counterBlock: IV }),
    data: TEXT,
    expected: openssl("aes-256-ctr", IV, TEXT),
    parts: true,
  },
  { name: "CKM_AES_GCM", how: mechanism("CKM_AES_GCM", GCM), data: TEXT, expected: opensslGcm(), parts: false },
];

async function encrypt(kit: Kit, session: Ulong, how: Mechanism, key: Ulong, data: Uint8Array): Promise<Uint8Array> {
  await kit.call("C_EncryptInit", { session, mechanism: how, key });
  return bytesOf(await kit.call("C_Encrypt", { session, data, room: data.length + 64 }));
}

async function decrypt(kit: Kit, session: Ulong, how: Mechanism, key: Ulong, data: Uint8Array): Promise<Uint8Array> {
  await kit.call("C_DecryptInit", { session, mechanism: how, key });
  return bytesOf(await kit.call("C_Decrypt", { session, data, room: data.length + 64 }));
}

const known = (kit: Kit, session: Ulong) =>
  kit.secret(session, "CKK_AES", KEY, { CKA_ENCRYPT: true, CKA_DECRYPT: true });

export function encryption(can: Can): void {
  for (const { name, how, data, expected, parts } of ROWS) {
    can([name, "importing a secret key"], `${name}: what OpenSSL makes of the same key`, (kit) =>
      kit.user(async (session) => {
        const key = await known(kit, session);
        expect(await encrypt(kit, session, how, key, data)).toEqual(expected);
        expect(await decrypt(kit, session, how, key, expected)).toEqual(data);
      }),
    );

    can([name, "CKM_AES_KEY_GEN"], `${name}: back to the beginning, with a key that nobody knows`, (kit) =>
      kit.user(async (session) => {
        const key = await kit.aes(session);
        const ciphertext = await encrypt(kit, session, how, key, data);
        expect(ciphertext).not.toEqual(data);
        expect(await decrypt(kit, session, how, key, ciphertext)).toEqual(data);
      }),
    );

    if (parts) {
      can([name, "importing a secret key", "C_EncryptUpdate"], `${name}: in several parts`, (kit) =>
        kit.user(async (session) => {
          const key = await known(kit, session);
          await kit.call("C_EncryptInit", { session, mechanism: how, key });
          const first = bytesOf(await kit.call("C_EncryptUpdate", { session, data: data.subarray(0, 16), room: 64 }));
          const second = bytesOf(await kit.call("C_EncryptUpdate", { session, data: data.subarray(16), room: 128 }));
          const last = bytesOf(await kit.call("C_EncryptFinal", { session, room: 64 }));
          expect(concat(first, second, last)).toEqual(expected);
        }),
      );
    }
  }

  const changed = opensslGcm().map((byte, i) => (i === 0 ? byte ^ 1 : byte));

  can(["CKM_AES_GCM", "importing a secret key"], "CKM_AES_GCM: a changed ciphertext does not decrypt", (kit) =>
    kit.user(async (session) => {
      const key = await known(kit, session);
      await decrypt(kit, session, mechanism("CKM_AES_GCM", GCM), key, opensslGcm());
      const failure = await rvOf(() => decrypt(kit, session, mechanism("CKM_AES_GCM", GCM), key, changed));
      expect(failure).not.toBe("CKR_OK");
    }),
  );

  can(
    ["CKM_AES_GCM", "importing a secret key", "a failed authentication has its own return value"],
    "CKM_AES_GCM: a failed authentication says so",
    (kit) =>
      kit.user(async (session) => {
        const key = await known(kit, session);
        await refuses(
          () => decrypt(kit, session, mechanism("CKM_AES_GCM", GCM), key, changed),
          "CKR_ENCRYPTED_DATA_INVALID",
          "CKR_AEAD_DECRYPT_FAILED",
        );
      }),
  );

  can(["CKM_AES_CBC", "CKM_AES_KEY_GEN"], "CKM_AES_CBC: data that is no whole number of blocks is refused", (kit) =>
    kit.user(async (session) => {
      const key = await kit.aes(session);
      await refuses(() => encrypt(kit, session, mechanism("CKM_AES_CBC", IV), key, TEXT), "CKR_DATA_LEN_RANGE");
    }),
  );

  can(["CKM_RSA_PKCS", "CKM_RSA_PKCS_KEY_PAIR_GEN"], "CKM_RSA_PKCS decrypts what OpenSSL encrypted", (kit) =>
    kit.user(async (session) => {
      const { publicKey, privateKey } = await kit.rsa(session, "decrypt");
      const key = await kit.exported(session, publicKey);
      const ciphertext = new Uint8Array(publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, TEXT));
      expect(await decrypt(kit, session, mechanism("CKM_RSA_PKCS"), privateKey, ciphertext)).toEqual(TEXT);
    }),
  );

  can(["CKM_RSA_PKCS_OAEP", "CKM_RSA_PKCS_KEY_PAIR_GEN"], "CKM_RSA_PKCS_OAEP decrypts what OpenSSL encrypted", (kit) =>
    kit.user(async (session) => {
      const { publicKey, privateKey } = await kit.rsa(session, "decrypt");
      const key = await kit.exported(session, publicKey);
      const ciphertext = new Uint8Array(publicEncrypt({ key, oaepHash: "sha1" }, TEXT));
      const how = mechanism("CKM_RSA_PKCS_OAEP", {
        hashAlg: CKM.CKM_SHA_1[0],
        mgf: CKG_MGF.CKG_MGF1_SHA1[0],
        source: CKZ.CKZ_DATA_SPECIFIED[0],
        sourceData: new Uint8Array(),
      });
      expect(await decrypt(kit, session, how, privateKey, ciphertext)).toEqual(TEXT);
    }),
  );
}
