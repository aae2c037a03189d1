/**
 * PEM (RFC 7468).
 * @module
 */
import { CodecError } from "./errors.ts";

/** One block of a PEM file. */
export interface PemBlock {
  /** What stands after BEGIN, such as `CERTIFICATE`. */
  readonly label: string;
  readonly bytes: Uint8Array;
}

/** A block with lines of 64 characters and a final newline (RFC 7468 section 2). */
export function encodePem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

const BLOCK = /-----BEGIN ([^-\r\n]*)-----([^-]*)-----END ([^-\r\n]*)-----/g;

/**
 * All blocks of a text; text around them is skipped (RFC 7468 section 5.2).
 * @throws CodecError when a block is not base64 or its ends do not agree
 */
export function decodePem(text: string): PemBlock[] {
  return Array.from(text.matchAll(BLOCK), (match) => {
    const [, label, body, end] = match as unknown as [string, string, string, string];
    const base64 = body.replaceAll(/\s+/g, "");
    if (label !== end) throw new CodecError(label, match.index, `the block ends as ${end}`);
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64) || base64.length % 4 !== 0) {
      throw new CodecError(label, match.index, "not base64");
    }
    return { label, bytes: new Uint8Array(Buffer.from(base64, "base64")) };
  });
}
