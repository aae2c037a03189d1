/**
 * General names (RFC 5280 4.2.1.6) in OpenSSL's syntax: `DNS:www.example.com`, `IP:192.0.2.1`, `dirName:C=US/CN=www` …
 * @module
 */
import { isIP } from "node:net";
import { concat, sameBytes, utf8 } from "../codec/bytes.ts";
import { derConstructed, derPrimitive, isOid, oidBytes } from "../codec/der.ts";
import { X509Error } from "./errors.ts";
import { encodeName, type Name, parseName } from "./names.ts";

/** Each kind with the number of its tag (RFC 5280 4.2.1.6). */
const KINDS: Readonly<Record<string, (value: string) => Uint8Array>> = {
  DNS: (value) => derPrimitive(2, ascii("DNS", value)),
  email: (value) => rfc822Name(value),
  URI: (value) => derPrimitive(6, uri(value)),
  IP: (value) => derPrimitive(7, addressBytes(value)),
  RID: (value) => derPrimitive(8, oidBytes(parseOid(value))),
  dirName: (value) => directoryName(parseName(value)),
};

/**
 * Parses one general name.
 * @returns its DER
 * @throws X509Error naming the kinds there are, or what is wrong with the value
 */
export function parseGeneralName(text: string): Uint8Array {
  const colon = text.indexOf(":");
  const kind = KINDS[text.slice(0, Math.max(colon, 0)).trim()];
  const value = text.slice(colon + 1).trim();
  if (colon < 0 || kind === undefined || value === "") {
    throw new X509Error(`${JSON.stringify(text)} is not a general name`, {
      hints: [`it looks like DNS:www.example.com; kinds: ${Object.keys(KINDS).join(", ")}`],
    });
  }
  return kind(value);
}

/** A range for nameConstraints: an address is followed by its mask, `IP:192.0.2.0/255.255.255.0` or `/24`. */
export function parseConstraint(text: string): Uint8Array {
  if (!text.startsWith("IP:")) return parseGeneralName(text);
  const [base, range] = text.slice(3).split("/") as [string, string | undefined];
  const address = addressBytes(base);
  const mask = range === undefined ? undefined : maskBytes(range, address.length);
  if (mask === undefined) {
    throw new X509Error(`${JSON.stringify(text)} is not a range of addresses`, {
      hints: ["it looks like IP:192.0.2.0/24"],
    });
  }
  return derPrimitive(7, concat(address, mask));
}

/** A name as a general name: [4], around it, because Name is a CHOICE. */
export function directoryName(name: Name): Uint8Array {
  return derConstructed(4, encodeName(name));
}

/** A mail address as a general name. @throws X509Error when it is not ASCII */
export function rfc822Name(address: string): Uint8Array {
  return derPrimitive(1, ascii("email", address));
}

/** An object identifier in dotted form. @throws X509Error for anything else */
export function parseOid(value: string): string {
  if (!isOid(value)) throw new X509Error(`${JSON.stringify(value)} is not an object identifier`);
  return value;
}

/** A mask of so many bytes, from `24`, `255.255.255.0` or `ffff:ffff::`; undefined if it is none or has gaps. */
function maskBytes(text: string, length: number): Uint8Array | undefined {
  const given = isIP(text) === 0 ? undefined : addressBytes(text);
  const bits = given === undefined ? (/^\d{1,3}$/.test(text) ? Number(text) : undefined) : ones(given);
  if (bits === undefined || bits > 8 * length) return undefined;
  const mask = Uint8Array.from({ length }, (_, i) => 0xff00 >> Math.min(8, Math.max(0, bits - 8 * i)));
  return given === undefined || sameBytes(given, mask) ? mask : undefined;
}

function ones(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
}

/** The 4 or 16 bytes of an address. */
function addressBytes(value: string): Uint8Array {
  const version = isIP(value);
  if (version === 0 || value.includes("%")) throw new X509Error(`${JSON.stringify(value)} is not an IP address`);
  if (version === 4) return Uint8Array.from(value.split("."), Number);
  // In the form that URLs have, an IPv4 address within an IPv6 one is hexadecimal.
  const [left = "", right] = new URL(`http://[${value}]`).hostname.slice(1, -1).split("::");
  const words = (part: string) => (part === "" ? [] : part.split(":"));
  const tail = words(right ?? "");
  const zeroes = Array<string>(8 - words(left).length - tail.length).fill("0");
  const all = [...words(left), ...zeroes, ...tail].map((word) => Number.parseInt(word, 16));
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

function ascii(kind: string, value: string): Uint8Array {
  if (!/^[\x21-\x7e]+$/.test(value)) {
    throw new X509Error(`${JSON.stringify(value)} is not a ${kind} name`, {
      hints: ["it is ASCII without blanks; write an international name in its xn-- form"],
    });
  }
  return utf8(value);
}

function uri(value: string): Uint8Array {
  if (!URL.canParse(value)) throw new X509Error(`${JSON.stringify(value)} is not a URI`);
  return ascii("URI", value);
}
