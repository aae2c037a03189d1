/**
 * General names (RFC 5280 4.2.1.6) in OpenSSL's syntax: `DNS:www.example.com`, `IP:192.0.2.1`, `dirName:C=US/CN=www` …
 * @module
 */
import { isIP } from "node:net";
import { AsnConvert } from "@peculiar/asn1-schema";
import { Name as AsnName, GeneralName } from "@peculiar/asn1-x509";
import { X509Error } from "./errors.ts";
import { encodeName, parseName } from "./names.ts";

const KINDS: Readonly<Record<string, (value: string) => GeneralName>> = {
  DNS: (value) => new GeneralName({ dNSName: ascii("DNS", value) }),
  email: (value) => new GeneralName({ rfc822Name: ascii("email", value) }),
  URI: (value) => new GeneralName({ uniformResourceIdentifier: uri(value) }),
  IP: (value) => new GeneralName({ iPAddress: ip(value) }),
  RID: (value) => new GeneralName({ registeredID: oid(value) }),
  dirName: (value) => new GeneralName({ directoryName: asnName(value) }),
};

/**
 * Parses one general name.
 * @throws X509Error naming the kinds there are, or what is wrong with the value
 */
export function parseGeneralName(text: string): GeneralName {
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
export function parseConstraint(text: string): GeneralName {
  if (!text.startsWith("IP:")) return parseGeneralName(text);
  const [address, mask] = text.slice(3).split("/") as [string, string | undefined];
  const size = isIP(address) === 4 ? 32 : 128;
  const bits = mask === undefined ? undefined : /^\d+$/.test(mask) ? Number(mask) : prefixLength(mask);
  if (bits === undefined || bits > size) {
    throw new X509Error(`${JSON.stringify(text)} is not a range of addresses`, {
      hints: ["it looks like IP:192.0.2.0/24"],
    });
  }
  return new GeneralName({ iPAddress: `${ip(address)}/${bits}` });
}

/** The length of the prefix that a mask such as 255.255.0.0 or ffff:ffff:: leaves; undefined if it has gaps. */
function prefixLength(mask: string): number | undefined {
  if (isIP(mask) === 0) return undefined;
  const words = isIP(mask) === 4 ? mask.split(".").map(Number) : expand(mask).map((word) => Number.parseInt(word, 16));
  const bits = words.map((word) => word.toString(2).padStart(isIP(mask) === 4 ? 8 : 16, "0")).join("");
  return /^1*0*$/.test(bits) ? bits.replaceAll("0", "").length : undefined;
}

function expand(address: string): string[] {
  const [left, right] = address.split("::") as [string, string | undefined];
  const words = (part: string) => (part === "" ? [] : part.split(":"));
  if (right === undefined) return words(left);
  const missing = 8 - words(left).length - words(right).length;
  return [...words(left), ...Array<string>(missing).fill("0"), ...words(right)];
}

/** The address in the one form that the library reads: an IPv4 address within an IPv6 one becomes hexadecimal. */
function ip(value: string): string {
  const version = isIP(value);
  if (version === 0) throw new X509Error(`${JSON.stringify(value)} is not an IP address`);
  return version === 4 ? value : new URL(`http://[${value}]`).hostname.slice(1, -1);
}

function ascii(kind: string, value: string): string {
  if (!/^[\x21-\x7e]+$/.test(value)) {
    throw new X509Error(`${JSON.stringify(value)} is not a ${kind} name`, {
      hints: ["it is ASCII without blanks; write an international name in its xn-- form"],
    });
  }
  return value;
}

function uri(value: string): string {
  if (!URL.canParse(value)) throw new X509Error(`${JSON.stringify(value)} is not a URI`);
  return ascii("URI", value);
}

/** An object identifier in dotted form. */
export function oid(value: string): string {
  if (!/^[0-2](?:\.(?:0|[1-9][0-9]*))+$/.test(value))
    throw new X509Error(`${JSON.stringify(value)} is not an object identifier`);
  return value;
}

function asnName(value: string): AsnName {
  return AsnConvert.parse(encodeName(parseName(value)), AsnName);
}
