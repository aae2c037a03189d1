/**
 * AES. PKCS#11 3.1, 6.10 to 6.16.
 * @module
 */
import { type CipherCCMTypes, type CipherGCMTypes, createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { bytesToBigint, concat } from "../../codec/bytes.ts";
import type { Mechanism } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { Cmac } from "../../native/libcrypto/derivation.ts";
import { keyType, mech } from "../codes.ts";
import { secretOf } from "../keys/material.ts";
import type { TokenObject } from "../objects/object.ts";
import type { CipherWork, SignWork, VerifyWork } from "../operations/state.ts";
import { orRefuse, refuse } from "../refusal.ts";
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
import { allButLastBlock, cipherStream, everyByte, gathered, type Progress, wholeBlocks } from "./streams.ts";
import { truncated } from "./truncation.ts";

const SIZES = [16, 32] as const;
const BLOCK = 16;
const NO_IV = new Uint8Array(0);

type Ciphers = Required<Pick<Definition, "encrypt" | "decrypt">>;
const shared = { sizes: SIZES, keyTypes: [keyType.AES], isSymmetric: true } as const;

/** OpenSSL's name of a cipher for a key. */
function named(key: TokenObject, mode: string): string {
  return `aes-${secretOf(key).bytes.length * 8}-${mode}`;
}

/** ECB and CBC, with or without padding. */
function blockWork(
  isEncryption: boolean,
  key: TokenObject,
  mode: "ecb" | "cbc",
  iv: Uint8Array,
  isPadded: boolean,
): CipherWork {
  const open = () => {
    const cipher = isEncryption
      ? createCipheriv(named(key, mode), secretOf(key).key, iv)
      : createDecipheriv(named(key, mode), secretOf(key).key, iv);
    return cipher.setAutoPadding(isPadded);
  };
  const wrongLength = isEncryption ? "CKR_DATA_LEN_RANGE" : "CKR_ENCRYPTED_DATA_LEN_RANGE";
  const wrongEnd = isPadded && !isEncryption ? "CKR_ENCRYPTED_DATA_INVALID" : wrongLength;
  const progress: Progress = isPadded && !isEncryption ? allButLastBlock : wholeBlocks;
  return {
    bound: (length) => (isPadded && isEncryption ? wholeBlocks(length) + BLOCK : length),
    once(data) {
      if (!(isPadded && isEncryption) && data.length % BLOCK !== 0) refuse(wrongLength, "not a multiple of 16 bytes");
      const cipher = open();
      const head = cipher.update(data);
      return concat(
        head,
        orRefuse(wrongEnd, "", () => cipher.final()),
      );
    },
    start: () => cipherStream(open(), progress, isPadded ? BLOCK : 0, wrongEnd),
  };
}

function blocks(mode: "ecb" | "cbc", isPadded: boolean): Ciphers {
  const iv = (mechanism: Mechanism) => {
    if (mode === "cbc") return bytesOf(mechanism, BLOCK);
    noParameter(mechanism);
    return NO_IV;
  };
  return {
    encrypt: (key, mechanism) => blockWork(true, key, mode, iv(mechanism), isPadded),
    decrypt: (key, mechanism) => blockWork(false, key, mode, iv(mechanism), isPadded),
  };
}

/** 6.11.3: the counter is the last `counterBits` of the block, and must not come round. */
function counterWork(key: TokenObject, mechanism: Mechanism, isEncryption: boolean): CipherWork {
  const given = structureOf(mechanism, "aesCtr");
  const bits = small(given.counterBits);
  const start = Uint8Array.from(given.counterBlock);
  if (bits < 1 || bits > 128 || start.length !== BLOCK) return refuse("CKR_MECHANISM_PARAM_INVALID");
  const modulus = 1n << BigInt(bits);
  const most = (modulus - (bytesToBigint(start) % modulus)) * BigInt(BLOCK);
  const mustNotWrap = (length: number) => {
    if (BigInt(length) > most) refuse(isEncryption ? "CKR_DATA_LEN_RANGE" : "CKR_ENCRYPTED_DATA_LEN_RANGE");
  };
  const open = () => createCipheriv(named(key, "ctr"), secretOf(key).key, start);
  return {
    bound: (length) => length,
    once(data) {
      mustNotWrap(data.length);
      return open().update(data);
    },
    start() {
      const stream = cipherStream(open(), everyByte, 0, "CKR_FUNCTION_FAILED");
      let input = 0;
      return {
        ...stream,
        update(data) {
          input += data.length;
          mustNotWrap(input);
          return stream.update(data);
        },
      };
    },
  };
}

const TAG_LENGTHS: readonly number[] = [4, 8, 12, 13, 14, 15, 16];

/** 6.13.2: the tag follows the ciphertext. */
function gcmWork(isEncryption: boolean, key: TokenObject, mechanism: Mechanism): CipherWork {
  const given = structureOf(mechanism, "gcm");
  const tagBits = small(given.tagBits);
  const [iv, aad, authTagLength] = [Uint8Array.from(given.iv), Uint8Array.from(given.aad), tagBits / 8];
  if (iv.length === 0 || !TAG_LENGTHS.includes(authTagLength)) return refuse("CKR_MECHANISM_PARAM_INVALID");
  const name = named(key, "gcm") as CipherGCMTypes;
  if (isEncryption) {
    const open = () => createCipheriv(name, secretOf(key).key, iv, { authTagLength }).setAAD(aad);
    return {
      bound: (length) => length + authTagLength,
      once(data) {
        const cipher = open();
        return concat(cipher.update(data), cipher.final(), cipher.getAuthTag());
      },
      start() {
        const cipher = open();
        return cipherStream(cipher, everyByte, authTagLength, "CKR_FUNCTION_FAILED", () => cipher.getAuthTag());
      },
    };
  }
  const bound = (length: number) => Math.max(0, length - authTagLength);
  const once = (data: Uint8Array) => {
    if (data.length < authTagLength) return refuse("CKR_ENCRYPTED_DATA_LEN_RANGE");
    const end = data.length - authTagLength;
    const decipher = createDecipheriv(name, secretOf(key).key, iv, { authTagLength }).setAAD(aad);
    decipher.setAuthTag(data.subarray(end));
    const plain = decipher.update(data.subarray(0, end));
    orRefuse("CKR_AEAD_DECRYPT_FAILED", "", () => decipher.final());
    return plain;
  };
  // What does not authenticate must not be seen, so decryption gives nothing before its end.
  return { bound, once, start: () => gathered(once, bound) };
}

/** 6.13.3: the length of the data is known beforehand, the MAC follows the ciphertext. */
function ccmWork(isEncryption: boolean, key: TokenObject, mechanism: Mechanism): CipherWork {
  const given = structureOf(mechanism, "ccm");
  const [nonce, aad] = [Uint8Array.from(given.nonce), Uint8Array.from(given.aad)];
  const [authTagLength, plaintextLength] = [small(given.macLength), small(given.dataLength)];
  const isSane = nonce.length >= 7 && nonce.length <= 13 && authTagLength >= 4 && authTagLength <= BLOCK;
  if (!isSane || authTagLength % 2 !== 0) return refuse("CKR_MECHANISM_PARAM_INVALID");
  const name = named(key, "ccm") as CipherCCMTypes;
  const bound = (length: number) => (isEncryption ? length + authTagLength : Math.max(0, length - authTagLength));
  const encrypt = (data: Uint8Array) => {
    if (data.length !== plaintextLength) refuse("CKR_DATA_LEN_RANGE", `${plaintextLength} bytes were announced`);
    const cipher = createCipheriv(name, secretOf(key).key, nonce, { authTagLength });
    cipher.setAAD(aad, { plaintextLength });
    return concat(cipher.update(data), cipher.final(), cipher.getAuthTag());
  };
  const decrypt = (data: Uint8Array) => {
    const end = data.length - authTagLength;
    if (end !== plaintextLength) return refuse("CKR_ENCRYPTED_DATA_LEN_RANGE", `${plaintextLength} were announced`);
    const decipher = createDecipheriv(name, secretOf(key).key, nonce, { authTagLength });
    decipher.setAuthTag(data.subarray(end));
    decipher.setAAD(aad, { plaintextLength });
    return orRefuse("CKR_AEAD_DECRYPT_FAILED", "", () => {
      const plain = decipher.update(data.subarray(0, end));
      decipher.final();
      return plain;
    });
  };
  const once = isEncryption ? encrypt : decrypt;
  return { bound, once, start: () => gathered(once, bound) };
}

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
