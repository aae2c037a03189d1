/**
 * What published files hold.
 * @module
 */
import { createHash } from "node:crypto";
import { formatUri, parseUri } from "../../cryptoki/uri.ts";
import { certificatePem, isIssuedBy, readCertificate } from "../../x509/read.ts";
import { uriPem } from "../../x509/uri-pem.ts";
import type { PublishWhat } from "../declaration.ts";
import type { Identity } from "../identities.ts";

/** A certificate and those above it, from its issuer to the root; DER. */
export interface Chain {
  readonly certificate: Uint8Array;
  readonly issuers: readonly Uint8Array[];
}

/** Whether the issuers' certificates are part of a published file. */
export function needsIssuers(what: PublishWhat): boolean {
  return what === "chain" || what === "fullchain";
}

/** The contents of a published file. */
export function publishedContents(what: PublishWhat, chain: Chain, uri: string): string {
  const { certificate, issuers } = chain;
  switch (what) {
    case "certificate":
      return certificatePem(certificate);
    case "chain":
      return issuers.map(certificatePem).join("");
    case "fullchain":
      // What a server sends; a client has the root already, or does not trust it (RFC 8446 4.4.2).
      return [certificate, ...issuers.filter((issuer) => !signsItself(issuer))].map(certificatePem).join("");
    case "uri-pem":
      return uriPem(uri);
  }
}

function signsItself(der: Uint8Array): boolean {
  const { raw } = readCertificate(der);
  return Buffer.compare(raw.issuer, raw.subject) === 0 && isIssuedBy(der, der);
}

/** SHA-256 of a text, in hexadecimal. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The URI of a private key in a token. @param token the token's own URI */
export function keyUri(token: string, { id, label }: Identity): string {
  const { path } = parseUri(token);
  return formatUri({ path: { ...path, object: label, type: "private", id: Buffer.from(id, "hex") }, query: {} });
}
