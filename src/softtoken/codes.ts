/**
 * The standard's codes by their short names: `attr.LABEL` is CKA_LABEL's number.
 * @module
 */
import { CKA } from "../spec/attributes.ts";
import { CKM } from "../spec/mechanisms.ts";
import { CKD, CKG_MGF, CKK, CKO, CKP_ML_DSA, CKP_ML_KEM, CKP_SLH_DSA, CKS, CKU } from "../spec/objects.ts";

type Short<T, P extends string> = { readonly [N in keyof T as N extends `${P}_${infer S}` ? S : never]: number };

function short<T extends Record<string, readonly [code: number, ...unknown[]]>, P extends string>(
  table: T,
  prefix: P,
): Short<T, P> {
  const codes: Record<string, number> = {};
  // Not by Object.entries, which takes three times as long: every start goes through a thousand rows.
  for (const name in table) codes[name.slice(prefix.length + 1)] = table[name]![0];
  return codes as Short<T, P>;
}

export const attr: Short<typeof CKA, "CKA"> = short(CKA, "CKA");
export const mech: Short<typeof CKM, "CKM"> = short(CKM, "CKM");
export const cls: Short<typeof CKO, "CKO"> = short(CKO, "CKO");
export const keyType: Short<typeof CKK, "CKK"> = short(CKK, "CKK");
export const kdf: Short<typeof CKD, "CKD"> = short(CKD, "CKD");
export const mgf: Short<typeof CKG_MGF, "CKG_MGF1"> = short(CKG_MGF, "CKG_MGF1");
export const user: Short<typeof CKU, "CKU"> = short(CKU, "CKU");
export const state: Short<typeof CKS, "CKS"> = short(CKS, "CKS");
export const mlDsa: Short<typeof CKP_ML_DSA, "CKP"> = short(CKP_ML_DSA, "CKP");
export const mlKem: Short<typeof CKP_ML_KEM, "CKP"> = short(CKP_ML_KEM, "CKP");
export const slhDsa: Short<typeof CKP_SLH_DSA, "CKP"> = short(CKP_SLH_DSA, "CKP");

/** CK_UNAVAILABLE_INFORMATION as an attribute's value: CKA_KEY_GEN_MECHANISM of a key that was not generated here. */
export { UNAVAILABLE_INFORMATION as UNAVAILABLE } from "../spec/structures.ts";
