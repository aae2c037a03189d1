/**
 * What planning a key comes to: its steps, and what they mean for the keys that it issues for.
 * @module
 */
import { authorityOf } from "../../x509/extensions.ts";
import type { CertificateFacts } from "../../x509/read.ts";
import type { IssuerState } from "./certificate.ts";
import type { Step } from "./steps.ts";

/** What a key will be after its steps, for its children and its files. */
export interface KeyOutcome {
  readonly steps: readonly Step[];
  readonly refused: boolean;
  /** The certificate that stays; undefined when it changes or there is none. */
  readonly certificate: CertificateFacts | undefined;
  /** Absent when it will have no certificate. */
  readonly asIssuer?: IssuerState;
}

/** A key that keeps its certificate, or has none. */
export function unchanged(name: string, steps: readonly Step[], facts: CertificateFacts | undefined): KeyOutcome {
  const outcome = { steps, refused: false, certificate: facts };
  if (facts === undefined) return outcome;
  const { subject, notAfter } = facts;
  return {
    ...outcome,
    asIssuer: {
      name,
      certificate: facts,
      subject,
      authority: () => authorityOf(facts),
      notAfter,
      changes: false,
      newKey: false,
    },
  };
}

/** A key with which nothing is done. */
export function stopped(steps: readonly Step[]): KeyOutcome {
  return { steps, refused: true, certificate: undefined };
}
