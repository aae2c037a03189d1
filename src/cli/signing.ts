/**
 * What the commands that sign share.
 * @module
 */
import { type DigestName, digestByName } from "../cryptoki/mechanisms.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { type Signer, signerFor } from "../x509/signers.ts";
import { flag, text } from "./command.ts";
import { fromArgument } from "./errors.ts";
import { type NamedKey, namedKey } from "./named-key.ts";
import type { Target } from "./target.ts";

export const SIGNATURE_OPTIONS = {
  digest: text("NAME", "the signature's digest (default: fits the key)"),
  pss: flag("RSASSA-PSS instead of PKCS#1 v1.5, for an RSA key"),
} as const;

/** A private key in a token, its public key, and what signs with it. */
export interface SigningKey extends NamedKey {
  readonly signer: Signer;
}

export async function signingKey(
  session: Session,
  target: Target,
  input: { readonly digest: string | undefined; readonly pss: boolean },
): Promise<SigningKey> {
  const named = await namedKey(session, target);
  return { ...named, signer: await signerFor(session, named.key, { digest: digestOf(input), pss: input.pss }) };
}

/** @throws UsageError for a digest that is none */
export function digestOf({ digest }: { readonly digest: string | undefined }): DigestName | undefined {
  return digest === undefined ? undefined : fromArgument("--digest", () => digestByName(digest));
}
