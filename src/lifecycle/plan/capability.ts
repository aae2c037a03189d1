/**
 * Whether a token can make a key as it is declared; if not, what it can make.
 * @module
 */
import { familyNamed } from "../../families/families.ts";
import type { KeyDeclaration } from "../declaration.ts";
import type { SeenPresent } from "../observation.ts";
import { keyTypeText } from "../values.ts";
import { Refusal } from "./refusal.ts";

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
      if (algorithm === "RSA") return [`RSA:${least} to RSA:${most}`];
      return algorithm === "EC" && curves !== undefined ? curves.map((curve) => `EC:${curve}`) : [algorithm];
    });
    const hint = `it can make: ${can.join(", ") || "none"}`;
    throw new Refusal(`the token cannot make a key of type ${keyTypeText(type)}`, [hint]);
  }
  const unfit = usage.find((use) => usages?.includes(use) === false);
  if (unfit !== undefined) {
    throw new Refusal(`${title} cannot make a key that can ${unfit}`, [`its keys can: ${usages!.join(", ")}`]);
  }
}
