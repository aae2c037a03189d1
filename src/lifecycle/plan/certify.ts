/**
 * The steps by which a key gets a certificate.
 * @module
 */
import { parseName } from "../../x509/names.ts";
import type { Identity } from "../identities.ts";
import { authorityToBe, certificatePlan } from "./certificate.ts";
import type { KeyContext } from "./context.ts";
import type { KeySteps } from "./key-steps.ts";
import { type KeyOutcome, unchanged } from "./outcome.ts";
import { isOutside, request } from "./outside.ts";
import { Postponement, Refusal } from "./refusal.ts";

/** A certificate that is to be made. */
export interface Certified {
  readonly action: "issue" | "adopt" | "renew";
  readonly identity: Identity;
  readonly reason: string;
  /** Whether this plan makes its key or gives it its place, so that what it issued is issued anew. */
  readonly newKey: boolean;
  /** SubjectPublicKeyInfo, base64, where it is known. */
  readonly spki?: string | undefined;
  /** Whether the key never had a certificate. */
  readonly isFirst?: boolean;
}

/** A certificate from a declared issuer, or by the key itself; or a request, where an outside CA makes it. */
export function certify(context: KeyContext, steps: KeySteps, certified: Certified): KeyOutcome {
  const { key, issuer, now, token } = context;
  const { action, identity, reason, newKey, spki, isFirst = false } = certified;
  const { certificate: declared } = key;
  if (declared === undefined) return unchanged(key.name, steps.steps, undefined);
  if (isOutside(key)) {
    request(context, steps, identity, reason);
    return unchanged(key.name, steps.steps, undefined);
  }
  if (declared.issuer !== undefined && issuer === undefined) {
    if (context.issuerWaits) throw new Postponement(`its issuer ${declared.issuer} has no certificate yet`);
    throw new Refusal(`its issuer ${declared.issuer} has no certificate to issue with`, [
      `see what keeps ${declared.issuer} from having one`,
    ]);
  }
  const certificate = certificatePlan(key, issuer, token.objects, isFirst, now);
  steps.certify(action, identity, certificate, reason);
  steps.publish(reason);
  const asIssuer = {
    name: key.name,
    certificate: undefined,
    subject: parseName(declared.subject!),
    authority: () => (spki === undefined ? undefined : authorityToBe(declared, issuer, Buffer.from(spki, "base64"))),
    notAfter: new Date(certificate.notAfter),
    changes: true,
    newKey,
  };
  return { steps: steps.steps, refused: false, certificate: undefined, asIssuer };
}
