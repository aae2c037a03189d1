/**
 * ML-DSA, SLH-DSA and ML-KEM, where the running OpenSSL is 3.5 or later. PKCS#11 3.2, 6.67 to 6.69.
 * @module
 */
import { createHash } from "node:crypto";
import { concat } from "../../codec/bytes.ts";
import { derOid } from "../../codec/der.ts";
import type { Mechanism, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import {
  decapsulate,
  encapsulate,
  type MessageSettings,
  signMessage,
  verifyMessage,
} from "../../native/libcrypto/contexts.ts";
import { Pkey } from "../../native/libcrypto/keys.ts";
import { opensslVersion } from "../../native/libcrypto/library.ts";
import { CKH_HEDGE } from "../../spec/objects.ts";
import { attr, keyType, mech } from "../codes.ts";
import { pkeyOf } from "../keys/material.ts";
import { PARAMETER_SETS, type ParameterSet, parameterSet } from "../keys/pqc.ts";
import type { TokenObject } from "../objects/object.ts";
import { orRefuse, refuse } from "../refusal.ts";
import type { Values } from "../store/record.ts";
import { type Definition, type Definitions, hasParameter, type PairParts, structureOf } from "./definition.ts";

const WITH_POST_QUANTUM = 305;
const LONGEST_CONTEXT = 255;

function setOf(key: TokenObject): ParameterSet {
  return parameterSet(key.keyType!, small(key.values.get(attr.PARAMETER_SET) as Ulong))!;
}

/** Whether a signature is to be hedged, and its context; both have defaults (6.67.5). */
interface Additional {
  readonly isDeterministic: boolean;
  readonly context: Uint8Array;
}

function additional(mechanism: Mechanism, name: "signAdditionalContext" | "hashSignAdditionalContext"): Additional {
  if (name === "signAdditionalContext" && !hasParameter(mechanism)) {
    return { isDeterministic: false, context: new Uint8Array(0) };
  }
  const { hedgeVariant, context } = structureOf(mechanism, name);
  const hedge = small(hedgeVariant);
  if (hedge > CKH_HEDGE.CKH_DETERMINISTIC_REQUIRED[0] || context.length > LONGEST_CONTEXT) {
    return refuse("CKR_MECHANISM_PARAM_INVALID");
  }
  return {
    isDeterministic: hedge === CKH_HEDGE.CKH_DETERMINISTIC_REQUIRED[0],
    context: Uint8Array.from(context),
  };
}

function settings({ isDeterministic, context }: Additional): MessageSettings {
  return {
    deterministic: isDeterministic ? 1 : 0,
    "context-string": context.length === 0 ? undefined : context,
  };
}

/** Signs and verifies whole messages; `encode` is what is done to the message first. */
function messages(
  type: number,
  prepare: (mechanism: Mechanism) => { settings: MessageSettings; encode: (data: Uint8Array) => Uint8Array },
): Definition {
  const [least, most] = sizesOf(type);
  return {
    sizes: [least, most],
    keyTypes: [type],
    sign(key, mechanism) {
      const { settings: set, encode } = prepare(mechanism);
      return { length: setOf(key).outputLength, once: (data) => signMessage(pkeyOf(key), encode(data), set) };
    },
    verify(key, mechanism) {
      const { settings: set, encode } = prepare(mechanism);
      return {
        once(data, signature) {
          if (signature.length !== setOf(key).outputLength) refuse("CKR_SIGNATURE_LEN_RANGE");
          const isRight = orRefuse("CKR_SIGNATURE_INVALID", "", () =>
            verifyMessage(pkeyOf(key), encode(data), signature, set),
          );
          if (!isRight) refuse("CKR_SIGNATURE_INVALID");
        },
      };
    },
  };
}

/** CK_MECHANISM_INFO counts parameter sets' public keys, in bytes. */
function sizesOf(type: number): [number, number] {
  const lengths = PARAMETER_SETS.filter((set) => set.keyType === type).map((set) => set.publicLength);
  return [Math.min(...lengths), Math.max(...lengths)];
}

function pure(type: number): Definition {
  return messages(type, (mechanism) => ({
    settings: settings(additional(mechanism, "signAdditionalContext")),
    encode: (data) => data,
  }));
}

/** Hashes that sign beforehand: their identifiers (NIST CSOR, hashAlgs) and their lengths. */
const PREHASHES = [
  ["SHA224", "sha224", 4, 28],
  ["SHA256", "sha256", 1, 32],
  ["SHA384", "sha384", 2, 48],
  ["SHA512", "sha512", 3, 64],
  ["SHA3_224", "sha3-224", 7, 28],
  ["SHA3_256", "sha3-256", 8, 32],
  ["SHA3_384", "sha3-384", 9, 48],
  ["SHA3_512", "sha3-512", 10, 64],
  ["SHAKE128", "shake128", 11, 32],
  ["SHAKE256", "shake256", 12, 64],
] as const;

type Prehash = (typeof PREHASHES)[number];

const HASH_TREE = "2.16.840.1.101.3.4.2";

/** The message of HashML-DSA and HashSLH-DSA (FIPS 204 5.4, FIPS 205 10.2.2): 1, context, identifier, digest. */
function prehashed([, , arc]: Prehash, context: Uint8Array, digest: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(1, context.length), context, derOid(`${HASH_TREE}.${arc}`), digest);
}

