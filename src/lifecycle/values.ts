/**
 * The values of a declaration: key types, durations, dates.
 * @module
 */
import { CURVES, type CurveName, curveByName, curveNames } from "../spec/curves.ts";

/** The type of a key pair, as the declaration writes it: `RSA:3072`, `EC:secp384r1`, `Ed25519`. */
export type KeyType =
  | { readonly algorithm: "RSA"; readonly bits: number }
  | { readonly algorithm: "EC" | "Edwards" | "Montgomery"; readonly curve: CurveName };

/** RSA sizes that are taken: 2048 to 8192 bits in steps of 256. */
export const RSA_BITS = { least: 2048, most: 8192, step: 256 };

/** Parses a key type. @throws Error saying what is taken */
export function parseKeyType(text: string): KeyType {
  const [algorithm, size, ...rest] = text.split(":");
  const upper = algorithm!.toUpperCase();
  if (upper === "RSA" && rest.length === 0) {
    const bits = Number(size);
    const { least, most, step } = RSA_BITS;
    if (!/^\d+$/.test(size ?? "") || bits < least || bits > most || bits % step !== 0) {
      throw new Error(`an RSA key has ${least} to ${most} bits in steps of ${step}, such as RSA:3072, not ${text}`);
    }
    return { algorithm: "RSA", bits };
  }
  const curve =
    rest.length > 0 ? undefined : curveByName(upper === "EC" ? (size ?? "") : size === undefined ? algorithm! : "");
  if (curve === undefined || (upper !== "EC" && CURVES[curve].family === "weierstrass")) {
    const names = curveNames().filter((name) => CURVES[name].family === "weierstrass");
    throw new Error(
      `${JSON.stringify(text)} is not a key type: RSA:2048 to RSA:8192, Ed25519, Ed448, X25519, X448, EC: and one of ${names.join(", ")}`,
    );
  }
  const families = { weierstrass: "EC", edwards: "Edwards", montgomery: "Montgomery" } as const;
  return { algorithm: families[CURVES[curve].family], curve };
}

/** The one spelling of a key type. */
export function keyTypeText(type: KeyType): string {
  if (type.algorithm === "RSA") return `RSA:${type.bits}`;
  return type.algorithm === "EC" ? `EC:${type.curve}` : type.curve;
}

/** A length of time as it is written: calendar units stay what they are until they are added to a date. */
export interface Duration {
  readonly amount: number;
  readonly unit: "y" | "mo" | "w" | "d" | "h" | "min";
}

/** RFC 5280 4.1.2.5.2: the dates of certificates have years of four digits. */
const LONGEST: Duration = { amount: 1000, unit: "y" };

/** Parses `10y`, `6mo`, `2w`, `90d`, `12h`, `30min`. @throws Error for anything else, and for more than 1000 years */
export function parseDuration(text: string): Duration {
  const match = /^(\d{1,6})\s*(y|mo|w|d|h|min)$/.exec(text);
  if (match === null)
    throw new Error(`${JSON.stringify(text)} is not a length of time: write 10y, 6mo, 2w, 90d, 12h or 30min`);
  const duration: Duration = { amount: Number(match[1]), unit: match[2] as Duration["unit"] };
  const from = new Date(0);
  // What leads beyond JavaScript's dates compares as false.
  if (!(addDuration(from, duration) <= addDuration(from, LONGEST))) {
    throw new Error(
      `${JSON.stringify(text)} is too long: write ${LONGEST.amount}${LONGEST.unit} at most, for certificates end in the year 9999 (RFC 5280 4.1.2.5.2)`,
    );
  }
  return duration;
}

/** A date and a length of time; years and months go by the calendar (UTC), 29 February becomes the 28th. */
export function addDuration(date: Date, { amount, unit }: Duration, sign: 1 | -1 = 1): Date {
  const fixed = { w: 7 * 86_400_000, d: 86_400_000, h: 3_600_000, min: 60_000 };
  if (unit !== "y" && unit !== "mo") return new Date(date.getTime() + sign * amount * fixed[unit]);
  const months = sign * amount * (unit === "y" ? 12 : 1);
  const moved = new Date(date);
  moved.setUTCDate(1);
  moved.setUTCMonth(moved.getUTCMonth() + months);
  const last = new Date(Date.UTC(moved.getUTCFullYear(), moved.getUTCMonth() + 1, 0)).getUTCDate();
  moved.setUTCDate(Math.min(date.getUTCDate(), last));
  return moved;
}

/** Parses a date, `2027-01-31`: midnight UTC. @throws Error for anything else */
export function parseDate(text: string): string {
  const date = new Date(`${text}T00:00:00Z`);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text) || Number.isNaN(date.getTime()) || !date.toISOString().startsWith(text)) {
    throw new Error(`${JSON.stringify(text)} is not a date: write 2027-01-31`);
  }
  return text;
}

/** Permission bits of a file, as people write them: "0644". @throws Error for anything else */
export function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new Error(`${JSON.stringify(text)} is not a file's mode: write "0644"`);
  return Number.parseInt(text, 8);
}
