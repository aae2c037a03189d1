/**
 * RSA. PKCS#11 3.1, 6.1.
 * @module
 */
import { generateKeyPair } from "node:crypto";
import { bytesToBigint } from "../../codec/bytes.ts";
import type { Mechanism, Parameter, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { endingWaitsFor } from "../../host/exit.ts";
import { attr, keyType, mech } from "../codes.ts";
import { exportPair } from "../keys/encodings.ts";
import type { TokenObject } from "../objects/object.ts";
import type { CipherWork } from "../operations/state.ts";
import { refuse } from "../refusal.ts";
import type { Values } from "../store/record.ts";
import { type Definition, type Definitions, noParameter, type PairParts, structureOf } from "./definition.ts";
import { HASHES, type Hash, hashOfMask, hashOfMechanism } from "./hashes.ts";
import { signHashed, verifyHashed } from "./hashing.ts";
import {
  mustFit,
  PKCS1,
  padded,
  padding,
  RAW,
  type Scheme,
  SIZES,
  sign,
  sizeOf,
  transform,
  verify,
  verifyRecover,
  wrapping,
} from "./rsa-padding.ts";

/** What PKCS#1 v1.5 padding takes at least (RFC 8017 9.2). */
const PKCS1_OVERHEAD = 11;
const CKZ_DATA_SPECIFIED = 1;

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
