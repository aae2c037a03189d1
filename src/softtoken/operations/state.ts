/**
 * The operations of a session, and when the standard ends them. PKCS#11 3.1, 5.8 to 5.16.
 *
 * An operation is active from its Init. A reply of `{ needed }` leaves it active and untouched; every other outcome of
 * the call that finishes it ends it, and so does any error of a call in between.
 * @module
 */
import type { Output } from "../../cryptoki/port.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import { refuse } from "../refusal.ts";

/** The kinds of operation; a session has at most one of each. */
export type OperationKind =
  | "find"
  | "encrypt"
  | "decrypt"
  | "digest"
  | "sign"
  | "verify"
  | "verifySignature"
  | "signRecover"
  | "verifyRecover";

export interface DigestWork {
  /** Bytes of the result. */
  readonly length: number;
  update(data: Uint8Array): void;
  final(): Uint8Array;
}

/** Signing or verifying. Without `start` the mechanism works in a single part only. */
export interface SignWork {
  /** The greatest length of a signature, in bytes. */
  readonly length: number;
  once(data: Uint8Array): Uint8Array;
  start?(): SignStream;
}

interface SignStream {
  update(data: Uint8Array): void;
  final(): Uint8Array;
  free?(): void;
}

export interface VerifyWork {
  /** @throws Refusal CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE */
  once(data: Uint8Array, signature: Uint8Array): void;
  start?(): VerifyStream;
}

interface VerifyStream {
  update(data: Uint8Array): void;
  final(signature: Uint8Array): void;
  free?(): void;
}

/** Verifying a signature that was given beforehand (3.2). */
export interface VerifySignatureWork {
  once(data: Uint8Array): void;
  start?: (() => VerifySignatureStream) | undefined;
}

interface VerifySignatureStream {
  update(data: Uint8Array): void;
  final(): void;
  free?(): void;
}

/** Encrypting or decrypting; `once` has no memory, so that it may be asked again. */
export interface CipherWork {
  /** No output of `once` is longer. */
  bound(length: number): number;
  once(data: Uint8Array): Uint8Array;
  start?(): CipherStream;
}

export interface CipherStream {
  /** Exactly how long the output of this update will be. */
  updateLength(length: number): number;
  update(data: Uint8Array): Uint8Array;
  /** No output of `final` is longer. */
  finalBound(): number;
  final(): Uint8Array;
}

/** Signing with recovery, or recovering. */
export interface RecoverWork {
  readonly length: number;
  once(data: Uint8Array): Uint8Array;
}

/** A search: what is left to tell. */
interface FindWork {
  readonly found: readonly number[];
  at: number;
}

interface Works {
  find: FindWork;
  encrypt: CipherWork;
  decrypt: CipherWork;
  digest: DigestWork;
  sign: SignWork;
  verify: VerifyWork;
  verifySignature: VerifySignatureWork;
  signRecover: RecoverWork;
  verifyRecover: RecoverWork;
}

interface Streams {
  encrypt: CipherStream;
  decrypt: CipherStream;
  sign: SignStream;
  verify: VerifyStream;
  verifySignature: VerifySignatureStream;
}

/** An operation under way. */
export interface Active<K extends OperationKind> {
  readonly work: Works[K];
  readonly mechanism: number;
  /** The key must be authenticated for by C_Login(CKU_CONTEXT_SPECIFIC) first. */
  awaitsLogin: boolean;
  /** Set by the first Update. */
  stream?: K extends keyof Streams ? Streams[K] : undefined;
  /** Some part was given, so a single-part call comes too late. */
  isMultiPart: boolean;
  /** The output of Final, worked out but not yet fetched. */
  finished?: Uint8Array;
}

export class Operations {
  readonly #active: { [K in OperationKind]?: Active<K> } = {};

  /** @throws Refusal CKR_OPERATION_ACTIVE, which ends nothing */
  begin<K extends OperationKind>(kind: K, work: Works[K], mechanism = 0, awaitsLogin = false): void {
    this.mustBeFree(kind);
    this.#active[kind] = { work, mechanism, awaitsLogin, isMultiPart: false } as unknown as never;
  }

