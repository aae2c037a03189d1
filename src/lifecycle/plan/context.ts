/**
 * What a key is planned from.
 * @module
 */
import type { KeyDeclaration } from "../declaration.ts";
import type { Observation, SeenPresent } from "../observation.ts";
import type { IssuerState } from "./certificate.ts";

export interface KeyContext {
  readonly key: KeyDeclaration;
  /** The token's objects; an empty list for a token that this plan initialises. */
  readonly token: Pick<SeenPresent, "family" | "loggedIn" | "objects" | "canGenerate">;
  readonly observation: Observation;
  readonly issuer: IssuerState | undefined;
  /** Whether the issuer has no certificate because it waits for something, rather than being refused. */
  readonly issuerWaits: boolean;
  readonly rotate: boolean;
  readonly now: Date;
  /** Absolute path of a declared one. */
  resolve(path: string): string;
}
