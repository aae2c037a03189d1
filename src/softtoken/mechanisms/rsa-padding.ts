import type { Padding } from "../../native/libcrypto/contexts.ts";
import { LibcryptoError } from "../../native/libcrypto/library.ts";
import { attr, keyType } from "../codes.ts";
import { signerOf, transformerOf, verifierOf } from "../keys/material.ts";
import type { TokenObject } from "../objects/object.ts";
import type { CipherWork, RecoverWork } from "../operations/state.ts";
import { refuse } from "../refusal.ts";
import { type Definition, noParameter } from "./definition.ts";

/** The sizes of moduli, in bits. */
export const SIZES = [2048, 8192] as const;

/** Bytes of the modulus. */
export function sizeOf(key: TokenObject): number {
  return key.bytes(attr.MODULUS)!.length;
}

/** A padding with the name under which its contexts are kept. */
export interface Scheme {
  readonly name: string;
  readonly padding: Padding;
}

export const PKCS1: Scheme = { name: "pkcs1", padding: { type: "pkcs1" } };
export const RAW: Scheme = { name: "raw", padding: { type: "none" } };

export function sign(key: TokenObject, { name, padding }: Scheme): (data: Uint8Array) => Uint8Array {
  return (data) => {
    try {
      return new Uint8Array(signerOf(key, name, padding).sign(data));
    } catch (error) {
      // What OpenSSL refuses here is the data: too long, or for raw RSA not less than the modulus.
      if (error instanceof LibcryptoError) return refuse("CKR_DATA_INVALID");
      throw error;
    }
  };
}

export function verify(key: TokenObject, { name, padding }: Scheme): (data: Uint8Array, signature: Uint8Array) => void {
  return (data, signature) => {
    if (signature.length !== sizeOf(key)) refuse("CKR_SIGNATURE_LEN_RANGE", `${sizeOf(key)} bytes expected`);
    if (!verifierOf(key, name, padding).verify(data, signature)) refuse("CKR_SIGNATURE_INVALID");
  };
}

export function mustFit(data: Uint8Array, most: number): void {
  if (data.length > most) refuse("CKR_DATA_LEN_RANGE", `${data.length} bytes, at most ${most}`);
}

/** Left-padded with zeroes to the length of the modulus (6.1.8). */
export function padded(data: Uint8Array, size: number): Uint8Array {
  mustFit(data, size);
  const whole = new Uint8Array(size);
  whole.set(data, size - data.length);
  return whole;
}

/** Encrypting with the public or decrypting with the private key; one block. */
export function transform(what: "encrypt" | "decrypt", key: TokenObject, scheme: Scheme, most: number): CipherWork {
  const size = sizeOf(key);
  return {
    bound: () => size,
    once(data) {
      if (what === "encrypt") mustFit(data, most);
      else if (data.length !== size) refuse("CKR_ENCRYPTED_DATA_LEN_RANGE", `${size} bytes expected`);
      const input = what === "encrypt" && scheme === RAW ? padded(data, size) : data;
      const output = transformerOf(what, key, scheme.name, scheme.padding).run(input);
      return output ?? refuse(what === "encrypt" ? "CKR_DATA_INVALID" : "CKR_ENCRYPTED_DATA_INVALID");
    },
  };
}

export function signRecover(key: TokenObject, scheme: Scheme, most: number): RecoverWork {
  const run = sign(key, scheme);
  return {
    length: sizeOf(key),
    once(data) {
      mustFit(data, most);
      return run(scheme === RAW ? padded(data, sizeOf(key)) : data);
    },
  };
}

export function verifyRecover(key: TokenObject, { name, padding }: Scheme): RecoverWork {
  return {
    length: sizeOf(key),
    once(signature) {
      if (signature.length !== sizeOf(key)) refuse("CKR_SIGNATURE_LEN_RANGE");
      return transformerOf("recover", key, name, padding).run(signature) ?? refuse("CKR_SIGNATURE_INVALID");
    },
  };
}

/** What an encryption of keys does, from the encryption of data. */
export function wrapping(of: Pick<Definition, "encrypt" | "decrypt">): Required<Pick<Definition, "wrap" | "unwrap">> {
  return {
    wrap: (key, mechanism, plain) => of.encrypt!(key, mechanism).once(plain),
    unwrap: (key, mechanism, wrapped) => of.decrypt!(key, mechanism).once(wrapped),
  };
}

export function padding(scheme: Scheme, most: (size: number) => number): Definition {
  const ciphers: Required<Pick<Definition, "encrypt" | "decrypt">> = {
    encrypt(key, mechanism) {
      noParameter(mechanism);
      return transform("encrypt", key, scheme, most(sizeOf(key)));
    },
    decrypt(key, mechanism) {
      noParameter(mechanism);
      return transform("decrypt", key, scheme, most(sizeOf(key)));
    },
  };
  return {
    sizes: SIZES,
    keyTypes: [keyType.RSA],
    ...ciphers,
    ...wrapping(ciphers),
    signRecover(key, mechanism) {
      noParameter(mechanism);
      return signRecover(key, scheme, most(sizeOf(key)));
    },
    verifyRecover(key, mechanism) {
      noParameter(mechanism);
      return verifyRecover(key, scheme);
    },
  };
}
