/**
 * What tells an object from others, as far as it was read or written in its session: by that it is found again in another
 * one, where it has another handle.
 * @module
 */
import { CKA } from "../../spec/attributes.ts";
import { CKO } from "../../spec/objects.ts";
import type { Attribute, AttributeValue } from "../port.ts";

/** What an object is called. */
const NAMES = [CKA.CKA_CLASS[0], CKA.CKA_LABEL[0], CKA.CKA_ID[0]];

/** What no other object of the same class has; CKA_VALUE only where everybody may read it. */
const EXACT = [
  CKA.CKA_UNIQUE_ID[0],
  CKA.CKA_MODULUS[0],
  CKA.CKA_PUBLIC_KEY_INFO[0],
  CKA.CKA_EC_POINT[0],
  CKA.CKA_VALUE[0],
];

const IDENTIFYING: ReadonlySet<number> = new Set([
  CKA.CKA_TOKEN[0],
  CKA.CKA_KEY_TYPE[0],
  CKA.CKA_CHECK_VALUE[0],
  ...NAMES,
  ...EXACT,
]);

/** What is read of a key along with what its first use has to ask anyway. */
export const READ_WITH_USE: readonly number[] = [
  CKA.CKA_TOKEN[0],
  CKA.CKA_KEY_TYPE[0],
  ...NAMES,
  CKA.CKA_UNIQUE_ID[0],
  CKA.CKA_MODULUS[0],
  CKA.CKA_PUBLIC_KEY_INFO[0],
];

const PUBLIC_CLASSES: ReadonlySet<number> = new Set([CKO.CKO_CERTIFICATE[0], CKO.CKO_PUBLIC_KEY[0]]);

export class ObjectIdentity {
  readonly #known = new Map<number, AttributeValue>();
  /** What it alone matched when it was found. */
  #match: Map<number, AttributeValue> | undefined;

  /** @param match what it alone matches */
  static sole(match: readonly Attribute[]): ObjectIdentity {
    const identity = new ObjectIdentity();
    identity.#match = new Map(match.map(({ type, value }) => [type, value]));
    return identity.learn(match);
  }

  /** @param template what it was made with */
  static made(template: readonly Attribute[], objectClass?: number): ObjectIdentity {
    // 4.4: an object is of the session where the template does not say.
    const before: Attribute[] = [{ type: CKA.CKA_TOKEN[0], value: false }];
    if (objectClass !== undefined) before.push({ type: CKA.CKA_CLASS[0], value: objectClass });
    return new ObjectIdentity().learn([...before, ...template]);
  }

  /** Notes what tells the object apart. Of values, which may be secret, only those that everybody may read. */
  learn(attributes: readonly Attribute[]): this {
    for (const { type, value } of attributes) {
      if (IDENTIFYING.has(type) && type !== CKA.CKA_VALUE[0]) this.#known.set(type, value);
    }
    const value = attributes.find(({ type }) => type === CKA.CKA_VALUE[0])?.value;
    const isPublic = PUBLIC_CLASSES.has(Number(this.#known.get(CKA.CKA_CLASS[0])));
    if (value !== undefined && isPublic) this.#known.set(CKA.CKA_VALUE[0], value);
    return this;
  }

  /** Notes what was changed. */
  change(attributes: readonly Attribute[]): void {
    this.learn(attributes);
    for (const { type, value } of attributes) if (this.#match?.has(type)) this.#match.set(type, value);
  }

  /** Of a copy with other attributes, which has an identity of its own. */
  copied(template: readonly Attribute[]): ObjectIdentity {
    const copy = new ObjectIdentity();
    for (const [type, value] of this.#known) if (type !== CKA.CKA_UNIQUE_ID[0]) copy.#known.set(type, value);
    return copy.learn(template);
  }

  get label(): Uint8Array | undefined {
    return this.#bytes(CKA.CKA_LABEL[0]);
  }

  get id(): Uint8Array | undefined {
    return this.#bytes(CKA.CKA_ID[0]);
  }

  get class(): number | undefined {
    const value = this.#known.get(CKA.CKA_CLASS[0]);
    return value === undefined ? undefined : Number(value);
  }

  #bytes(type: number): Uint8Array | undefined {
    const value = this.#known.get(type);
    return value instanceof Uint8Array && value.length > 0 ? value : undefined;
  }

  /** Whether it is known to be an object of the session, which ends with it. */
  get isOfSession(): boolean {
    return this.#known.get(CKA.CKA_TOKEN[0]) === false;
  }

  /** What to search for in the token; undefined where too little is known to tell the object from others. */
  get template(): Attribute[] | undefined {
    const isExact = EXACT.some((type) => this.#bytes(type) !== undefined);
    const isNamed = this.#known.get(CKA.CKA_TOKEN[0]) === true && (this.id ?? this.label) !== undefined;
    if (this.#match === undefined && (this.class === undefined || !(isExact || isNamed))) return undefined;
    const wanted = new Map<number, AttributeValue>([[CKA.CKA_TOKEN[0], true]]);
    for (const type of NAMES) {
      const value = this.#known.get(type);
      if (value !== undefined && !(value instanceof Uint8Array && value.length === 0)) wanted.set(type, value);
    }
    for (const [type, value] of this.#match ?? []) wanted.set(type, value);
    return [...wanted].map(([type, value]) => ({ type, value }));
  }

  /** What to read of an object that matches the template, to see whether it is this one. */
  get toCompare(): number[] {
    const searched = new Set(this.template?.map(({ type }) => type));
    return [...this.#known.keys()].filter((type) => !searched.has(type));
  }

  /** Whether an object of which this was read may be the same. */
  isSame(read: ReadonlyMap<number, AttributeValue | undefined>): boolean {
    return [...read].every(([type, value]) => equal(this.#known.get(type), value));
  }
}

function equal(one: AttributeValue | undefined, other: AttributeValue | undefined): boolean {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0;
  return one !== undefined && other !== undefined && String(one) === String(other);
}
