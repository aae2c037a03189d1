/**
 * Curves by name, as keys are asked for.
 * @module
 */
import { derOid } from "../codec/der.ts";
import { CURVES, curveByName, curveNames } from "../spec/curves.ts";
import { requireArguments, TEXT } from "./arguments.ts";
import { MechanismError } from "./mechanisms.ts";

/**
 * CKA_EC_PARAMS of a curve: `ecParams("P-256")`, also for Ed25519, X25519 and their like.
 * @param curve a name of the curve: SEC's, NIST's, OpenSSL's, in either case
 * @throws MechanismError for a curve that is not known
 */
export function ecParams(curve: string): Uint8Array {
  requireArguments("ecParams", { curve: [curve, TEXT] });
  const name = curveByName(curve);
  if (name === undefined) {
    throw new MechanismError(`ecParams: ${JSON.stringify(curve)} is not a known curve`, {
      hints: [`known curves: ${curveNames().join(", ")}`],
    });
  }
  return derOid(CURVES[name].oid);
}
