/**
 * AES. PKCS#11 3.1, 6.10 to 6.16.
 * @module
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { concat } from "../../codec/bytes.ts";
import type { Mechanism } from "../../cryptoki/port.ts";
import { Cmac } from "../../native/libcrypto/derivation.ts";
import { keyType, mech } from "../codes.ts";
import { secretOf } from "../keys/material.ts";
import type { TokenObject } from "../objects/object.ts";
import type { CipherWork, SignWork, VerifyWork } from "../operations/state.ts";
import { orRefuse, refuse } from "../refusal.ts";
import { BLOCK, blocks, blockWork, type Ciphers, ccmWork, counterWork, gcmWork, NO_IV } from "./aes-modes.ts";
import {
  bytesOf,
  type Definition,
  type Definitions,
  type DeriveRequest,
  hasParameter,
  noParameter,
  numberOf,
  structureOf,
} from "./definition.ts";
import { signMac, verifyMac } from "./mac.ts";
import { truncated } from "./truncation.ts";

const SIZES = [16, 32] as const;

const shared = { sizes: SIZES, keyTypes: [keyType.AES], isSymmetric: true } as const;

/** RFC 3394 with an 8-byte initial value, RFC 5649 with one of 4 bytes. */
const KEY_WRAP = {
  wrap: { iv: Buffer.from("a6a6a6a6a6a6a6a6", "hex"), overhead: 8 },
  "wrap-pad": { iv: Buffer.from("a65959a6", "hex"), overhead: 15 },
} as const;

/** The bytes of a key, wrapped or unwrapped under another; also for RSA-AES. */
export function keyWrap(
  isWrapping: boolean,
  mode: keyof typeof KEY_WRAP,
  key: Uint8Array,
  data: Uint8Array,
  iv: Uint8Array = KEY_WRAP[mode].iv,
): Uint8Array {
  const name = `id-aes${key.length * 8}-${mode}`;
  if (isWrapping) {
    if (data.length === 0 || (mode === "wrap" && (data.length % 8 !== 0 || data.length < 16))) {
      return refuse("CKR_DATA_LEN_RANGE", "AES key wrap takes multiples of 8 bytes from 16");
    }
    const cipher = createCipheriv(name, key, iv);
    return concat(cipher.update(data), cipher.final());
  }
  if (data.length % 8 !== 0 || data.length < 16) return refuse("CKR_ENCRYPTED_DATA_LEN_RANGE");
  return orRefuse("CKR_ENCRYPTED_DATA_INVALID", "the wrapped key does not authenticate", () => {
    const decipher = createDecipheriv(name, key, iv);
    return concat(decipher.update(data), decipher.final());
  });
}

function keyWrapping(mode: keyof typeof KEY_WRAP): Definition {
  const { iv: usual, overhead } = KEY_WRAP[mode];
  const work = (isWrapping: boolean, key: TokenObject, mechanism: Mechanism): CipherWork => {
    const iv = hasParameter(mechanism) ? bytesOf(mechanism, usual.length) : usual;
    return {
      bound: (length) => (isWrapping ? length + overhead : length),
      once: (data) => keyWrap(isWrapping, mode, secretOf(key).bytes, data, iv),
    };
  };
  return wrappers({
    encrypt: (key, mechanism) => work(true, key, mechanism),
    decrypt: (key, mechanism) => work(false, key, mechanism),
  });
}

/** What encrypts data also wraps keys. */
function wrappers(ciphers: Ciphers): Definition {
  return {
    ...shared,
    ...ciphers,
    wrapsPrivateKeys: true,
    wrap: (key, mechanism, plain) => ciphers.encrypt(key, mechanism).once(plain),
    unwrap: (key, mechanism, wrapped) => ciphers.decrypt(key, mechanism).once(wrapped),
  };
}

