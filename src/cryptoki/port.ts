/**
 * The port: what every PKCS#11 module looks like here, whether it is a vendor's library, the built-in token or a peer
 * at the other end of a socket.
 *
 * Shapes on the port:
 * - A handle, slot number or other CK_ULONG is a `number`, and a `bigint` only above 2^53-1 ({@link Ulong}).
 * - Bytes are `Uint8Array`; the implementation copies what it keeps, the caller owns what it gets.
 * - An output call takes `room`: how many bytes the answer may have; `null` asks for the size. It replies `{ bytes }`,
 *   or `{ needed }` when asked for the size or when the room is too small. The operation is then still active.
 * - An absent function throws CKR_FUNCTION_NOT_SUPPORTED. CKR_BUFFER_TOO_SMALL never crosses the port.
 * @module
 */
import type { FUNCTIONS, FunctionName } from "../spec/functions.ts";
import type { PARAMETERS, ParameterField, ParameterName } from "../spec/parameters.ts";
import type { FieldKind, STRUCTURES, StructureName } from "../spec/structures.ts";

export type { FunctionName } from "../spec/functions.ts";

/** An answer that is there, or that will be: a module that answers at once costs no promise. */
export type Awaitable<T> = T | Promise<T>;

/** CK_ULONG: a number where it is exact, a bigint only above 2^53-1. So `===` and Map keys work. */
export type Ulong = number | bigint;

/** The value of one attribute; which shape it has is told by `attributeKind` of its type. */
export type AttributeValue = boolean | Ulong | Uint8Array | readonly Attribute[] | readonly Ulong[];

/** CK_ATTRIBUTE with its value. */
export interface Attribute {
  readonly type: number;
  readonly value: AttributeValue;
}

/**
 * One attribute to read. `room` is how many bytes the value may take, `null` asks only for its length, absent takes
 * whatever there is. `nested` gives the same for the elements of a template attribute.
 */
export interface AttributeRequest {
  readonly type: number;
  readonly room?: number | null;
  readonly nested?: readonly AttributeRequest[];
}

/**
 * What was read of one attribute: its `value`, or its length in bytes as `needed` (asked for, or it did not fit), or
 * neither, when it is sensitive or the object has no such attribute.
 */
export interface AttributeReply {
  readonly type: number;
  readonly value?: AttributeValue;
  readonly needed?: number;
}

/** The reply of C_GetAttributeValue; a partial result is a result. */
export interface AttributeReplies {
  /** CKR_OK, CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID or CKR_BUFFER_TOO_SMALL. */
  readonly rv: number;
  readonly values: readonly AttributeReply[];
}

/** The output of a call: the bytes, or how many are needed. */
export type Output = { readonly bytes: Uint8Array } | { readonly needed: number };

type FieldValue<F extends ParameterField> = F extends "ulong"
  ? Ulong
  : F extends "bool"
    ? boolean
    : F extends { readonly to: infer N extends ParameterName }
      ? Parameter<N>
      : Uint8Array;

/** The parameter structure of a mechanism, such as `Parameter<"rsaPkcsPss">`. */
export type Parameter<N extends ParameterName> = {
  readonly [K in keyof (typeof PARAMETERS)[N]]: (typeof PARAMETERS)[N][K] extends ParameterField
    ? FieldValue<(typeof PARAMETERS)[N][K]>
    : never;
};

/** Any parameter: a structure, bytes laid out by the caller, one CK_ULONG, or none. */
export type ParameterValue = { [N in ParameterName]: Parameter<N> }[ParameterName] | Uint8Array | Ulong;

/** CK_MECHANISM. Which shape the parameter has is told by `parameterKind` of its type. */
export interface Mechanism {
  readonly type: number;
  readonly parameter?: ParameterValue;
}

/** CK_VERSION */
export interface Version {
  readonly major: number;
  readonly minor: number;
}

type StructureValue<F extends FieldKind> = F extends "ulong" ? Ulong : F extends "version" ? Version : string;

/** A structure that a function fills in. Texts are decoded, without their padding. */
export type Structure<N extends StructureName> = {
  readonly [K in keyof (typeof STRUCTURES)[N]]: (typeof STRUCTURES)[N][K] extends FieldKind
    ? StructureValue<(typeof STRUCTURES)[N][K]>
    : never;
};

