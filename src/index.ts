/**
 * The library's front door.
 *
 * ```ts
 * import { ecdsa, openModule, Pin } from "keywright";
 *
 * const module = await openModule("/usr/lib/softhsm/libsofthsm2.so");
 * const token = await module.token({ label: "prod" });
 * const signature = await token.withSession({ user: "USER", pin: Pin.from("1234") }, async (session) => {
 *   const key = await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_LABEL: "www" });
 *   return session.sign(key, ecdsa("SHA-256"), new TextEncoder().encode("hello"));
 * });
 * await module.close();
 * ```
 * @module
 */
import { join } from "node:path";
import { FLAG, isPlain, kind, members, oneOf, optional, requireArguments, TEXT, whole } from "./cryptoki/arguments.ts";
import { Module } from "./cryptoki/module.ts";
import { stateFolder } from "./host/folders.ts";
import { openGuarded } from "./modules/guarded.ts";
import type { ModuleReference } from "./modules/index.ts";
import { PinMemory } from "./pins/memory.ts";

export interface OpenModuleOptions extends Omit<ModuleReference, "module"> {
  /** The state folder, where the PIN guard remembers; the machine's usual one by default. */
  readonly state?: string;
  /** Whether a person gives the PINs, so that the last try is theirs to spend; false by default. */
  readonly attended?: boolean;
}

const OPEN_OPTIONS = members({
  state: optional(TEXT),
  attended: optional(FLAG),
  environment: optional(
    kind(
      "an object of texts",
      (value) => isPlain(value) && Object.values(value).every((one) => typeof one === "string"),
    ),
  ),
  reserved: optional(TEXT),
  placement: optional(oneOf("direct", "thread", "process")),
  timeoutMs: optional(whole(1)),
  store: optional(TEXT),
  label: optional(TEXT),
  scryptCost: optional(whole(10, 20)),
  soRecovery: optional(FLAG),
});

/**
 * Opens a PKCS#11 module, with the PIN guard under every login.
 * @param module `softtoken`, or the path or file name of a library
 * @throws ArgumentError for an option that there is not
 * @throws KeywrightError when there is no such module or it cannot be initialised
 */
export async function openModule(module: string, options: OpenModuleOptions = {}): Promise<Module> {
  requireArguments("openModule", { module: [module, TEXT], options: [options, OPEN_OPTIONS] });
  const { state = stateFolder(), attended = false, ...rest } = options;
  const own = module === "softtoken" ? { store: join(state, "softtoken.db") } : {};
  const reference = { ...own, ...rest, module };
  return Module.open(openGuarded(reference, { memory: new PinMemory(state), attended }));
}

export { ArgumentError } from "./cryptoki/arguments.ts";
export { AttributeError, type Attributes } from "./cryptoki/attributes.ts";
export { CryptokiError, failedWith, KeywrightError } from "./cryptoki/errors.ts";
export {
  aesGcm,
  DIGESTS,
  type DigestName,
  digestByName,
  ecdsa,
  eddsa,
  MechanismError,
  mechanism,
  rsaOaep,
  rsaPkcs1,
  rsaPss,
} from "./cryptoki/mechanisms.ts";
export { Module, type TokenMatch, TokenNotFoundError } from "./cryptoki/module.ts";
export { Pin, PinMissingError, type PinSupply } from "./cryptoki/pin.ts";
export type {
  Args,
  Attribute,
  Awaitable,
  Cryptoki,
  FunctionName,
  Handlers,
  Mechanism,
  Parameter,
  Provider,
  Reply,
  Structure,
  Ulong,
} from "./cryptoki/port.ts";
export type { KeyPair } from "./cryptoki/session/keys.ts";
export { type AttributesRead, ObjectNotFoundError, TokenObject } from "./cryptoki/session/objects.ts";
export type { Session } from "./cryptoki/session/session.ts";
export type { Data } from "./cryptoki/session/signing.ts";
export type { Role, SessionOptions, Token } from "./cryptoki/token.ts";
export { formatUri, isUri, type Pkcs11Uri, parseUri, sameUri, UriError } from "./cryptoki/uri.ts";
export { HostError } from "./host/errors.ts";
export { type Access, type Surroundings, withTokens } from "./lifecycle/access.ts";
export { type Applied, type ApplyOptions, apply, StalePlanError } from "./lifecycle/apply/apply.ts";
export type { KeyResult, Progress } from "./lifecycle/apply/execute.ts";
export { type Declaration, DeclarationError, declarationSchema, readDeclaration } from "./lifecycle/declaration.ts";
export type { Observation } from "./lifecycle/observation.ts";
export { observe } from "./lifecycle/observe.ts";
export { type PlanOptions, plan } from "./lifecycle/plan/plan.ts";
export { hasChanges, type Plan, refusals, type Step } from "./lifecycle/plan/steps.ts";
export { type Status, statusOf } from "./lifecycle/status.ts";
export type { Placement } from "./modules/index.ts";
export { asksPerson, type PinSource, PinSourceError, readPin } from "./pins/sources.ts";
export { type SoftTokenOptions, softToken } from "./softtoken/index.ts";
export { type CertificateContents, makeCertificate } from "./x509/certificates.ts";
export { X509Error } from "./x509/errors.ts";
export { formatName, type Name, parseName } from "./x509/names.ts";
export { publicKeyJwk, publicKeyOf, publicKeyPem, publicKeySsh } from "./x509/public-keys.ts";
export { type CertificateFacts, certificatePem, readCertificate, readCertificates } from "./x509/read.ts";
export { makeRequest, readRequest, requestPem } from "./x509/requests.ts";
export { type Signer, type SignerOptions, signerFor } from "./x509/signers.ts";
export { uriPem } from "./x509/uri-pem.ts";
