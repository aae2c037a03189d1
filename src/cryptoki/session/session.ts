/**
 * A session: what `withSession` hands out.
 *
 * A PKCS#11 session runs one Init…Final sequence at a time. Behind this class is a small pool of them: the main one,
 * where objects are made (session objects die with it), and others for operations that run at the same time.
 * @module
 */
import type { FunctionName } from "../../spec/functions.ts";
import { BYTES, isPlain, kind, requireArguments, whole } from "../arguments.ts";
import type { Attributes } from "../attributes.ts";
import { CryptokiError, failedWith } from "../errors.ts";
import type { PinSupply } from "../pin.ts";
import type { Args, Awaitable, Mechanism, Reply, Ulong } from "../port.ts";
import type { Token } from "../token.ts";
import { decrypt, encrypt } from "./encryption.ts";
import { deriveKey, generateKey, generateKeyPair, type KeyPair, unwrapKey, wrapKey } from "./keys.ts";
import { createObject, findObjects, findOne, TokenObject } from "./objects.ts";
import { digest, random } from "./random.ts";
import { type Data, sign, verify } from "./signing.ts";

/** How many PKCS#11 sessions one Session opens at most. */
const POOL_LIMIT = 8;

/** How many random bytes one call asks for at most. */
const MOST_RANDOM = 2 ** 20;

const ATTRIBUTES = kind('attributes like { CKA_LABEL: "www" }', isPlain);
const MECHANISM = kind(
  'a mechanism like ecdsa("SHA-256") or mechanism("CKM_…")',
  (value) => isPlain(value) && typeof value.type === "number",
);
const OBJECT = kind("an object of the token (TokenObject)", (value) => value instanceof TokenObject);
const DATA = kind(
  "bytes (Uint8Array), or pieces of them to iterate over",
  (value) =>
    value instanceof Uint8Array ||
    (typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)),
);

export class Session {
  readonly token: Token;
  /** The main PKCS#11 session. */
  readonly handle: Ulong;
  /** For keys that want the PIN at every use; undefined where none was given. */
  readonly pin: PinSupply | undefined;
  readonly #flags: number;
  /** Every PKCS#11 session that is open: the main one, those of the pool, those of searches. */
  readonly #open: Set<Ulong>;
  readonly #idle: Ulong[];
  readonly #waiting: { resolve: (handle: Ulong) => void; reject: (error: Error) => void }[] = [];
  /** How many belong to the pool, and how many may. */
  #pooled = 1;
  #limit = POOL_LIMIT;
  #isClosed = false;

  /** @internal Sessions come from `Token.withSession`. */
  constructor(token: Token, handle: Ulong, flags: number, pin: PinSupply | undefined) {
    this.token = token;
    this.handle = handle;
    this.pin = pin;
    this.#flags = flags;
    this.#open = new Set([handle]);
    this.#idle = [handle];
  }

  /** Whether `withSession` is still running. */
  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** A call of the port. @throws CryptokiError CKR_SESSION_CLOSED once `withSession` has ended */
  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    if (this.#isClosed) throw ended(fn);
    return this.token.module.call(fn, args);
  }

  /**
   * Runs `use` with a PKCS#11 session that nothing else uses meanwhile. After an error in the middle of an operation
   * (data that broke off, a PIN that was missing) the operation is still active there, so the session is not used again:
   * it is closed, and the main one, in which objects live, is kept for those alone.
   */
  async exclusive<T>(use: (handle: Ulong) => Awaitable<T>): Promise<T> {
    const handle = this.#idle.pop() ?? (await this.#another());
    try {
      const answer = await use(handle);
      this.#giveBack(handle);
      return answer;
    } catch (error) {
      if (hasNotBegun(error)) this.#giveBack(handle);
      else await this.#discard(handle);
      throw error;
    }
  }

