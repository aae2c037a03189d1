/**
 * RSA. PKCS#11 3.1, 6.1.
 * @module
 */
import { generateKeyPair } from "node:crypto";
import { bytesToBigint } from "../../codec/bytes.ts";
import type { Mechanism, Parameter, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { endingWaitsFor } from "../../host/exit.ts";
import type { Padding } from "../../native/libcrypto/contexts.ts";
import { LibcryptoError } from "../../native/libcrypto/library.ts";
import { attr, keyType, mech } from "../codes.ts";
import { exportPair } from "../keys/encodings.ts";
import { signerOf, transformerOf, verifierOf } from "../keys/material.ts";
import type { TokenObject } from "../objects/object.ts";
import type { CipherWork, RecoverWork } from "../operations/state.ts";
import { refuse } from "../refusal.ts";
import type { Values } from "../store/record.ts";
import { type Definition, type Definitions, noParameter, type PairParts, structureOf } from "./definition.ts";
import { HASHES, type Hash, hashOfMask, hashOfMechanism } from "./hashes.ts";
import { signHashed, verifyHashed } from "./hashing.ts";

const SIZES = [2048, 8192] as const;
/** What PKCS#1 v1.5 padding takes at least (RFC 8017 9.2). */
const PKCS1_OVERHEAD = 11;
const CKZ_DATA_SPECIFIED = 1;

/** Bytes of the modulus. */
function sizeOf(key: TokenObject): number {
  return key.bytes(attr.MODULUS)!.length;
}

/** A padding with the name under which its contexts are kept. */
interface Scheme {
  readonly name: string;
  readonly padding: Padding;
}

const PKCS1: Scheme = { name: "pkcs1", padding: { type: "pkcs1" } };
const RAW: Scheme = { name: "raw", padding: { type: "none" } };

function sign(key: TokenObject, { name, padding }: Scheme): (data: Uint8Array) => Uint8Array {
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

function verify(key: TokenObject, { name, padding }: Scheme): (data: Uint8Array, signature: Uint8Array) => void {
  return (data, signature) => {
    if (signature.length !== sizeOf(key)) refuse("CKR_SIGNATURE_LEN_RANGE", `${sizeOf(key)} bytes expected`);
    if (!verifierOf(key, name, padding).verify(data, signature)) refuse("CKR_SIGNATURE_INVALID");
  };
}

function mustFit(data: Uint8Array, most: number): void {
  if (data.length > most) refuse("CKR_DATA_LEN_RANGE", `${data.length} bytes, at most ${most}`);
}

/** Left-padded with zeroes to the length of the modulus (6.1.8). */
function padded(data: Uint8Array, size: number): Uint8Array {
  mustFit(data, size);
  const whole = new Uint8Array(size);
  whole.set(data, size - data.length);
  return whole;
}

/** Encrypting with the public or decrypting with the private key; one block. */
function transform(what: "encrypt" | "decrypt", key: TokenObject, scheme: Scheme, most: number): CipherWork {
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

function signRecover(key: TokenObject, scheme: Scheme, most: number): RecoverWork {
  const run = sign(key, scheme);
  return {
    length: sizeOf(key),
    once(data) {
      mustFit(data, most);
      return run(scheme === RAW ? padded(data, sizeOf(key)) : data);
    },
  };
}

function verifyRecover(key: TokenObject, { name, padding }: Scheme): RecoverWork {
  return {
    length: sizeOf(key),
    once(signature) {
      if (signature.length !== sizeOf(key)) refuse("CKR_SIGNATURE_LEN_RANGE");
      return transformerOf("recover", key, name, padding).run(signature) ?? refuse("CKR_SIGNATURE_INVALID");
    },
  };
}

/** What an encryption of keys does, from the encryption of data. */
function wrapping(of: Pick<Definition, "encrypt" | "decrypt">): Required<Pick<Definition, "wrap" | "unwrap">> {
  return {
    wrap: (key, mechanism, plain) => of.encrypt!(key, mechanism).once(plain),
    unwrap: (key, mechanism, wrapped) => of.decrypt!(key, mechanism).once(wrapped),
  };
}

function padding(scheme: Scheme, most: (size: number) => number): Definition {
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

const pkcs1: Definition = {
  ...padding(PKCS1, (size) => size - PKCS1_OVERHEAD),
  sign(key, mechanism) {
    noParameter(mechanism);
    const run = sign(key, PKCS1);
    return {
      length: sizeOf(key),
      once(data) {
        mustFit(data, sizeOf(key) - PKCS1_OVERHEAD);
        return run(data);
      },
    };
  },
  verify(key, mechanism) {
    noParameter(mechanism);
    const run = verify(key, PKCS1);
    return {
      once(data, signature) {
        mustFit(data, sizeOf(key) - PKCS1_OVERHEAD);
        run(data, signature);
      },
    };
  },
};

const x509: Definition = {
  ...padding(RAW, (size) => size),
  sign(key, mechanism) {
    noParameter(mechanism);
    const run = sign(key, RAW);
    return { length: sizeOf(key), once: (data) => run(padded(data, sizeOf(key))) };
  },
  verify(key, mechanism) {
    noParameter(mechanism);
    const recover = verifyRecover(key, RAW);
    return {
      once(data, signature) {
        const right = Buffer.compare(recover.once(signature), padded(data, sizeOf(key))) === 0;
        if (!right) refuse("CKR_SIGNATURE_INVALID");
      },
    };
  },
};

function hashedPkcs1({ name }: Hash): Definition {
  const scheme: Scheme = { name: `pkcs1 ${name}`, padding: { type: "pkcs1", digest: name } };
  return {
    sizes: SIZES,
    keyTypes: [keyType.RSA],
    sign(key, mechanism) {
      noParameter(mechanism);
      return signHashed(name, sizeOf(key), sign(key, scheme));
    },
    verify(key, mechanism) {
      noParameter(mechanism);
      return verifyHashed(name, verify(key, scheme));
    },
  };
}

/** 6.1.11: the parameter names hash, mask hash and salt length. */
function pssScheme(key: TokenObject, mechanism: Mechanism, expected?: Hash): { scheme: Scheme; hash: Hash } {
  const given = structureOf(mechanism, "rsaPkcsPss");
  const hash = hashOfMechanism(small(given.hashAlg));
  if (expected !== undefined && hash !== expected) {
    return refuse("CKR_MECHANISM_PARAM_INVALID", "the hash is not that of the mechanism");
  }
  const mask = hashOfMask(small(given.mgf));
  const saltLength = small(given.saltLength);
  if (saltLength > sizeOf(key) - hash.length - 2) return refuse("CKR_MECHANISM_PARAM_INVALID", "the salt is too long");
  return {
    hash,
    scheme: {
      name: `pss ${hash.name} ${mask.name} ${saltLength}`,
      padding: { type: "pss", digest: hash.name, mask: mask.name, saltLength },
    },
  };
}

const pss: Definition = {
  sizes: SIZES,
  keyTypes: [keyType.RSA],
  sign(key, mechanism) {
    const { scheme, hash } = pssScheme(key, mechanism);
    const run = sign(key, scheme);
    return {
      length: sizeOf(key),
      once(data) {
        if (data.length !== hash.length) refuse("CKR_DATA_LEN_RANGE", `a digest of ${hash.length} bytes expected`);
        return run(data);
      },
    };
  },
  verify(key, mechanism) {
    const { scheme, hash } = pssScheme(key, mechanism);
    const run = verify(key, scheme);
    return {
      once(data, signature) {
        if (data.length !== hash.length) refuse("CKR_DATA_LEN_RANGE", `a digest of ${hash.length} bytes expected`);
        run(data, signature);
      },
    };
  },
};

function hashedPss(hash: Hash): Definition {
  return {
    sizes: SIZES,
    keyTypes: [keyType.RSA],
    sign: (key, mechanism) => signHashed(hash.name, sizeOf(key), sign(key, pssScheme(key, mechanism, hash).scheme)),
    verify: (key, mechanism) => verifyHashed(hash.name, verify(key, pssScheme(key, mechanism, hash).scheme)),
  };
}

/** 6.1.9: hash, mask hash and label. */
export function oaepWork(what: "encrypt" | "decrypt", key: TokenObject, given: Parameter<"rsaPkcsOaep">): CipherWork {
  const hash = hashOfMechanism(small(given.hashAlg));
  const mask = hashOfMask(small(given.mgf));
  const label = Uint8Array.from(given.sourceData);
  if (label.length > 0 && given.source !== CKZ_DATA_SPECIFIED) {
    return refuse("CKR_MECHANISM_PARAM_INVALID", "the source of the label is not known");
  }
  const most = sizeOf(key) - 2 * hash.length - 2;
  const scheme: Scheme = {
    name: `oaep ${hash.name} ${mask.name} ${Buffer.from(label).toString("hex")}`,
    padding: { type: "oaep", digest: hash.name, mask: mask.name, label },
  };
  return transform(what, key, scheme, most);
}

const oaepCiphers: Required<Pick<Definition, "encrypt" | "decrypt">> = {
  encrypt: (key, mechanism) => oaepWork("encrypt", key, structureOf(mechanism, "rsaPkcsOaep")),
  decrypt: (key, mechanism) => oaepWork("decrypt", key, structureOf(mechanism, "rsaPkcsOaep")),
};

const DEFAULT_EXPONENT = 65537n;
/** What OpenSSL's generation takes, as an int. */
const LARGEST_EXPONENT = 0x7fff_ffffn;

/** 6.1.4: the size is given, the exponent may be. Not at once: it takes from 50 ms to minutes. */
function generateRsa(publicTemplate: Values): Promise<PairParts> {
  const bits = publicTemplate.get(attr.MODULUS_BITS);
  if (bits === undefined) return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_MODULUS_BITS is missing");
  const modulusLength = small(bits as Ulong);
  if (modulusLength < SIZES[0] || modulusLength > SIZES[1]) {
    return refuse("CKR_KEY_SIZE_RANGE", `${modulusLength} bits, ${SIZES[0]} to ${SIZES[1]} are made`);
  }
  const given = publicTemplate.get(attr.PUBLIC_EXPONENT);
  const exponent = given === undefined ? DEFAULT_EXPONENT : bytesToBigint(given as Uint8Array);
  if (exponent % 2n === 0n || exponent < DEFAULT_EXPONENT || exponent > LARGEST_EXPONENT) {
    return refuse("CKR_ATTRIBUTE_VALUE_INVALID", `a public exponent of ${exponent}: odd and from 65537 is made`);
  }
  const options = {
    modulusLength,
    publicExponent: Number(exponent),
  };
  const made = () =>
    new Promise<ReturnType<typeof exportPair>>((resolve, reject) => {
      generateKeyPair("rsa", options, (error, publicKey, privateKey) => {
        if (error !== null) return reject(error);
        resolve(exportPair(publicKey, privateKey));
      });
    });
  return endingWaitsFor(made);
}

export const rsaMechanisms: Definitions = [
  [mech.RSA_PKCS_KEY_PAIR_GEN, { sizes: SIZES, generatePair: { keyType: keyType.RSA, make: generateRsa } }],
  [mech.RSA_PKCS, pkcs1],
  [mech.RSA_X_509, x509],
  [mech.RSA_PKCS_OAEP, { sizes: SIZES, keyTypes: [keyType.RSA], ...oaepCiphers, ...wrapping(oaepCiphers) }],
  [mech.RSA_PKCS_PSS, pss],
  ...HASHES.flatMap((hash) => (hash.rsa === undefined ? [] : [[hash.rsa, hashedPkcs1(hash)] as const])),
  ...HASHES.flatMap((hash) => (hash.pss === undefined ? [] : [[hash.pss, hashedPss(hash)] as const])),
];
