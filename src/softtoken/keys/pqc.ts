/**
 * The parameter sets of ML-DSA (FIPS 204), SLH-DSA (FIPS 205) and ML-KEM (FIPS 203): the codes of PKCS#11 3.2, the
 * object identifiers of NIST's CSOR, OpenSSL's names and the lengths.
 * @module
 */
import { keyType, mlDsa, mlKem, slhDsa } from "../codes.ts";

export interface ParameterSet {
  readonly code: number;
  readonly keyType: number;
  readonly oid: string;
  /** OpenSSL's name. */
  readonly openssl: string;
  readonly publicLength: number;
  readonly privateLength: number;
  /** Length of a signature, or of an ML-KEM ciphertext. */
  readonly outputLength: number;
  /** Whether the private key may be given by its seed. */
  readonly hasSeed: boolean;
}

type SetRow = readonly [
  code: number,
  arc: number,
  name: string,
  publicLength: number,
  privateLength: number,
  out: number,
];

const SIGNATURES = "2.16.840.1.101.3.4.3";
const KEMS = "2.16.840.1.101.3.4.4";

function sets(type: number, tree: string, hasSeed: boolean, rows: readonly SetRow[]): ParameterSet[] {
  return rows.map(([code, arc, openssl, publicLength, privateLength, outputLength]) => ({
    code,
    keyType: type,
    oid: `${tree}.${arc}`,
    openssl,
    publicLength,
    privateLength,
    outputLength,
    hasSeed,
  }));
}

export const PARAMETER_SETS: readonly ParameterSet[] = [
  ...sets(keyType.ML_DSA, SIGNATURES, true, [
    [mlDsa.ML_DSA_44, 17, "ML-DSA-44", 1312, 2560, 2420],
    [mlDsa.ML_DSA_65, 18, "ML-DSA-65", 1952, 4032, 3309],
    [mlDsa.ML_DSA_87, 19, "ML-DSA-87", 2592, 4896, 4627],
  ]),
  ...sets(keyType.SLH_DSA, SIGNATURES, false, [
    [slhDsa.SLH_DSA_SHA2_128S, 20, "SLH-DSA-SHA2-128s", 32, 64, 7856],
    [slhDsa.SLH_DSA_SHA2_128F, 21, "SLH-DSA-SHA2-128f", 32, 64, 17088],
    [slhDsa.SLH_DSA_SHA2_192S, 22, "SLH-DSA-SHA2-192s", 48, 96, 16224],
    [slhDsa.SLH_DSA_SHA2_192F, 23, "SLH-DSA-SHA2-192f", 48, 96, 35664],
    [slhDsa.SLH_DSA_SHA2_256S, 24, "SLH-DSA-SHA2-256s", 64, 128, 29792],
    [slhDsa.SLH_DSA_SHA2_256F, 25, "SLH-DSA-SHA2-256f", 64, 128, 49856],
    [slhDsa.SLH_DSA_SHAKE_128S, 26, "SLH-DSA-SHAKE-128s", 32, 64, 7856],
    [slhDsa.SLH_DSA_SHAKE_128F, 27, "SLH-DSA-SHAKE-128f", 32, 64, 17088],
    [slhDsa.SLH_DSA_SHAKE_192S, 28, "SLH-DSA-SHAKE-192s", 48, 96, 16224],
    [slhDsa.SLH_DSA_SHAKE_192F, 29, "SLH-DSA-SHAKE-192f", 48, 96, 35664],
    [slhDsa.SLH_DSA_SHAKE_256S, 30, "SLH-DSA-SHAKE-256s", 64, 128, 29792],
    [slhDsa.SLH_DSA_SHAKE_256F, 31, "SLH-DSA-SHAKE-256f", 64, 128, 49856],
  ]),
  ...sets(keyType.ML_KEM, KEMS, true, [
    [mlKem.ML_KEM_512, 1, "ML-KEM-512", 800, 1632, 768],
    [mlKem.ML_KEM_768, 2, "ML-KEM-768", 1184, 2400, 1088],
    [mlKem.ML_KEM_1024, 3, "ML-KEM-1024", 1568, 3168, 1568],
  ]),
];

export function parameterSet(type: number, code: number): ParameterSet | undefined {
  return PARAMETER_SETS.find((set) => set.keyType === type && set.code === code);
}

export function parameterSetByOid(oid: string): ParameterSet | undefined {
  return PARAMETER_SETS.find((set) => set.oid === oid);
}
