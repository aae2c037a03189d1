/**
 * `keywright/x509`: names, extensions, requests, certificates, and the forms of public keys.
 * @module
 */
export { type CertificateContents, makeCertificate } from "../x509/certificates.ts";
export { X509Error } from "../x509/errors.ts";
export { formatName, type Name, parseName } from "../x509/names.ts";
export { publicKeyJwk, publicKeyOf, publicKeyPem, publicKeySsh } from "../x509/public-keys.ts";
export { type CertificateFacts, certificatePem, readCertificate, readCertificates } from "../x509/read.ts";
export { makeRequest, readRequest, requestPem } from "../x509/requests.ts";
export { type Signer, type SignerOptions, signerFor, type TokenSigner } from "../x509/signers.ts";
export { uriPem } from "../x509/uri-pem.ts";