/** The message is encoded here, so OpenSSL is told to leave it alone. */
function rawSettings({ isDeterministic }: Additional): MessageSettings {
  return { deterministic: isDeterministic ? 1 : 0, "message-encoding": 0 };
}

function hashing(type: number, hash: Prehash): Definition {
  const [, name, , length] = hash;
  return messages(type, (mechanism) => {
    const given = additional(mechanism, "signAdditionalContext");
    const digest = (data: Uint8Array) =>
      createHash(name, name.startsWith("shake") ? { outputLength: length } : {})
        .update(data)
        .digest();
    return { settings: rawSettings(given), encode: (data) => prehashed(hash, given.context, digest(data)) };
  });
}

/** CKM_HASH_ML_DSA and CKM_HASH_SLH_DSA: the data is a digest, and the parameter names its hash. */
function overDigest(type: number): Definition {
  return messages(type, (mechanism) => {
    const { hash: code } = structureOf(mechanism, "hashSignAdditionalContext");
    const given = additional(mechanism, "hashSignAdditionalContext");
    const hash = PREHASHES.find(([name]) => !name.startsWith("SHAKE") && digestCode(name) === small(code));
    if (hash === undefined) return refuse("CKR_MECHANISM_PARAM_INVALID", "the hash is not known");
    return {
      settings: rawSettings(given),
      encode(data) {
        if (data.length !== hash[3]) refuse("CKR_DATA_LEN_RANGE", `a digest of ${hash[3]} bytes expected`);
        return prehashed(hash, given.context, data);
      },
    };
  });
}

function digestCode(name: Prehash[0]): number {
  return mech[name as "SHA256"];
}

function partsOf(set: ParameterSet, key: Pkey): PairParts {
  const shared: Values = new Map([[attr.PARAMETER_SET, set.code]]);
  const secrets = new Map([[attr.VALUE, key.part("priv", set.privateLength)]]);
  if (set.hasSeed) secrets.set(attr.SEED, key.part("seed", set.privateLength));
  const publicValues: Values = new Map([...shared, [attr.VALUE, key.part("pub", set.publicLength)]]);
  key.free();
  return {
    publicKey: { keyType: set.keyType, values: publicValues, secrets: new Map() },
    privateKey: { keyType: set.keyType, values: new Map(shared), secrets },
  };
}

function generation(type: number): Definition {
  const [least, most] = sizesOf(type);
  return {
    sizes: [least, most],
    generatePair: {
      keyType: type,
      make(publicTemplate) {
        const code = publicTemplate.get(attr.PARAMETER_SET);
        if (code === undefined) return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_PARAMETER_SET is missing");
        const set = parameterSet(type, small(code as Ulong)) ?? refuse("CKR_PARAMETER_SET_NOT_SUPPORTED");
        // The small SLH-DSA signatures cost seconds of key generation.
        if (type !== keyType.SLH_DSA) return partsOf(set, Pkey.generate(set.openssl));
        return Pkey.generateLater(set.openssl).then((key) => partsOf(set, key));
      },
    },
  };
}

const kem: Definition = {
  sizes: sizesOf(keyType.ML_KEM),
  keyTypes: [keyType.ML_KEM],
  encapsulationLength: (key) => setOf(key).outputLength,
  encapsulate: (key) => encapsulate(pkeyOf(key), setOf(key).outputLength),
  decapsulate(key, ciphertext) {
    if (ciphertext.length !== setOf(key).outputLength) return refuse("CKR_ENCRYPTED_DATA_LEN_RANGE");
    return orRefuse("CKR_ENCRYPTED_DATA_INVALID", "", () => decapsulate(pkeyOf(key), ciphertext));
  },
};

export const pqcMechanisms: Definitions =
  opensslVersion() < WITH_POST_QUANTUM
    ? []
    : [
        [mech.ML_DSA_KEY_PAIR_GEN, generation(keyType.ML_DSA)],
        [mech.ML_DSA, pure(keyType.ML_DSA)],
        [mech.HASH_ML_DSA, overDigest(keyType.ML_DSA)],
        ...PREHASHES.map((hash) => [mech[`HASH_ML_DSA_${hash[0]}`], hashing(keyType.ML_DSA, hash)] as const),
        [mech.SLH_DSA_KEY_PAIR_GEN, generation(keyType.SLH_DSA)],
        [mech.SLH_DSA, pure(keyType.SLH_DSA)],
        [mech.HASH_SLH_DSA, overDigest(keyType.SLH_DSA)],
        ...PREHASHES.map((hash) => [mech[`HASH_SLH_DSA_${hash[0]}`], hashing(keyType.SLH_DSA, hash)] as const),
        [mech.ML_KEM_KEY_PAIR_GEN, generation(keyType.ML_KEM)],
        [mech.ML_KEM, kem],
      ];
