/**
 * An object as the token works with it.
 * @module
 */
import type { AttributeValue, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { attr } from "../codes.ts";
import { refuse } from "../refusal.ts";
import type { Values } from "../store/record.ts";
import { isSecretClass, type Policy, policyOf } from "./policy.ts";

/** Something that was made of an object's value and must be let go of, such as a key of libcrypto. */
export interface Material {
  free(): void;
}

/** What was made of an object's value. It outlives a change of the object's attributes, but not the object. */
export class Materials {
  readonly #made = new Map<string, Material>();
  #isGone = false;

  /** Made once and kept. @throws Refusal CKR_KEY_HANDLE_INVALID when the object is gone */
  get<M extends Material>(name: string, make: () => M): M {
    const known = this.#made.get(name);
    if (known !== undefined) return known as M;
    if (this.#isGone) return refuse("CKR_KEY_HANDLE_INVALID", "the key is gone");
    const made = make();
    this.#made.set(name, made);
    return made;
  }

  free(): void {
    this.#isGone = true;
    // Contexts go before the keys they were made of.
    for (const material of [...this.#made.values()].reverse()) material.free();
    this.#made.clear();
  }
}

export class TokenObject {
  readonly handle: number;
  /** Its number in the store; undefined for a session object. */
  readonly row: number | undefined;
  readonly uid: Uint8Array;
  readonly revision: number;
  /** Its row carries a MAC, which a change without a login could not renew. */
  readonly hasMac: boolean;
  /** What may be known without opening a seal. */
  readonly values: Values;
  readonly policy: Policy;
  /** The state of the store in which the object was last seen to be as it is here. */
  seen = 0;
  readonly #secret: (type: number) => Uint8Array | undefined;
  readonly #secretTypes: ReadonlySet<number>;
  readonly materials: Materials;

  constructor(parts: {
    handle: number;
    row: number | undefined;
    uid: Uint8Array;
    revision: number;
    mac?: Uint8Array | undefined;
    values: Values;
    secretTypes: ReadonlySet<number>;
    secret: (type: number) => Uint8Array | undefined;
    materials?: Materials | undefined;
  }) {
    this.handle = parts.handle;
    this.row = parts.row;
    this.uid = parts.uid;
    this.revision = parts.revision;
    this.hasMac = parts.mac !== undefined;
    this.values = parts.values;
    this.#secretTypes = parts.secretTypes;
    this.#secret = parts.secret;
    this.materials = parts.materials ?? new Materials();
    const policy = policyOf(this.class, this.keyType);
    if (policy === undefined) throw new Error(`object ${parts.handle} is of a class that is not known here`);
    this.policy = policy;
  }

  get class(): number {
    return small(this.values.get(attr.CLASS) as Ulong);
  }

  get keyType(): number | undefined {
    const type = this.values.get(attr.KEY_TYPE);
    return type === undefined ? undefined : small(type as Ulong);
  }

  get isPrivate(): boolean {
    return this.flag(attr.PRIVATE);
  }

  get isToken(): boolean {
    return this.row !== undefined;
  }

  flag(type: number): boolean {
    return this.values.get(type) === true;
  }

  bytes(type: number): Uint8Array | undefined {
    const value = this.values.get(type);
    return value instanceof Uint8Array ? value : undefined;
  }

  /** Whether the object has this attribute, in the open or sealed. */
  has(type: number): boolean {
    return this.values.has(type) || this.#secretTypes.has(type);
  }

  isSecret(type: number): boolean {
    return this.#secretTypes.has(type);
  }

  get secretTypes(): ReadonlySet<number> {
    return this.#secretTypes;
  }

  /** A sealed value, opened: a copy of the caller's own to wipe. Undefined if there is none. */
  secret(type: number): Uint8Array | undefined {
    return this.#secretTypes.has(type) ? this.#secret(type) : undefined;
  }

  /** 5.7.5: whether an attribute of footnote 7 may be read. */
  get isReadable(): boolean {
    return !isSecretClass(this.class) || (!this.flag(attr.SENSITIVE) && this.flag(attr.EXTRACTABLE));
  }

  /** An attribute as the caller may see it; undefined if it is hidden or absent. */
  visible(type: number): AttributeValue | undefined {
    if (!this.#secretTypes.has(type)) return this.values.get(type);
    return this.isReadable ? this.secret(type) : undefined;
  }

  /** Something made of this object's value, made once and kept until the object is gone. */
  material<M extends Material>(name: string, make: () => M): M {
    return this.materials.get(name, make);
  }

  dispose(): void {
    this.materials.free();
  }
}
