/**
 * Handles of other keys in the parameters of mechanisms.
 * @module
 */
import type { Mechanism, Parameter, Ulong } from "../cryptoki/port.ts";
import { CALL_FLAGS } from "../spec/flags.ts";
import { parameterKind } from "../spec/mechanisms.ts";

const HKDF_WITHOUT_KEY: ReadonlySet<Ulong> = new Set([
  CALL_FLAGS.CKF_HKDF_SALT_NULL[0],
  CALL_FLAGS.CKF_HKDF_SALT_DATA[0],
]);

/** The keys that a mechanism's parameter names; `unreadable` for bytes that only the module understands. */
export function keysInParameter({ type, parameter }: Mechanism): readonly Ulong[] | "unreadable" {
  if (parameter === undefined) return [];
  const kind = parameterKind(type);
  if (kind === "handle") return parameter instanceof Uint8Array ? "unreadable" : [parameter as Ulong];
  if (kind === "hkdf" && !(parameter instanceof Uint8Array)) {
    const { saltType, saltKey } = parameter as Parameter<"hkdf">;
    // Whatever else a module takes for a salt that is a key.
    return HKDF_WITHOUT_KEY.has(saltType) ? [] : [saltKey];
  }
  if (kind === "iv" || kind === "none" || kind === "ulong") return [];
  return parameter instanceof Uint8Array && parameter.length > 0 ? "unreadable" : [];
}
