/**
 * `keywright/cryptoki`: the port and the comfortable API on top of it, for whoever writes a module or a layer, or opens
 * one with `Module.open`. It loads no library of C and no store.
 * @module
 */
export { ArgumentError } from "../cryptoki/arguments.ts";
export { AttributeError, type Attributes } from "../cryptoki/attributes.ts";
export { ecParams } from "../cryptoki/curves.ts";
export { CryptokiError, failedWith, KeywrightError } from "../cryptoki/errors.ts";
export { fromHandlers } from "../cryptoki/handlers.ts";
export type { Role } from "../cryptoki/logins.ts";
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
} from "../cryptoki/mechanisms.ts";
export { Module, type TokenMatch, TokenNotFoundError } from "../cryptoki/module.ts";
export { Pin, PinMissingError, type PinSupply } from "../cryptoki/pin.ts";
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
} from "../cryptoki/port.ts";
export type { KeyPair } from "../cryptoki/session/keys.ts";
export { ObjectLostError, SessionLostError } from "../cryptoki/session/lost.ts";
export { type AttributesRead, ObjectNotFoundError, TokenObject } from "../cryptoki/session/objects.ts";
export type { Data } from "../cryptoki/session/pieces.ts";
export type { Session } from "../cryptoki/session/session.ts";
export type { SessionOptions, Token } from "../cryptoki/token.ts";
