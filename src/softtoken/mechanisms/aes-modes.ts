/**
 * The modes in which AES encrypts: ECB, CBC, CTR, GCM and CCM. PKCS#11 3.1, 6.10 to 6.13.
 * @module
 */
import { type CipherCCMTypes, type CipherGCMTypes, createCipheriv, createDecipheriv } from "node:crypto";
import { bytesToBigint, concat } from "../../codec/bytes.ts";
import type { Mechanism } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { secretOf } from "../keys/material.ts";
import type { TokenObject } from "../objects/object.ts";
import type { CipherWork } from "../operations/state.ts";
import { orRefuse, refuse } from "../refusal.ts";
import { bytesOf, type Definition, noParameter, structureOf } from "./definition.ts";
import { allButLastBlock, cipherStream, everyByte, gathered, type Progress, wholeBlocks } from "./streams.ts";

/** Bytes of a block. */
export const BLOCK = 16;
export const NO_IV = new Uint8Array(0);

export type Ciphers = Required<Pick<Definition, "encrypt" | "decrypt">>;

/** OpenSSL's name of a cipher for a key. */
export function named(key: TokenObject, mode: string): string {
  return `aes-${secretOf(key).bytes.length * 8}-${mode}`;
}

/** ECB and CBC, with or without padding. */
export function blockWork(
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

export function blocks(mode: "ecb" | "cbc", isPadded: boolean): Ciphers {
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
export function counterWork(key: TokenObject, mechanism: Mechanism, isEncryption: boolean): CipherWork {
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
export function gcmWork(isEncryption: boolean, key: TokenObject, mechanism: Mechanism): CipherWork {
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
export function ccmWork(isEncryption: boolean, key: TokenObject, mechanism: Mechanism): CipherWork {
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
