/**
 * What keys of a kind can do.
 * @module
 */

/** By the algorithm of a key pair's type, the usages that a token gives it a mechanism for. */
export const KEY_USAGES = {
  RSA: ["sign", "decrypt", "wrap"],
  EC: ["sign", "derive"],
  Edwards: ["sign"],
  Montgomery: ["derive"],
} as const satisfies Record<string, readonly string[]>;

/** The first usage that a key cannot have, in words, and what it can have; undefined where it can have all. */
export function unfitUsage(
  algorithm: keyof typeof KEY_USAGES,
  usages: readonly string[],
): { readonly message: string; readonly hint: string } | undefined {
  const able: readonly string[] = KEY_USAGES[algorithm];
  const unfit = usages.find((usage) => !able.includes(usage));
  if (unfit === undefined) return undefined;
  return { message: `a key of this type cannot ${unfit}`, hint: `it can ${able.join(", ")}` };
}
