/**
 * Whether a token can make a key as it is declared; if not, what it can make.
 * @module
 */
import { familyNamed } from "../../families/families.ts";
import { CURVES, type CurveName, curveNames } from "../../spec/curves.ts";
import type { KeyDeclaration } from "../declaration.ts";
import type { SeenPresent } from "../observation.ts";
import { keyTypeText, RSA_BITS } from "../values.ts";
import { Refusal } from "./refusal.ts";

const FAMILIES: Readonly<Record<string, string>> = { EC: "weierstrass", Edwards: "edwards", Montgomery: "montgomery" };

function curvesOf(algorithm: string): CurveName[] {
  return curveNames().filter((name) => CURVES[name].family === FAMILIES[algorithm]);
}

/** @throws Refusal saying what the token can make instead */
export function checkCapability(
  key: Pick<KeyDeclaration, "type" | "usage">,
  { canGenerate, family }: Pick<SeenPresent, "canGenerate" | "family">,
): void {
  const { type, usage } = key;
  const { curves, usages, title } = familyNamed(family);
  const range = canGenerate[type.algorithm];
  const fits =
    type.algorithm === "RSA"
      ? range !== undefined && type.bits >= range.least && type.bits <= range.most
      : type.algorithm !== "EC" || (curves?.includes(type.curve) ?? true);
  if (range === undefined || !fits) {
    const can = Object.entries(canGenerate).flatMap(([algorithm, { least, most }]) => {
      if (algorithm === "RSA")
        return [`RSA:${Math.max(least, RSA_BITS.least)} to RSA:${Math.min(most, RSA_BITS.most)}`];
      const known = curvesOf(algorithm).filter((curve) => algorithm !== "EC" || (curves?.includes(curve) ?? true));
      return known.map((curve) => (algorithm === "EC" ? `EC:${curve}` : curve));
    });
    const hint = `it can make: ${can.join(", ") || "none"}`;
    throw new Refusal(`the token cannot make a key of type ${keyTypeText(type)}`, [hint]);
  }
  const unfit = usage.find((use) => usages?.includes(use) === false);
  if (unfit !== undefined) {
    throw new Refusal(`${title} cannot make a key that can ${unfit}`, [`its keys can: ${usages!.join(", ")}`]);
  }
}
