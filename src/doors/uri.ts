/**
 * `keywright/uri`: PKCS#11 URIs (RFC 7512).
 * @module
 */
export { formatUri, isUri, type Pkcs11Uri, parseUri, sameUri, UriError } from "../cryptoki/uri.ts";
