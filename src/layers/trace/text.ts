/**
 * A traced call in one line, for people.
 * @module
 */
import { visible } from "../words.ts";
import type { Shown } from "./shown.ts";
import type { TracedCall } from "./trace.ts";

/** Longer bytes are cut. */
const MOST_BYTES = 20;

/** `C_SignInit(session 1, CKM_ECDSA, key 3 (private key www)) = CKR_OK  0.012 ms`. */
export function callText({ function: fn, arguments: given, results, result, error, ms }: TracedCall): string {
  const inputs = Object.entries(given).map(([name, value]) => named(name, value));
  const outputs = Object.entries(results).map(([name, value]) => named(name, value));
  const told = outputs.length === 0 ? "" : ` -> ${outputs.join(", ")}`;
  const why = error === undefined ? "" : ` (${error})`;
  return visible(`${fn}(${inputs.join(", ")}) = ${result}${why}${told}  ${ms.toFixed(3)} ms`);
}

/** What says itself what it is stands without its name. */
function named(name: string, value: Shown): string {
  const says = name === "mechanism" || name === "info" || name === "values" || name === "template";
  return says ? valueText(value) : `${name} ${valueText(value)}`;
}

function valueText(value: Shown): string {
  if (typeof value === "string") return value === "" || /[\s,(){}[\]=]/.test(value) ? JSON.stringify(value) : value;
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return `[${(value as readonly Shown[]).map(valueText).join(", ")}]`;
  const fields = value as Readonly<Record<string, Shown>>;
  if (typeof fields.length === "number") return bytesText(fields.length, fields.hex);
  if ("handle" in fields)
    return `${valueText(fields.handle!)}${fields.is === undefined ? "" : ` (${String(fields.is)})`}`;
  if ("mechanism" in fields) return `${String(fields.mechanism)} ${valueText(fields.parameter ?? null)}`;
  const entries = Object.entries(fields).map(([name, one]) => `${name}=${valueText(one)}`);
  return `{${entries.join(", ")}}`;
}

function bytesText(length: number, hex: Shown | undefined): string {
  if (typeof hex !== "string") return `[${length} ${length === 1 ? "byte" : "bytes"}]`;
  return length <= MOST_BYTES ? `0x${hex}` : `0x${hex.slice(0, MOST_BYTES * 2)}…[${length} bytes]`;
}
