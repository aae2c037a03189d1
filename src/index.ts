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
import { dirname, resolve } from "node:path";
import { Module } from "./cryptoki/module.ts";
import { stateFolder } from "./host/folders.ts";
import type { Surroundings } from "./lifecycle/access.ts";
import type { Declaration } from "./lifecycle/declaration.ts";
import { defaultStore, openDeclared } from "./modules/declared.ts";
import { openGuarded } from "./modules/guarded.ts";
import type { ModuleReference } from "./modules/index.ts";
import { PinMemory } from "./pins/memory.ts";
import { type Prompt, readPin } from "./pins/sources.ts";

export interface OpenModuleOptions extends Omit<ModuleReference, "module"> {
  /** The state folder, where the PIN guard remembers; the machine's usual one by default. */
  readonly state?: string;
  /** Whether a person types every PIN that this module is given, so that the last try is theirs to spend; false by default. */
  readonly attended?: boolean;
}

/**
 * Opens a PKCS#11 module, with the PIN guard under every login.
 * @param module `softtoken`, or the path or file name of a library
 * @throws KeywrightError when there is no such module or it cannot be initialised
 */
export function openModule(module: string, options: OpenModuleOptions = {}): Promise<Module> {
  const { state = stateFolder(), attended = false, ...rest } = options;
  const reference = { ...defaultStore(module, state), ...rest, module };
  return Module.open(openGuarded(reference, { memory: new PinMemory(state), attended: () => attended }));
}

export interface DeclaredOptions {
  /** The state folder: locks, pending hooks, the PIN guard's memory; the machine's usual one by default. */
  readonly state?: string;
  /** Asks a person for the PINs that are declared as `{ prompt: true }`; without it nobody can be asked. */
  readonly prompt?: Prompt;
}

/**
 * What `withTokens`, `observe` and `apply` need to reach the tokens of a declaration: modules opened as they are declared,
 * with the PIN guard under every login, PINs read from their declared sources, paths from the declaration's folder.
 */
export function surroundingsOf(declaration: Declaration, options: DeclaredOptions = {}): Surroundings {
  const { state = stateFolder(), prompt } = options;
  const folder = dirname(resolve(declaration.file));
  return {
    folder,
    state,
    now: () => new Date(),
    open: (token) => openDeclared(token, { folder, state }),
    readPin: (source, purpose) => readPin(source, { folder, purpose, prompt }),
  };
}

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
export { asksPerson, type PinSource, PinSourceError, type Prompt, readPin } from "./pins/sources.ts";
export { type SoftTokenOptions, softToken } from "./softtoken/index.ts";
export { type CertificateContents, makeCertificate } from "./x509/certificates.ts";
export { X509Error } from "./x509/errors.ts";
export { formatName, type Name, parseName } from "./x509/names.ts";
export { publicKeyJwk, publicKeyOf, publicKeyPem, publicKeySsh } from "./x509/public-keys.ts";
export { type CertificateFacts, certificatePem, readCertificate, readCertificates } from "./x509/read.ts";
export { makeRequest, readRequest, requestPem } from "./x509/requests.ts";
export { type Signer, type SignerOptions, signerFor } from "./x509/signers.ts";
export { uriPem } from "./x509/uri-pem.ts";
