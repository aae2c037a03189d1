/**
 * What the commands that make certificates and requests share.
 * @module
 */
import { addDuration, parseDuration } from "../lifecycle/values.ts";
import { checkExtensions } from "../x509/extensions.ts";
import { type Name, parseName } from "../x509/names.ts";
import { text, texts } from "./command.ts";
import { fromArgument, UsageError } from "./errors.ts";

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
  return { notBefore: new Date(now.getTime() - 300_000), notAfter: addDuration(now, length) };
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

/** @throws UsageError when the option was not given, or is no name */
export function subjectOf({ subject }: { readonly subject: string | undefined }): Name {
  if (subject !== undefined) return fromArgument("--subject", () => parseName(subject));
  throw new UsageError("a subject is needed", ["add --subject C=US/O=Example/CN=www"]);
}

/** @throws UsageError for an extension that is none */
export function extensionsOf({ extension }: { readonly extension: readonly string[] }): readonly string[] {
  fromArgument("--extension", () => checkExtensions(extension));
  return extension;
}
