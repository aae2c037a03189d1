/**
 * The curves the token has, and how CKA_EC_PARAMS and CKA_EC_POINT name curves and points. PKCS#11 3.1, 6.3.
 * @module
 */
import { fromUtf8, Reader, sameBytes } from "../../codec/bytes.ts";
import { derOctetString, derOid, expectTlv, readTlv, TAG } from "../../codec/der.ts";
import { CURVES, type Curve, type CurveName, curveByOid, curveNames } from "../../spec/curves.ts";
import { keyType } from "../codes.ts";
import { orRefuse, refuse } from "../refusal.ts";

/** The curves of the token and OpenSSL's names for them. */
const OPENSSL: { readonly [C in CurveName]?: string } = {
  secp256r1: "prime256v1",
  secp384r1: "secp384r1",
  secp521r1: "secp521r1",
  secp256k1: "secp256k1",
  brainpoolP256r1: "brainpoolP256r1",
  brainpoolP320r1: "brainpoolP320r1",
  brainpoolP384r1: "brainpoolP384r1",
  brainpoolP512r1: "brainpoolP512r1",
  Ed25519: "ed25519",
  Ed448: "ed448",
  X25519: "x25519",
  X448: "x448",
};

const KEY_TYPE = {
  weierstrass: keyType.EC,
  edwards: keyType.EC_EDWARDS,
  montgomery: keyType.EC_MONTGOMERY,
} as const;

export interface TokenCurve extends Curve {
  readonly name: CurveName;
  /** OpenSSL's name. */
  readonly openssl: string;
  readonly keyType: number;
}

const curves: ReadonlyMap<CurveName, TokenCurve> = new Map(
  curveNames()
    .filter((name) => OPENSSL[name] !== undefined)
    .map((name) => {
      const curve: Curve = CURVES[name];
      return [name, { ...curve, name, openssl: OPENSSL[name]!, keyType: KEY_TYPE[curve.family] }];
    }),
);

/** The curve of a name; undefined if the token does not have it. */
export function tokenCurve(name: CurveName | undefined): TokenCurve | undefined {
  return name === undefined ? undefined : curves.get(name);
}

/**
 * The curve that CKA_EC_PARAMS names by its object identifier or its curveName.
 * @throws Refusal CKR_ATTRIBUTE_VALUE_INVALID if it is not DER, CKR_CURVE_NOT_SUPPORTED
 */
export function curveOfParams(params: Uint8Array, type: number): TokenCurve {
  const name = orRefuse("CKR_ATTRIBUTE_VALUE_INVALID", "CKA_EC_PARAMS is not DER", () => curveName(params));
  const curve = tokenCurve(name);
  if (curve === undefined || curve.keyType !== type) {
    return refuse("CKR_CURVE_NOT_SUPPORTED", "CKA_EC_PARAMS names no curve of this token for this key type");
  }
  return curve;
}

/** CKA_EC_PARAMS of each curve. Each use of a key asks for its curve. */
const PARAMS = curveNames().map((name) => [name, derOid(CURVES[name].oid)] as const);

function curveName(params: Uint8Array): CurveName | undefined {
  const r = new Reader(params, "CKA_EC_PARAMS");
  const { tag, value, whole } = readTlv(r);
  r.end();
  if (tag === TAG.oid) return PARAMS.find(([, known]) => sameBytes(known, whole))?.[0];
  if (tag !== TAG.printableString) return undefined;
  const text = fromUtf8(value.take(value.left));
  return curveNames().find((name) => (CURVES[name] as Curve).curveName === text || name === text);
}

/** CKA_EC_PARAMS of a curve. */
export function curveParams(curve: Curve): Uint8Array {
  return derOid(curve.oid);
}

export { curveByOid };

/**
 * The point of CKA_EC_POINT, whichever way it is wrapped: bare, OCTET STRING or BIT STRING. Decided by the length that
 * the curve gives, never by trial.
 * @throws Refusal CKR_ATTRIBUTE_VALUE_INVALID
 */
export function pointOf(curve: TokenCurve, value: Uint8Array): Uint8Array {
  const lengths = curve.family === "weierstrass" ? [1 + 2 * curve.bytes, 1 + curve.bytes] : [curve.bytes];
  if (lengths.includes(value.length)) return value;
  const point = orRefuse("CKR_ATTRIBUTE_VALUE_INVALID", "CKA_EC_POINT is not a point of the curve", () => {
    const r = new Reader(value, "CKA_EC_POINT");
    const tlv =
      value[0] === TAG.bitString ? expectTlv(r, TAG.bitString, "point") : expectTlv(r, TAG.octetString, "point");
    r.end();
    if (tlv.tag === TAG.bitString) tlv.value.u8();
    return tlv.value.take(tlv.value.left);
  });
  if (lengths.includes(point.length)) return point;
  return refuse(
    "CKR_ATTRIBUTE_VALUE_INVALID",
    `CKA_EC_POINT has ${point.length} bytes, expected ${lengths.join(" or ")}`,
  );
}

/** CKA_EC_POINT as the token writes it: in an OCTET STRING (6.3.3, and what clients of 2.40 expect). */
export function encodePoint(point: Uint8Array): Uint8Array {
  return derOctetString(point);
}
