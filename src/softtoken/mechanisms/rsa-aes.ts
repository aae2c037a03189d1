/**
 * CKM_RSA_AES_KEY_WRAP: a fresh AES key wraps the key, RSA-OAEP the AES key. PKCS#11 3.1, 6.1.16.
 * @module
 */
import { randomBytes } from "node:crypto";
import { concat } from "../../codec/bytes.ts";
import { small } from "../../cryptoki/ulong.ts";
import { attr, keyType, mech } from "../codes.ts";
import { refuse } from "../refusal.ts";
import { keyWrap } from "./aes.ts";
import { type Definitions, structureOf } from "./definition.ts";
import { oaepWork } from "./rsa.ts";

const KEY_BITS: readonly number[] = [128, 192, 256];

export const rsaAesMechanisms: Definitions = [
  [
    mech.RSA_AES_KEY_WRAP,
    {
      sizes: [2048, 8192],
      keyTypes: [keyType.RSA],
      wrapsPrivateKeys: true,
      wrap(key, mechanism, plain) {
        const { aesKeyBits, oaep } = structureOf(mechanism, "rsaAesKeyWrap");
        const bits = small(aesKeyBits);
        if (!KEY_BITS.includes(bits)) return refuse("CKR_MECHANISM_PARAM_INVALID", `an AES key of ${bits} bits`);
        const aes = randomBytes(bits / 8);
        try {
          return concat(oaepWork("encrypt", key, oaep).once(aes), keyWrap(true, "wrap-pad", aes, plain));
        } finally {
          aes.fill(0);
        }
      },
      unwrap(key, mechanism, wrapped) {
        const { aesKeyBits, oaep } = structureOf(mechanism, "rsaAesKeyWrap");
        const size = key.bytes(attr.MODULUS)!.length;
        if (wrapped.length < size + 16) return refuse("CKR_ENCRYPTED_DATA_LEN_RANGE");
        const aes = oaepWork("decrypt", key, oaep).once(wrapped.subarray(0, size));
        try {
          if (aes.length * 8 !== small(aesKeyBits)) return refuse("CKR_ENCRYPTED_DATA_INVALID");
          return keyWrap(false, "wrap-pad", aes, wrapped.subarray(size));
        } finally {
          aes.fill(0);
        }
      },
    },
  ],
];
