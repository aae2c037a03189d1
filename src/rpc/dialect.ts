/**
 * What two ends of a connection have settled on: the protocol's version, and what follows from it.
 *
 * The version decides less than it should: how a mechanism is encoded changed with a release and not with the version,
 * so it is read off what the client offers, and where that does not fit, off the bytes (p11-kit-rpc.md, 5.2).
 * @module
 */
import { RELEASES, type Release } from "../spec/wire-mechanisms.ts";

/** The version of the protocol that is spoken here, the highest there is. */
export const VERSION = 2;

/** How a mechanism is encoded: `legacy` up to p11-kit 0.25.5, `marked` since. */
export type MechanismEncoding = "legacy" | "marked";

/** When a list of attributes to read has a list within it: p11-kit-rpc.md, 2.4. */
export type Nesting = "never" | "with room" | "always";

/** How one end writes. */
export interface Dialect {
  /** The lists of mechanisms and attributes that it knows. */
  readonly release: Release;
  readonly mechanisms: MechanismEncoding;
  readonly nesting: Nesting;
  /** Both ends are Keywright: parameters with pointers, and functions of 3.2, are carried too (docs/rpc.md). */
  readonly extended: boolean;
}

const DIALECTS: readonly Dialect[] = [
  { release: "0.24", mechanisms: "legacy", nesting: "never", extended: false },
  { release: "0.25", mechanisms: "legacy", nesting: "always", extended: false },
  { release: "0.26", mechanisms: "marked", nesting: "with room", extended: false },
];

/** Both ends are Keywright. */
export const EXTENDED: Dialect = { ...DIALECTS[VERSION]!, extended: true };

/** How an end writes that offers, or answers, this version. */
export function dialectOf(version: number): Dialect {
  return DIALECTS[Math.min(version, RELEASES.length - 1)]!;
}

/**
 * The same and, after it, the other ways in which a request with a mechanism may have been written: its client may be of a
 * release that offers a lower version than it speaks.
 */
export function mechanismVariants(dialect: Dialect): readonly Dialect[] {
  const other = dialectOf(dialect.mechanisms === "legacy" ? VERSION : 1);
  return [dialect, { ...other, nesting: dialect.nesting, extended: false }];
}

const NESTINGS: Readonly<Record<Nesting, readonly Nesting[]>> = {
  never: ["never", "with room", "always"],
  always: ["always", "never", "with room"],
  "with room": ["with room", "always", "never"],
};

/** The ways in which a list of attributes to read may have been written, the likeliest first. */
export function nestingVariants(dialect: Dialect): readonly Dialect[] {
  return NESTINGS[dialect.nesting].map((nesting) => ({ ...dialect, nesting }));
}
