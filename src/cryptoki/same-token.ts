/**
 * Which token is in a slot.
 * @module
 */
import type { Structure } from "./port.ts";

/** Whether two tokens are the same, by what they say of themselves. */
export function isSameToken(one: Structure<"tokenInfo">, other: Structure<"tokenInfo">): boolean {
  return (["serialNumber", "label", "model", "manufacturerID"] as const).every((name) => one[name] === other[name]);
}