  mustBeFree(kind: OperationKind): void {
    if (this.#active[kind] !== undefined) refuse("CKR_OPERATION_ACTIVE");
  }

  /** @throws Refusal CKR_OPERATION_NOT_INITIALIZED */
  get<K extends OperationKind>(kind: K): Active<K> {
    return (this.#active[kind] as Active<K> | undefined) ?? refuse("CKR_OPERATION_NOT_INITIALIZED");
  }

  has(kind: OperationKind): boolean {
    return this.#active[kind] !== undefined;
  }

  /** The operation that waits for C_Login(CKU_CONTEXT_SPECIFIC). */
  awaitingLogin(): Active<OperationKind> | undefined {
    return Object.values(this.#active).find((active) => active.awaitsLogin) as Active<OperationKind> | undefined;
  }

  end(kind: OperationKind): void {
    const stream = (this.#active[kind] as { stream?: { free?(): void } } | undefined)?.stream;
    stream?.free?.();
    delete this.#active[kind];
  }

  endAll(): void {
    for (const kind of Object.keys(this.#active) as OperationKind[]) this.end(kind);
  }

  /** Runs one step; an error ends the operation. */
  step<K extends OperationKind, T>(kind: K, work: (active: Active<K>) => T): T {
    const active = this.get(kind);
    try {
      return work(active);
    } catch (error) {
      this.end(kind);
      throw error;
    }
  }

  /** Runs the step that finishes the operation: it stays active only if the output does not fit. */
  finish<K extends OperationKind>(kind: K, work: (active: Active<K>) => Output): Output {
    const output = this.step(kind, work);
    if ("bytes" in output) this.end(kind);
    return output;
  }
}

/** @throws Refusal CKR_USER_NOT_LOGGED_IN for a key of CKA_ALWAYS_AUTHENTICATE */
export function mustBeAuthenticated(active: Active<OperationKind>): void {
  if (active.awaitsLogin) refuse("CKR_USER_NOT_LOGGED_IN", "the key asks for C_Login(CKU_CONTEXT_SPECIFIC)");
}

/** @throws Refusal CKR_OPERATION_ACTIVE when parts were given already: a single part cannot follow (5.8.2) */
export function mustBeSinglePart(active: Active<OperationKind>): void {
  if (active.isMultiPart) refuse("CKR_OPERATION_ACTIVE", "the data is being given in parts");
}

/** The stream of a multi-part operation. @throws Refusal when the mechanism has none */
export function streamOf<K extends keyof Streams>(active: Active<K>): Streams[K] {
  mustBeAuthenticated(active as unknown as Active<OperationKind>);
  active.isMultiPart = true;
  if (active.stream !== undefined) return active.stream as Streams[K];
  const { start } = active.work as { start?: () => Streams[K] };
  if (start === undefined) {
    return refuse("CKR_FUNCTION_NOT_SUPPORTED", `${mechanismName(active.mechanism)} takes its data in a single part`);
  }
  const stream = start.call(active.work);
  active.stream = stream as NonNullable<typeof active.stream>;
  return stream;
}

/** The output, or how much room it takes. The result of `work` is only asked for when it will fit. */
export function intoRoom(room: number | null, bound: number, work: () => Uint8Array): Output {
  if (room === null) return { needed: bound };
  if (room >= bound) return { bytes: plain(work()) };
  return { needed: bound };
}

/** The same where the exact length is known only afterwards. */
export function intoRoomExactly(room: number | null, bound: number, work: () => Uint8Array): Output {
  if (room === null) return { needed: bound };
  const bytes = work();
  return bytes.length <= room ? { bytes: plain(bytes) } : { needed: bytes.length };
}

/** Not a Buffer: its slice() would be a view, and the caller owns what it gets. */
function plain(bytes: Uint8Array): Uint8Array {
  return Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
}
