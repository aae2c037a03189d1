/**
 * What the certificate commands share.
 * @module
 */

import { digestByName } from "../cryptoki/mechanisms.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { spkiAt } from "../lifecycle/apply/keys.ts";
import type { Identity } from "../lifecycle/identities.ts";
import { addDuration, parseDuration } from "../lifecycle/values.ts";
import { type Signer, signerFor } from "../x509/signers.ts";
import { flag, text, texts } from "./command.ts";
import { UsageError } from "./errors.ts";
import { namedObject } from "./objects.ts";
import type { Target } from "./target.ts";

export const SIGNATURE_OPTIONS = {
  digest: text("NAME", "the signature's digest (default: fits the key)"),
  pss: flag("RSASSA-PSS instead of PKCS#1 v1.5, for an RSA key"),
} as const;

export const SUBJECT_OPTIONS = {
  subject: text("NAME", "C=US/O=Example/CN=www, or CN=www,O=Example,C=US"),
  extension: texts("EXT", "an extension in OpenSSL's syntax: subjectAltName=DNS:www.example.com"),
} as const;

export const VALIDITY_OPTIONS = {
  validity: text("TIME", "how long it is valid: 90d, 1y (default: 365d)"),
  serial: text("HEX", "its serial number, 0x and hexadecimal (default: random)"),
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
  const { CKA_ID, CKA_LABEL } = await key.get("CKA_ID", "CKA_LABEL");
  const identity = { id: Buffer.from(CKA_ID ?? []).toString("hex"), label: CKA_LABEL ?? "" };
  const digest = input.digest === undefined ? undefined : digestByName(input.digest);
  return {
    key,
    identity,
    spki: await spkiAt(session, identity),
    signer: await signerFor(session, key, { digest, pss: input.pss }),
  };
}

/** notBefore and notAfter from now on; certificates begin five minutes back, for clocks that are slow. */
export function validityOf(
  input: { readonly validity: string | undefined },
  now: Date,
): { notBefore: Date; notAfter: Date } {
  try {
    const length = parseDuration(input.validity ?? "365d");
    return { notBefore: new Date(now.getTime() - 300_000), notAfter: addDuration(now, length) };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

export function serialOf(input: { readonly serial: string | undefined }): Uint8Array | undefined {
  if (input.serial === undefined) return undefined;
  if (!/^0x(?:[0-9a-f]{2}){1,20}$/i.test(input.serial)) {
    throw new UsageError(
      `${JSON.stringify(input.serial)} is not a serial number: write 0x and 1 to 20 bytes in hexadecimal`,
    );
  }
  return Buffer.from(input.serial.slice(2), "hex");
}

/** @throws UsageError when the option was not given */
export function needSubject(input: { readonly subject: string | undefined }): string {
  if (input.subject !== undefined) return input.subject;
  throw new UsageError("a subject is needed", ["add --subject C=US/O=Example/CN=www"]);
}