  #giveBack(handle: Ulong): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(handle);
    else next.resolve(handle);
  }

  async #discard(handle: Ulong): Promise<void> {
    this.#pooled -= 1;
    if (handle !== this.handle) await this.closeOwn(handle);
    const next = this.#waiting.shift();
    if (next !== undefined) this.#another().then(next.resolve, next.reject);
  }

  async #another(): Promise<Ulong> {
    if (this.#pooled < this.#limit) {
      this.#pooled += 1;
      try {
        return await this.openOwn(this.#flags);
      } catch (error) {
        this.#pooled -= 1;
        if (!failedWith(error, "CKR_SESSION_COUNT")) throw error;
        if (this.#pooled === 0) {
          // The token has no other: better the main one, where the operation may have ended by itself.
          this.#pooled = 1;
          return this.handle;
        }
        this.#limit = this.#pooled;
      }
    }
    return this.#idle.pop() ?? new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** @internal A PKCS#11 session beside the main one; it is closed with this one at the latest. */
  async openOwn(flags: number): Promise<Ulong> {
    const { session } = await this.call("C_OpenSession", { slot: this.token.slot, flags });
    if (this.#isClosed) {
      await this.#closeHandle(session);
      throw ended("C_OpenSession");
    }
    this.#open.add(session);
    return session;
  }

  /** @internal */
  async closeOwn(handle: Ulong): Promise<void> {
    if (this.#open.delete(handle)) await this.#closeHandle(handle);
  }

  async #closeHandle(session: Ulong): Promise<void> {
    try {
      await this.token.module.call("C_CloseSession", { session });
    } catch (error) {
      // Gone already: the token was removed or initialised, or the module's process died.
      if (
        !failedWith(
          error,
          "CKR_SESSION_HANDLE_INVALID",
          "CKR_SESSION_CLOSED",
          "CKR_DEVICE_REMOVED",
          "CKR_DEVICE_ERROR",
          "CKR_TOKEN_NOT_PRESENT",
        )
      )
        throw error;
    }
  }

  /** @internal Closes every PKCS#11 session, those too in which an operation or a search is still under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { reject } of this.#waiting.splice(0)) reject(ended("C_OpenSession"));
    for (const session of [...this.#open]) await this.closeOwn(session);
  }

  /** The objects that match, one by one; the search runs on a session of its own. */
  find(match: Attributes = {}): AsyncIterable<TokenObject> {
    requireArguments("session.find", { match: [match, ATTRIBUTES] });
    return findObjects(this, match);
  }

  /**
   * The one object that matches.
   * @throws ObjectNotFoundError when there is none, or more than one (listing them)
   */
  async findOne(match: Attributes): Promise<TokenObject> {
    requireArguments("session.findOne", { match: [match, ATTRIBUTES] });
    return findOne(this, match);
  }

  /** An object by its handle. */
  object(handle: Ulong): TokenObject {
    return new TokenObject(this, handle);
  }

  /** Imports an object: a certificate, data, or a key whose value is known. */
  async create(attributes: Attributes): Promise<TokenObject> {
    requireArguments("session.create", { attributes: [attributes, ATTRIBUTES] });
    return createObject(this, attributes);
  }

  async generateKeyPair(mechanism: Mechanism, publicKey: Attributes, privateKey: Attributes): Promise<KeyPair> {
    requireArguments("session.generateKeyPair", {
      mechanism: [mechanism, MECHANISM],
      publicKey: [publicKey, ATTRIBUTES],
      privateKey: [privateKey, ATTRIBUTES],
    });
    return generateKeyPair(this, mechanism, publicKey, privateKey);
  }

  async generateKey(mechanism: Mechanism, attributes: Attributes): Promise<TokenObject> {
    requireArguments("session.generateKey", {
      mechanism: [mechanism, MECHANISM],
      attributes: [attributes, ATTRIBUTES],
    });
    return generateKey(this, mechanism, attributes);
  }

  /** Signs; data that comes in pieces is signed piece by piece. */
  async sign(key: TokenObject, mechanism: Mechanism, data: Data): Promise<Uint8Array> {
    requireArguments("session.sign", { key: [key, OBJECT], mechanism: [mechanism, MECHANISM], data: [data, DATA] });
    return sign(this, key, mechanism, data);
  }

  /** Whether a signature is right; anything but a wrong signature throws. */
  async verify(key: TokenObject, mechanism: Mechanism, data: Data, signature: Uint8Array): Promise<boolean> {
    requireArguments("session.verify", {
      key: [key, OBJECT],
      mechanism: [mechanism, MECHANISM],
      data: [data, DATA],
      signature: [signature, BYTES],
    });
    return verify(this, key, mechanism, data, signature);
  }

  async encrypt(key: TokenObject, mechanism: Mechanism, data: Uint8Array): Promise<Uint8Array> {
    requireArguments("session.encrypt", { key: [key, OBJECT], mechanism: [mechanism, MECHANISM], data: [data, BYTES] });
    return encrypt(this, key, mechanism, data);
  }

  async decrypt(key: TokenObject, mechanism: Mechanism, data: Uint8Array): Promise<Uint8Array> {
    requireArguments("session.decrypt", { key: [key, OBJECT], mechanism: [mechanism, MECHANISM], data: [data, BYTES] });
    return decrypt(this, key, mechanism, data);
  }

  /** The value of `key`, wrapped (encrypted) with `wrappingKey`. */
  async wrap(wrappingKey: TokenObject, mechanism: Mechanism, key: TokenObject): Promise<Uint8Array> {
    requireArguments("session.wrap", {
      wrappingKey: [wrappingKey, OBJECT],
      mechanism: [mechanism, MECHANISM],
      key: [key, OBJECT],
    });
    return wrapKey(this, wrappingKey, mechanism, key);
  }

  async unwrap(
    unwrappingKey: TokenObject,
    mechanism: Mechanism,
    wrapped: Uint8Array,
    attributes: Attributes,
  ): Promise<TokenObject> {
    requireArguments("session.unwrap", {
      unwrappingKey: [unwrappingKey, OBJECT],
      mechanism: [mechanism, MECHANISM],
      wrapped: [wrapped, BYTES],
      attributes: [attributes, ATTRIBUTES],
    });
    return unwrapKey(this, unwrappingKey, mechanism, wrapped, attributes);
  }

  async derive(baseKey: TokenObject, mechanism: Mechanism, attributes: Attributes): Promise<TokenObject> {
    requireArguments("session.derive", {
      baseKey: [baseKey, OBJECT],
      mechanism: [mechanism, MECHANISM],
      attributes: [attributes, ATTRIBUTES],
    });
    return deriveKey(this, baseKey, mechanism, attributes);
  }

  async digest(mechanism: Mechanism, data: Data): Promise<Uint8Array> {
    requireArguments("session.digest", { mechanism: [mechanism, MECHANISM], data: [data, DATA] });
    return digest(this, mechanism, data);
  }

  /** Random bytes from the token. @param length in bytes, 1 to 1 048 576 */
  async random(length: number): Promise<Uint8Array> {
    requireArguments("session.random", { length: [length, whole(1, MOST_RANDOM)] });
    return random(this, length);
  }
}

/** Whether an operation failed before it was active: its Init was refused, and not for another that is still active. */
function hasNotBegun(error: unknown): boolean {
  return error instanceof CryptokiError && error.function.endsWith("Init") && !error.is("CKR_OPERATION_ACTIVE");
}

function ended(fn: FunctionName): CryptokiError {
  return new CryptokiError(fn, "CKR_SESSION_CLOSED", "withSession has ended", {
    hints: ["await everything that uses the session within withSession"],
  });
}
