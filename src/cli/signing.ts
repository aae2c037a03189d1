/**
 * What the commands that sign share.
 * @module
 */
import { type DigestName, digestByName } from "../cryptoki/mechanisms.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { publicKeyObject } from "../x509/public-keys.ts";
import { type Signer, signerFor } from "../x509/signers.ts";
import { flag, text } from "./command.ts";
import { CommandError, fromArgument } from "./errors.ts";
import { type NamedKey, namedKey } from "./named-key.ts";
import type { Target } from "./target.ts";

export const SIGNATURE_OPTIONS = {
  digest: text("NAME", "the signature's digest (default: fits the key)"),
  pss: flag("RSASSA-PSS instead of PKCS#1 v1.5, for an RSA key; the salt is as long as the digest"),
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
  requireFitting(named.spki, input);
  return { ...named, signer: await signerFor(session, named.key, { digest: digestOf(input), pss: input.pss }) };
}

/** What is asked for and cannot be is not left out silently. @throws CommandError for a digest or padding that a key has none of */
export function requireFitting(
  spki: Uint8Array,
  { digest, pss }: { readonly digest: string | undefined; readonly pss: boolean },
): void {
  const type = publicKeyObject(spki).asymmetricKeyType ?? "unknown";
  if (pss && type !== "rsa") throw new CommandError(`--pss is for RSA keys, and this is one of type ${type}`);
  if (digest !== undefined && type !== "rsa" && type !== "ec") {
    throw new CommandError(`--digest: a key of type ${type} has no digest to choose`, ["leave it out"]);
  }
}

/** @throws UsageError for a digest that is none */
export function digestOf({ digest }: { readonly digest: string | undefined }): DigestName | undefined {
  return digest === undefined ? undefined : fromArgument("--digest", () => digestByName(digest));
}