/** CK_C_INITIALIZE_ARGS, as far as it crosses the port: threads and mutexes are the implementation's business. */
export interface InitArgs {
  /** A string for modules that take one in `pReserved` (NSS softokn: `configdir='…' …`). */
  readonly reserved?: string;
}

interface InputTypes {
  ulong: Ulong;
  bool: boolean;
  bytes: Uint8Array;
  /** null where the token asks for the PIN itself (CKF_PROTECTED_AUTHENTICATION_PATH). */
  pin: Uint8Array | null;
  /** At most 32 bytes; padded with blanks by the implementation. */
  label: Uint8Array;
  username: Uint8Array;
  mechanism: Mechanism;
  mechanismOrNull: Mechanism | null;
  template: readonly Attribute[];
  requests: readonly AttributeRequest[];
  room: number | null;
  count: number;
  parameter: Uint8Array;
  initArgs: InitArgs;
}

interface OutputTypes {
  ulong: Ulong;
  ulongs: readonly Ulong[];
  output: Output;
  random: Uint8Array;
  found: readonly Ulong[];
  values: AttributeReplies;
  info: Structure<"info">;
  slotInfo: Structure<"slotInfo">;
  tokenInfo: Structure<"tokenInfo">;
  sessionInfo: Structure<"sessionInfo">;
  mechanismInfo: Structure<"mechanismInfo">;
}

type InputOf<K> = K extends keyof InputTypes ? InputTypes[K] : never;
type OutputOf<K> = K extends keyof OutputTypes ? OutputTypes[K] : never;
type Row<F extends FunctionName> = (typeof FUNCTIONS)[F];

/** What a function is given, by the names of its row; null pointers are left out. */
export type Args<F extends FunctionName> = {
  readonly [K in keyof Row<F>["in"] as Row<F>["in"][K] extends "null" ? never : K]: InputOf<Row<F>["in"][K]>;
};

/**
 * What a function answers, by the names of its row. `parameter` is there when the module changed the mechanism's or the
 * message's parameter: a generated initialisation vector, a tag.
 */
export type Reply<F extends FunctionName> = {
  readonly [K in keyof Row<F>["out"]]: OutputOf<Row<F>["out"][K]>;
} & { readonly parameter?: ParameterValue };

/** One application of a module: its own handles, sessions and login state. */
export interface Cryptoki {
  /** @throws CryptokiError with the function's name and its return value */
  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>>;
}

/** What some applications can tell beyond PKCS#11, which has flags but no count; probed with {@link tellsPinTries}. */
export interface PinTries {
  /** Undefined where there is no such token or PIN. */
  pinTries(slot: Ulong, role: "USER" | "SO"): Awaitable<PinCount | undefined>;
}

/** A role's tries. */
export interface PinCount {
  /** How many wrong PINs it may still give. */
  readonly left: number;
  /** How many PINs were refused since the last right one; noted before the refusal is answered. */
  readonly refused: number;
}

/** Whether an application tells how many tries are left. */
export function tellsPinTries(cryptoki: Cryptoki): cryptoki is Cryptoki & PinTries {
  return typeof (cryptoki as Partial<PinTries>).pinTries === "function";
}

/** What an application tells whose logins are guarded where it runs: a Keywright's at the other end of a connection. */
export interface PinGuarding {
  readonly guardsPins: boolean;
}

/** Whether logins are guarded elsewhere, as far as is known now. */
export function guardsPins(cryptoki: Cryptoki): boolean {
  return (cryptoki as Partial<PinGuarding>).guardsPins === true;
}

/** Where applications come from: one `Cryptoki` per connection, per `openModule`. */
export interface Provider {
  /** A new application; not yet initialised (C_Initialize is the caller's). */
  open(): Awaitable<Cryptoki>;
  /** Ends every application and lets go of what they held. Safe to repeat. */
  close(): Awaitable<void>;
}

/** What a module in TypeScript is written as: a function per call, absent where it has none. */
export type Handlers = { readonly [F in FunctionName]?: (args: Args<F>) => Awaitable<Reply<F>> };
