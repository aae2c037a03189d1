/**
 * What follows from how many private keys, public keys and certificates stand under a declared identity: one row for
 * every combination.
 * @module
 */

/** How many objects of a class there are, or that this cannot be known. */
export type Count = "absent" | "one" | "many" | "unreadable";

/**
 * - `generate`: there is nothing; only this row ever makes a first key.
 * - `adopt`: a key without certificate; it gets one, where one is declared.
 * - `check`: everything is there; it is compared with the declaration.
 * - `disentangle`: more than one of something: a replacement under way, or old certificates; told apart by their keys.
 * - `refuse-orphan`: a public key or certificate without its private key; making another key would hide the loss.
 * - `refuse-unreadable`: a failure to read is not absence.
 */
export type Follows = "generate" | "adopt" | "check" | "disentangle" | "refuse-orphan" | "refuse-unreadable";

/** Private key, public key, certificate -> what follows. */
export const FOLLOWS: Readonly<Record<`${Count} ${Count} ${Count}`, Follows>> = {
  "absent absent absent": "generate",
  "absent absent one": "refuse-orphan",
  "absent absent many": "refuse-orphan",
  "absent absent unreadable": "refuse-unreadable",
  "absent one absent": "refuse-orphan",
  "absent one one": "refuse-orphan",
  "absent one many": "refuse-orphan",
  "absent one unreadable": "refuse-unreadable",
  "absent many absent": "refuse-orphan",
  "absent many one": "refuse-orphan",
  "absent many many": "refuse-orphan",
  "absent many unreadable": "refuse-unreadable",
  "absent unreadable absent": "refuse-unreadable",
  "absent unreadable one": "refuse-unreadable",
  "absent unreadable many": "refuse-unreadable",
  "absent unreadable unreadable": "refuse-unreadable",
  "one absent absent": "adopt",
  "one absent one": "check",
  "one absent many": "disentangle",
  "one absent unreadable": "refuse-unreadable",
  "one one absent": "adopt",
  "one one one": "check",
  "one one many": "disentangle",
  "one one unreadable": "refuse-unreadable",
  "one many absent": "disentangle",
  "one many one": "disentangle",
  "one many many": "disentangle",
  "one many unreadable": "refuse-unreadable",
  "one unreadable absent": "refuse-unreadable",
  "one unreadable one": "refuse-unreadable",
  "one unreadable many": "refuse-unreadable",
  "one unreadable unreadable": "refuse-unreadable",
  "many absent absent": "disentangle",
  "many absent one": "disentangle",
  "many absent many": "disentangle",
  "many absent unreadable": "refuse-unreadable",
  "many one absent": "disentangle",
  "many one one": "disentangle",
  "many one many": "disentangle",
  "many one unreadable": "refuse-unreadable",
  "many many absent": "disentangle",
  "many many one": "disentangle",
  "many many many": "disentangle",
  "many many unreadable": "refuse-unreadable",
  "many unreadable absent": "refuse-unreadable",
  "many unreadable one": "refuse-unreadable",
  "many unreadable many": "refuse-unreadable",
  "many unreadable unreadable": "refuse-unreadable",
  "unreadable absent absent": "refuse-unreadable",
  "unreadable absent one": "refuse-unreadable",
  "unreadable absent many": "refuse-unreadable",
  "unreadable absent unreadable": "refuse-unreadable",
  "unreadable one absent": "refuse-unreadable",
  "unreadable one one": "refuse-unreadable",
  "unreadable one many": "refuse-unreadable",
  "unreadable one unreadable": "refuse-unreadable",
  "unreadable many absent": "refuse-unreadable",
  "unreadable many one": "refuse-unreadable",
  "unreadable many many": "refuse-unreadable",
  "unreadable many unreadable": "refuse-unreadable",
  "unreadable unreadable absent": "refuse-unreadable",
  "unreadable unreadable one": "refuse-unreadable",
  "unreadable unreadable many": "refuse-unreadable",
  "unreadable unreadable unreadable": "refuse-unreadable",
};

/** How many: none, one or several. */
export function countOf(objects: readonly unknown[]): Exclude<Count, "unreadable"> {
  return objects.length === 0 ? "absent" : objects.length === 1 ? "one" : "many";
}
