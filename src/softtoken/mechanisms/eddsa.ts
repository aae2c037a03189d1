/**
 * EdDSA (RFC 8032) and the generation of Edwards and Montgomery keys. PKCS#11 3.1, 6.3.13 to 6.3.16.
 *
 * Ed25519 and Ed448 without a context work with any OpenSSL 3; the pre-hashed forms and contexts take 3.2.
 * @module
 */

import type { Mechanism } from "../../cryptoki/port.ts";
import { type MessageSettings, signMessage, verifyMessage } from "../../native/libcrypto/contexts.ts";
import { opensslVersion } from "../../native/libcrypto/library.ts";
import { MECHANISM_FLAGS } from "../../spec/flags.ts";
import { keyType, mech } from "../codes.ts";
import type { TokenCurve } from "../keys/curves.ts";
import { pkeyOf } from "../keys/material.ts";
import { orRefuse, refuse } from "../refusal.ts";
import { type Definitions, hasParameter, structureOf } from "./definition.ts";
import { curveOfKey, pairOnCurve } from "./ecdsa.ts";

const SIZES = [255, 448] as const;
const FLAGS = MECHANISM_FLAGS.CKF_EC_F_P[0] | MECHANISM_FLAGS.CKF_EC_OID[0] | MECHANISM_FLAGS.CKF_EC_CURVENAME[0];
const LONGEST_CONTEXT = 255;

/** The version of OpenSSL that knows Ed25519ctx, Ed25519ph, Ed448ph and contexts. */
const WITH_INSTANCES = 302;

/** 6.3.15: no parameter is Ed25519 or Ed448 itself; with one Ed25519 becomes Ed25519ctx or Ed25519ph. */
function settings(curve: TokenCurve, mechanism: Mechanism): MessageSettings {
  if (!hasParameter(mechanism)) return {};
  const { phFlag, contextData } = structureOf(mechanism, "eddsa");
  if (contextData.length > LONGEST_CONTEXT) return refuse("CKR_MECHANISM_PARAM_INVALID", "a context of over 255 bytes");
  // Ed448 has an (empty) context anyway, so this is Ed448 itself.
  if (curve.name === "Ed448" && !phFlag && contextData.length === 0) return {};
  // RFC 8032 5.1: Ed25519ctx's context is not empty; without one this is Ed25519 itself.
  if (curve.name === "Ed25519" && !phFlag && contextData.length === 0) return {};
  if (opensslVersion() < WITH_INSTANCES) {
    return refuse("CKR_MECHANISM_PARAM_INVALID", "contexts and pre-hashed EdDSA take OpenSSL 3.2 or later");
  }
  const variant = phFlag ? "ph" : curve.name === "Ed25519" ? "ctx" : "";
  return {
    instance: `${curve.name}${variant}`,
    "context-string": contextData.length === 0 ? undefined : Uint8Array.from(contextData),
  };
}

export const eddsaMechanisms: Definitions = [
  [mech.EC_EDWARDS_KEY_PAIR_GEN, { sizes: SIZES, flags: FLAGS, generatePair: pairOnCurve(keyType.EC_EDWARDS)! }],
  [mech.EC_MONTGOMERY_KEY_PAIR_GEN, { sizes: SIZES, flags: FLAGS, generatePair: pairOnCurve(keyType.EC_MONTGOMERY)! }],
  [
    mech.EDDSA,
    {
      sizes: SIZES,
      flags: FLAGS,
      keyTypes: [keyType.EC_EDWARDS],
      sign(key, mechanism) {
        const curve = curveOfKey(key);
        const set = settings(curve, mechanism);
        return {
          length: 2 * curve.bytes,
          once: (data) => signMessage(pkeyOf(key), data, set),
        };
      },
      verify(key, mechanism) {
        const curve = curveOfKey(key);
        const set = settings(curve, mechanism);
        return {
          once(data, signature) {
            if (signature.length !== 2 * curve.bytes) refuse("CKR_SIGNATURE_LEN_RANGE");
            const isRight = orRefuse("CKR_SIGNATURE_INVALID", "", () =>
              verifyMessage(pkeyOf(key), data, signature, set),
            );
            if (!isRight) refuse("CKR_SIGNATURE_INVALID");
          },
        };
      },
    },
  ],
];
