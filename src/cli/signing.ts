/**
 * What the commands that sign share.
 * @module
 */
import { type DigestName, digestByName } from "../cryptoki/mechanisms.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { spkiAt } from "../lifecycle/apply/keys.ts";
import type { Identity } from "../lifecycle/identities.ts";
import { type Signer, signerFor } from "../x509/signers.ts";
import { flag, text } from "./command.ts";
import { fromArgument } from "./errors.ts";
import { identityOf, namedObject } from "./objects.ts";
import type { Target } from "./target.ts";

export const SIGNATURE_OPTIONS = {
  digest: text("NAME", "the signature's digest (default: fits the key)"),
  pss: flag("RSASSA-PSS instead of PKCS#1 v1.5, for an RSA key"),
} as const;

/** A private key in a token, what signs with it, and its public key. */
export interface SigningKey {
  readonly key: TokenObject;
  readonly identity: Identity;
  readonly spki: Uint8Array;
  readonly signer: Signer;
}

export async function signingKey(
  session: Session,
  target: Target,
  input: { readonly digest: string | undefined; readonly pss: boolean },
): Promise<SigningKey> {
  const key = await namedObject(session, target, "private");
  const identity = await identityOf(key);
  return {
    key,
    identity,
    spki: await spkiAt(session, identity),
    signer: await signerFor(session, key, { digest: digestOf(input), pss: input.pss }),
  };
}

/** @throws UsageError for a digest that is none */
export function digestOf({ digest }: { readonly digest: string | undefined }): DigestName | undefined {
  return digest === undefined ? undefined : fromArgument("--digest", () => digestByName(digest));
}
