/**
 * The elliptic curves that are named here: object identifier, sizes and every name they go by.
 *
 * Sources: RFC 5480 2.1.1.1 and SEC 2 (secp), RFC 5639 (brainpool), RFC 8410 3 (Edwards and Montgomery curves),
 * PKCS#11 3.0 6.3.5 (curveName strings in CKA_EC_PARAMS).
 * @module
 */

/** Which kind of key the curve belongs to, and so CKK_EC, CKK_EC_EDWARDS or CKK_EC_MONTGOMERY. */
export type CurveFamily = "weierstrass" | "edwards" | "montgomery";

export interface Curve {
  readonly oid: string;
  readonly family: CurveFamily;
  /** The size of the group's order, in bits. */
  readonly bits: number;
  /** The length of a coordinate, or of a whole public key for Edwards and Montgomery curves, in bytes. */
  readonly bytes: number;
  /** Other names: NIST's, OpenSSL's, JOSE's. Matched without regard to case. */
  readonly aliases: readonly string[];
  /** The string that tokens of PKCS#11 3.0 take as a PrintableString instead of the identifier. */
  readonly curveName?: string;
}

export const CURVES = {
  secp256r1: {
    oid: "1.2.840.10045.3.1.7",
    family: "weierstrass",
    bits: 256,
    bytes: 32,
    aliases: ["prime256v1", "prime256r1", "P-256", "P256", "nistp256"],
  },
  secp384r1: {
    oid: "1.3.132.0.34",
    family: "weierstrass",
    bits: 384,
    bytes: 48,
    aliases: ["P-384", "P384", "nistp384"],
  },
  secp521r1: {
    oid: "1.3.132.0.35",
    family: "weierstrass",
    bits: 521,
    bytes: 66,
    aliases: ["P-521", "P521", "nistp521"],
  },
  secp256k1: { oid: "1.3.132.0.10", family: "weierstrass", bits: 256, bytes: 32, aliases: ["K-256"] },
  secp192r1: {
    oid: "1.2.840.10045.3.1.1",
    family: "weierstrass",
    bits: 192,
    bytes: 24,
    aliases: ["prime192v1", "P-192", "nistp192"],
  },
  secp192k1: { oid: "1.3.132.0.31", family: "weierstrass", bits: 192, bytes: 24, aliases: [] },
  secp224r1: { oid: "1.3.132.0.33", family: "weierstrass", bits: 224, bytes: 28, aliases: ["P-224", "nistp224"] },
  brainpoolP192r1: { oid: "1.3.36.3.3.2.8.1.1.3", family: "weierstrass", bits: 192, bytes: 24, aliases: [] },
  brainpoolP224r1: { oid: "1.3.36.3.3.2.8.1.1.5", family: "weierstrass", bits: 224, bytes: 28, aliases: [] },
  brainpoolP256r1: { oid: "1.3.36.3.3.2.8.1.1.7", family: "weierstrass", bits: 256, bytes: 32, aliases: [] },
  brainpoolP320r1: { oid: "1.3.36.3.3.2.8.1.1.9", family: "weierstrass", bits: 320, bytes: 40, aliases: [] },
  brainpoolP384r1: { oid: "1.3.36.3.3.2.8.1.1.11", family: "weierstrass", bits: 384, bytes: 48, aliases: [] },
  brainpoolP512r1: { oid: "1.3.36.3.3.2.8.1.1.13", family: "weierstrass", bits: 512, bytes: 64, aliases: [] },
  Ed25519: { oid: "1.3.101.112", family: "edwards", bits: 255, bytes: 32, aliases: [], curveName: "edwards25519" },
  Ed448: { oid: "1.3.101.113", family: "edwards", bits: 448, bytes: 57, aliases: [], curveName: "edwards448" },
  X25519: {
    oid: "1.3.101.110",
    family: "montgomery",
    bits: 255,
    bytes: 32,
    aliases: ["curve25519"],
    curveName: "curve25519",
  },
  X448: {
    oid: "1.3.101.111",
    family: "montgomery",
    bits: 448,
    bytes: 56,
    aliases: ["curve448"],
    curveName: "curve448",
  },
} as const satisfies Record<string, Curve>;

/** The name of a curve, such as `"secp384r1"`. */
export type CurveName = keyof typeof CURVES;

/** Finds a curve by its name or one of its aliases, whatever the case; undefined if there is none. */
export function curveByName(name: string): CurveName | undefined {
  const wanted = name.toLowerCase();
  return curveNames().find(
    (curve) =>
      curve.toLowerCase() === wanted || CURVES[curve].aliases.some((alias: string) => alias.toLowerCase() === wanted),
  );
}

/** Finds a curve by its object identifier in dotted form. */
export function curveByOid(oid: string): CurveName | undefined {
  return curveNames().find((curve) => CURVES[curve].oid === oid);
}

/** All names, in the order of the table. */
export function curveNames(): CurveName[] {
  return Object.keys(CURVES) as CurveName[];
}
