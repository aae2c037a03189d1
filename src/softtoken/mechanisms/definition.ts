/**
 * What a mechanism is here: its sizes, the keys it takes, and the operations it can do. An operation that is not
 * mentioned is CKR_MECHANISM_INVALID.
 * @module
 */
import type { Awaitable, Mechanism, Parameter, ParameterValue, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { mechanismName, parameterKind } from "../../spec/mechanisms.ts";
import { PARAMETERS, type ParameterField, type ParameterName } from "../../spec/parameters.ts";
import type { KeyParts } from "../keys/encodings.ts";
import type { TokenObject } from "../objects/object.ts";
import type { CipherWork, DigestWork, RecoverWork, SignWork, VerifyWork } from "../operations/state.ts";
import { refuse } from "../refusal.ts";
import type { Values } from "../store/record.ts";
import { isUlong } from "../ulong.ts";

/** The two halves that a pair generation makes. */
export interface PairParts {
  readonly publicKey: KeyParts;
  readonly privateKey: KeyParts;
}

/** What a derivation is asked for. */
export interface DeriveRequest {
  /** The key type of the new key. */
  readonly keyType: number;
  /** CKA_VALUE_LEN of the template, or what the key type implies. */
  readonly length: number | undefined;
  /** Another key of the same application, by its handle in the parameter. */
  key(handle: Ulong): TokenObject;
}

/** The value of a derived key, and the keys besides the base key that it was made of. */
interface Derived {
  readonly value: Uint8Array;
  readonly others?: readonly TokenObject[];
}

export interface Definition {
  /** CK_MECHANISM_INFO: bits for RSA and EC, bytes for AES, as each mechanism's clause says. */
  readonly sizes: readonly [least: number, most: number];
  /** Flags besides those that follow from the operations. */
  readonly flags?: number;
  readonly keyTypes?: readonly number[];
  /** The keys are secret keys; else private ones sign, decrypt, unwrap and derive and public ones do the opposite. */
  readonly isSymmetric?: boolean;
  readonly digest?: (mechanism: Mechanism) => DigestWork;
  readonly sign?: (key: TokenObject, mechanism: Mechanism) => SignWork;
  readonly verify?: (key: TokenObject, mechanism: Mechanism) => VerifyWork;
  readonly signRecover?: (key: TokenObject, mechanism: Mechanism) => RecoverWork;
  readonly verifyRecover?: (key: TokenObject, mechanism: Mechanism) => RecoverWork;
  readonly encrypt?: (key: TokenObject, mechanism: Mechanism) => CipherWork;
  readonly decrypt?: (key: TokenObject, mechanism: Mechanism) => CipherWork;
  /** Makes the value of a secret key of its `keyType`. @param length CKA_VALUE_LEN */
  readonly generate?: { readonly keyType: number; make(length: number | undefined): Uint8Array };
  readonly generatePair?: {
    readonly keyType: number;
    make(publicTemplate: Values, privateTemplate: Values): Awaitable<PairParts>;
  };
  /** Wraps private keys, as PrivateKeyInfo, and not only secret ones. */
  readonly wrapsPrivateKeys?: boolean;
  /** What is unwrapped may end in zeroes that are not part of the key. */
  readonly isZeroPadded?: boolean;
  /** A derived key is as sensitive and as little extractable as those it is made of. */
  readonly inheritsSecrecy?: boolean;
  /** Derives a data object instead of a key. */
  readonly derivesData?: boolean;
  readonly wrap?: (key: TokenObject, mechanism: Mechanism, plain: Uint8Array) => Uint8Array;
  readonly unwrap?: (key: TokenObject, mechanism: Mechanism, wrapped: Uint8Array) => Uint8Array;
  readonly derive?: (base: TokenObject, mechanism: Mechanism, request: DeriveRequest) => Derived;
  readonly encapsulate?: (key: TokenObject) => { secret: Uint8Array; ciphertext: Uint8Array };
  readonly encapsulationLength?: (key: TokenObject) => number;
  readonly decapsulate?: (key: TokenObject, ciphertext: Uint8Array) => Uint8Array;
}

/** Definitions by the codes of their mechanisms. */
export type Definitions = readonly (readonly [code: number, definition: Definition])[];

const badParameter = (mechanism: Mechanism): never =>
  refuse("CKR_MECHANISM_PARAM_INVALID", mechanismName(mechanism.type));

/** @throws Refusal CKR_MECHANISM_PARAM_INVALID if there is a parameter */
export function noParameter(mechanism: Mechanism): void {
  const { parameter } = mechanism;
  if (parameter !== undefined && !(parameter instanceof Uint8Array && parameter.length === 0)) badParameter(mechanism);
}

function isStructure(value: ParameterValue | undefined): value is Exclude<ParameterValue, Uint8Array | Ulong> {
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array);
}

/** Whether every field is there and of its kind; a caller without types may give anything. */
function hasFields(value: unknown, name: ParameterName): boolean {
  if (typeof value !== "object" || value === null) return false;
  const given = value as Readonly<Record<string, unknown>>;
  const fields: readonly (readonly [string, ParameterField])[] = Object.entries(PARAMETERS[name]);
  return fields.every(([field, kind]) => isOfKind(given[field], kind));
}

function isOfKind(value: unknown, kind: ParameterField): boolean {
  if (kind === "ulong") return isUlong(value);
  if (kind === "bool") return typeof value === "boolean";
  if (typeof kind === "object" && "to" in kind) return hasFields(value, kind.to as ParameterName);
  if (!(value instanceof Uint8Array)) return false;
  return typeof kind !== "object" || value.length === kind.block;
}

/** The parameter structure of a mechanism. @throws Refusal CKR_MECHANISM_PARAM_INVALID if it is not that one */
export function structureOf<N extends ParameterName>(mechanism: Mechanism, name: N): Parameter<N> {
  const { parameter } = mechanism;
  if (!isStructure(parameter) || !hasFields(parameter, name)) return badParameter(mechanism);
  return parameter as Parameter<N>;
}

/** A parameter that is bytes, such as an initialisation vector. */
export function bytesOf(mechanism: Mechanism, ...lengths: readonly number[]): Uint8Array {
  const { parameter } = mechanism;
  if (!(parameter instanceof Uint8Array) || !lengths.includes(parameter.length)) return badParameter(mechanism);
  return Uint8Array.from(parameter);
}

/** A parameter that is one CK_ULONG. */
export function numberOf(mechanism: Mechanism): number {
  const { parameter } = mechanism;
  if (!isUlong(parameter)) return badParameter(mechanism);
  return small(parameter);
}

/** Whether a mechanism's parameter may be left out here although its row names one. */
export function hasParameter(mechanism: Mechanism): boolean {
  const { parameter } = mechanism;
  if (parameter === undefined) return false;
  return !(parameter instanceof Uint8Array && parameter.length === 0 && parameterKind(mechanism.type) !== "raw");
}
