/**
 * What a failed call was about, for its error message. Never a PIN, a value or data.
 * @module
 */
import { FUNCTIONS, type FunctionRow } from "../spec/functions.ts";
import { mechanismName } from "../spec/mechanisms.ts";
import type { FunctionName, Mechanism } from "./port.ts";

/** The values of a call, by the names of its row in spec/functions.ts. */
export type Values = Readonly<Record<string, unknown>>;

/** `"session 3, mechanism CKM_ECDSA, key 7"`: the numbers and the mechanism of a call. */
export function describeCall(fn: FunctionName, values: Values): string {
  const row: FunctionRow = FUNCTIONS[fn];
  return Object.entries(row.in)
    .flatMap(([name, kind]) => {
      const value = values[name];
      if (kind === "ulong") return [`${name} ${String(value)}`];
      const isMechanism = (kind === "mechanism" || kind === "mechanismOrNull") && value !== null;
      return isMechanism ? [`${name} ${mechanismName((value as Mechanism).type)}`] : [];
    })
    .join(", ");
}