/** 6.10.4: without padding of its own a key is filled up with zeroes; its length is told when it is unwrapped. */
function zeroPadded(ciphers: Ciphers): Definition {
  return {
    ...shared,
    ...ciphers,
    isZeroPadded: true,
    wrap(key, mechanism, plain) {
      const padded = new Uint8Array(Math.ceil(plain.length / BLOCK) * BLOCK);
      padded.set(plain);
      return ciphers.encrypt(key, mechanism).once(padded);
    },
    unwrap: (key, mechanism, wrapped) => ciphers.decrypt(key, mechanism).once(wrapped),
  };
}

const CMAC_LENGTH = 16;

function cmac(lengthOf: (mechanism: Mechanism) => number): Definition {
  const start = (key: TokenObject) => new Cmac(secretOf(key).bytes);
  return {
    ...shared,
    sign: (key, mechanism): SignWork => signMac(lengthOf(mechanism), () => start(key)),
    verify: (key, mechanism): VerifyWork => verifyMac(lengthOf(mechanism), () => start(key)),
  };
}

/** Encrypting data to make a key of it (6.16). */
function encryptData(parameter: (mechanism: Mechanism) => { iv: Uint8Array; data: Uint8Array }): Definition {
  return {
    ...shared,
    derive(base, mechanism, request: DeriveRequest) {
      const { iv, data } = parameter(mechanism);
      if (data.length === 0 || data.length % BLOCK !== 0) return refuse("CKR_MECHANISM_PARAM_INVALID");
      const value = blockWork(true, base, iv.length === 0 ? "ecb" : "cbc", iv, false).once(data);
      return { value: truncated(value, request.length, "start") };
    },
  };
}

function makeAesKey(length: number | undefined): Uint8Array {
  if (length === undefined) return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_VALUE_LEN is missing");
  if (![16, 24, 32].includes(length)) return refuse("CKR_KEY_SIZE_RANGE", `an AES key of ${length} bytes`);
  return randomBytes(length);
}

const pad = keyWrapping("wrap-pad");

export const aesMechanisms: Definitions = [
  [mech.AES_KEY_GEN, { sizes: SIZES, generate: { keyType: keyType.AES, make: makeAesKey } }],
  [mech.AES_ECB, zeroPadded(blocks("ecb", false))],
  [mech.AES_CBC, zeroPadded(blocks("cbc", false))],
  [mech.AES_CBC_PAD, wrappers(blocks("cbc", true))],
  [
    mech.AES_CTR,
    {
      ...shared,
      encrypt: (key, mechanism) => counterWork(key, mechanism, true),
      decrypt: (key, mechanism) => counterWork(key, mechanism, false),
    },
  ],
  [
    mech.AES_GCM,
    wrappers({
      encrypt: (key, mechanism) => gcmWork(true, key, mechanism),
      decrypt: (key, mechanism) => gcmWork(false, key, mechanism),
    }),
  ],
  [
    mech.AES_CCM,
    wrappers({
      encrypt: (key, mechanism) => ccmWork(true, key, mechanism),
      decrypt: (key, mechanism) => ccmWork(false, key, mechanism),
    }),
  ],
  [
    mech.AES_CMAC,
    cmac((mechanism) => {
      noParameter(mechanism);
      return CMAC_LENGTH;
    }),
  ],
  [
    mech.AES_CMAC_GENERAL,
    cmac((mechanism) => {
      const length = numberOf(mechanism);
      return length >= 1 && length <= CMAC_LENGTH ? length : refuse("CKR_MECHANISM_PARAM_INVALID");
    }),
  ],
  [mech.AES_KEY_WRAP, keyWrapping("wrap")],
  // 2.40 left its padding open; this is RFC 5649's, as in SoftHSM and NSS, which 3.0 calls KWP.
  [mech.AES_KEY_WRAP_PAD, pad],
  [mech.AES_KEY_WRAP_KWP, pad],
  [
    mech.AES_ECB_ENCRYPT_DATA,
    encryptData((mechanism) => ({ iv: NO_IV, data: structureOf(mechanism, "keyDerivationString").data })),
  ],
  [mech.AES_CBC_ENCRYPT_DATA, encryptData((mechanism) => structureOf(mechanism, "cbcEncryptData16"))],
];
