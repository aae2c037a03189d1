/**
 * What the commands that make certificates and requests share.
 * @module
 */
import { addDuration, parseDuration } from "../lifecycle/values.ts";
import { authorityIn, checkExtensions, notGiven } from "../x509/extensions.ts";
import { type Name, parseName } from "../x509/names.ts";
import { text, texts } from "./command.ts";
import { CommandError, fromArgument, UsageError } from "./errors.ts";

export const SUBJECT_OPTIONS = {
  subject: text("NAME", "C=US/O=Example/CN=www, or CN=www,O=Example,C=US"),
  extension: texts("EXT", "an extension in OpenSSL's syntax: subjectAltName=DNS:www.example.com"),
} as const;

export const VALIDITY_OPTIONS = {
  validity: text("TIME", "how long it is valid: 90d, 1y (default: 365d)"),
  serial: text("HEX", "its serial number, 0x and hexadecimal (default: random)"),
} as const;

/** notBefore and notAfter from now on; certificates begin five minutes back, for clocks that are slow. */
export function validityOf(
  input: { readonly validity: string | undefined },
  now: Date,
): { notBefore: Date; notAfter: Date } {
  const length = fromArgument("--validity", () => parseDuration(input.validity ?? "365d"));
  if (length.amount === 0) throw new UsageError(`--validity: a certificate of ${input.validity} would never be valid`);
  return { notBefore: new Date(now.getTime() - 300_000), notAfter: addDuration(now, length) };
}

export function serialOf(input: { readonly serial: string | undefined }): Uint8Array | undefined {
  if (input.serial === undefined) return undefined;
  const digits = /^0x((?:[0-9a-f]{2}){1,20})$/i.exec(input.serial)?.[1];
  // RFC 5280 4.1.2.2: positive, and at most 20 bytes as an INTEGER, whose first bit is the sign.
  if (digits === undefined || /^0+$/.test(digits) || (digits.length === 40 && /^[89a-f]/i.test(digits))) {
    throw new UsageError(
      `--serial: ${JSON.stringify(input.serial)} is not a serial number: write 0x and 1 to 20 bytes in hexadecimal, not zero, and below 0x80 in the first of 20`,
    );
  }
  return Buffer.from(digits, "hex");
}

/** @throws UsageError when the option was not given, or is no name */
export function subjectOf({ subject }: { readonly subject: string | undefined }): Name {
  if (subject !== undefined) return fromArgument("--subject", () => parseName(subject));
  throw new UsageError("a subject is needed", ["add --subject C=US/O=Example/CN=www"]);
}

/**
 * The extensions of a certificate for a request: those that are given, and of those that it asks for the others.
 * @throws CommandError where it asks for what makes a CA, and nothing is given in its place: that is not for it to say
 */
export function withRequested(requested: readonly string[], given: readonly string[]): string[] {
  const copied = notGiven(requested, given);
  const authority = authorityIn(copied);
  if (authority.length === 0) return [...copied, ...given];
  throw new CommandError(`the request asks for what makes a CA: ${authority.join("; ")}`, [
    `to make one, give each of them: ${authority.map((one) => `--extension ${one.replace("=", "=critical,")}`).join(" ")}`,
    "else give what the certificate is to have instead: --extension basicConstraints=CA:FALSE --extension keyUsage=digitalSignature",
  ]);
}

/** @throws UsageError for an extension that is none */
export function extensionsOf({ extension }: { readonly extension: readonly string[] }): readonly string[] {
  fromArgument("--extension", () => checkExtensions(extension));
  return extension;
}
