/**
 * A session: what `withSession` hands out.
 *
 * A PKCS#11 session runs one Init…Final sequence at a time. Behind this class is a small pool of them, and another pool
 * after the token, its daemon or the library's process was gone.
 * @module
 */
import type { FunctionName } from "../../spec/functions.ts";
import { BYTES, isPlain, kind, requireArguments, whole } from "../arguments.ts";
import type { Attributes } from "../attributes.ts";
import { CryptokiError } from "../errors.ts";
import type { Role } from "../logins.ts";
import type { PinSupply } from "../pin.ts";
import type { Args, Awaitable, Mechanism, Reply, Structure, Ulong } from "../port.ts";
import type { Token } from "../token.ts";
import { decrypt, encrypt } from "./encryption.ts";
import type { ObjectIdentity } from "./identity.ts";
import { deriveKey, generateKey, generateKeyPair, type KeyPair, unwrapKey, wrapKey } from "./keys.ts";
import { isGone, isTokenGone, mayBeGone, notMadeAnew, notRepeated, ObjectLostError } from "./lost.ts";
import { createObject, findObjects, findOne, TokenObject } from "./objects.ts";
import type { Data } from "./pieces.ts";
import { type OperationUse, SessionPool } from "./pool.ts";
import { digest, random } from "./random.ts";
import { sign, verify } from "./signing.ts";

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

/** How a session is made, and made anew. */
interface Making {
  readonly flags: number;
  /** Who is logged in; undefined for nobody. */
  readonly user: Role | undefined;
  readonly pin: PinSupply | undefined;
  readonly reconnects: boolean;
}

const NOT_KNOWN = () => "whether it was done is not known";

export class Session {
  readonly token: Token;
  /** For keys that want the PIN at every use; undefined where none was given. */
  readonly pin: PinSupply | undefined;
  /** @internal Who is logged in. */
  readonly user: Role | undefined;
  readonly #how: Making;
  /** What the token said of itself: it may come back in another slot, and another one in its slot. */
  readonly #info: Structure<"tokenInfo">;
  #pool: SessionPool;
  #making = 0;
  #anew: Promise<void> | undefined;
  #isClosed = false;

  /** @internal Sessions come from `Token.withSession`. */
  constructor(token: Token, handle: Ulong, how: Making) {
    this.token = token;
    this.pin = how.pin;
    this.user = how.user;
    this.#how = how;
    this.#info = token.info;
    this.#pool = new SessionPool(token.module, handle, { slot: token.slot, flags: how.flags });
  }

  /** The main PKCS#11 session; another one after it was made anew. */
  get handle(): Ulong {
    return this.#pool.main;
  }

  /** Whether `withSession` is still running. */
  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** @internal Those of C_OpenSession. */
  get flags(): number {
    return this.#how.flags;
  }

  /** @internal How often it was made anew: handles are of one making. */
  get making(): number {
    return this.#making;
  }

  /** @internal Whether it makes itself anew. */
  get isReconnecting(): boolean {
    return this.#how.reconnects;
  }

  /**
   * A call of the port as it is: nothing is made anew for it, nor repeated.
   * @throws CryptokiError CKR_SESSION_CLOSED once `withSession` has ended
   */
  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    return this.#pool.call(fn, args);
  }

  /**
   * @internal Runs what may be done twice. If the session is gone it is made anew, the objects are found again, and it is
   * done once more. Handles are to be read within `use`, before its first pause.
   * @param whyNotAgain why it cannot be done twice any more, such as data that is gone; undefined where it can
   */
  async run<T>(
    objects: readonly TokenObject[],
    use: () => Awaitable<T>,
    whyNotAgain: () => string | undefined = () => undefined,
  ): Promise<T> {
    const making = this.#making;
    try {
      return await this.#withCurrent(objects, use);
    } catch (error) {
      if (!this.#how.reconnects || this.#isClosed || !mayBeGone(error)) throw error;
      if (!(await this.#makeAnewIfGone(making, error))) throw error;
      const why = whyNotAgain();
      if (why !== undefined) throw notRepeated(error, why);
      return this.#withCurrent(objects, use);
    }
  }

  /** @internal Runs what must not be done twice: what makes, changes or destroys. The session is made anew all the same. */
  runOnce<T>(objects: readonly TokenObject[], use: () => Awaitable<T>): Promise<T> {
    return this.run(objects, use, NOT_KNOWN);
  }

  /** @internal Runs what makes an object. */
  async made(
    identity: ObjectIdentity,
    objects: readonly TokenObject[],
    make: () => Promise<Ulong>,
  ): Promise<TokenObject> {
    return this.runOnce(objects, async () => {
      const making = this.#making;
      return new TokenObject(this, await make(), identity, making);
    });
  }

  /** @internal Runs an operation, with a PKCS#11 session that nothing else uses meanwhile; see {@link run}. */
  runExclusive<T>(
    objects: readonly TokenObject[],
    use: OperationUse<T>,
    whyNotAgain?: () => string | undefined,
  ): Promise<T> {
    return this.run(objects, () => this.#pool.exclusive(use), whyNotAgain);
  }

  async #withCurrent<T>(objects: readonly TokenObject[], use: () => Awaitable<T>): Promise<T> {
    // Each time from the beginning: while one is looked for, another call may make the session anew.
    for (let old = objects.find(isOld); old !== undefined; old = objects.find(isOld)) await old.findAgain();
    return use();
  }

  /** Whether the session was gone and is there again. @throws SessionLostError where it cannot be made anew */
  async #makeAnewIfGone(making: number, error: CryptokiError): Promise<boolean> {
    if (this.#making !== making) return isGone(error);
    if (!isTokenGone(error) && !(await this.#isMainGone())) return isGone(error); // one of the pool alone
    if (this.#making === making) {
      this.#anew ??= this.#makeAnew(error).finally(() => {
        this.#anew = undefined;
      });
      await this.#anew;
    }
    return true;
  }

  async #isMainGone(): Promise<boolean> {
    try {
      await this.call("C_GetSessionInfo", { session: this.handle });
      return false;
    } catch (error) {
      return mayBeGone(error);
    }
  }

  async #makeAnew(error: CryptokiError): Promise<void> {
    const { token, user } = this;
    const { flags } = this.#how;
    const old = this.#pool;
    let pool: SessionPool;
    try {
      await token.module.findAgain(token, this.#info);
      const { slot } = token;
      if (this.#isClosed) throw ended("C_OpenSession");
      const { session } = await token.module.call("C_OpenSession", { slot, flags });
      pool = new SessionPool(token.module, session, { slot, flags });
      try {
        if (user !== undefined) await token.logins.enterAgain(this, session);
        if (this.#isClosed) throw ended("C_OpenSession");
      } catch (reason) {
        await pool.closeAll();
        throw reason;
      }
    } catch (why) {
      if (this.#isClosed) throw ended(error.function);
      throw notMadeAnew(error, token.uri, why);
    }
    this.#pool = pool;
    this.#making += 1;
    old.end((fn) => new CryptokiError(fn, "CKR_SESSION_CLOSED", "the session was made anew"));
    // Most are gone already; those that a module has left go with the others.
    await old.closeAll().catch(() => undefined);
  }

  /** @internal The PKCS#11 sessions as they are now; others after it was made anew. */
  get pool(): SessionPool {
    return this.#pool;
  }

  /** @internal Cuts off what is still under way: nothing is made anew any more. */
  end(): void {
    this.#isClosed = true;
    this.#pool.end(ended);
  }

  /** @internal Closes every PKCS#11 session, those too in which an operation or a search is still under way. */
  async close(): Promise<void> {
    this.end();
    // What was being made anew sees that it is too late, and closes what it opened.
    await this.#anew?.catch(() => undefined);
    await this.#pool.closeAll();
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

  /**
   * An object by its handle.
   * @throws ObjectLostError in a session that was made anew, where the handle may be another object's
   */
  object(handle: Ulong): TokenObject {
    if (this.#making > 0) {
      throw new ObjectLostError(`the session was made anew, and handle ${handle} may be another object's now`, {
        hints: ["find the object again, or take objects in place of handles: they are found again"],
      });
    }
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

const isOld = (object: TokenObject): boolean => !object.isCurrent;

function ended(fn: FunctionName): CryptokiError {
  return new CryptokiError(fn, "CKR_SESSION_CLOSED", "withSession has ended", {
    hints: ["await everything that uses the session within withSession"],
  });
}
