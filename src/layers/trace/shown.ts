/**
 * Values as a trace shows them: names for codes, lengths for secrets.
 * @module
 */
import { fromUtf8, toHex } from "../../codec/bytes.ts";
import { fromPort } from "../../cryptoki/attributes.ts";
import type { Attribute, AttributeReply, AttributeValue, Mechanism, Structure, Ulong } from "../../cryptoki/port.ts";
import { attributeKind, attributeName, CKA } from "../../spec/attributes.ts";
import { flagNames, MECHANISM_FLAGS, SESSION_FLAGS, SLOT_FLAGS, TOKEN_FLAGS } from "../../spec/flags.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import { CKO, objectClassName, sessionStateName } from "../../spec/objects.ts";
import { isPublicField, isSecretAttribute } from "../../spec/secrecy.ts";

/** A value that JSON can carry. */
export type Shown = string | number | boolean | null | readonly Shown[] | { readonly [name: string]: Shown };

/** How bytes are shown: how many there are, and which only where they are no secret. */
export function shownBytes(bytes: Uint8Array, isShown: boolean): Shown {
  return isShown ? { length: bytes.length, hex: toHex(bytes) } : { length: bytes.length };
}

export function shownUlong(value: Ulong): Shown {
  return typeof value === "bigint" ? `0x${value.toString(16)}` : value;
}

/** What is known of an object: its class and label. */
export interface KnownObject {
  readonly class?: Ulong;
  readonly label?: string;
}

/** A handle, and what it stands for as far as that was seen. */
export function shownHandle(handle: Ulong, known: KnownObject | undefined): Shown {
  const text = known === undefined ? "" : objectText(known);
  return text === "" ? { handle: shownUlong(handle) } : { handle: shownUlong(handle), is: text };
}

/** `private key www`. */
function objectText({ class: objectClass, label }: KnownObject): string {
  const kind = objectClass === undefined ? "object" : className(objectClass);
  if (label === undefined || label === "") return objectClass === undefined ? "" : kind;
  return `${kind} ${label}`;
}

function className(objectClass: Ulong): string {
  return objectClassName(Number(objectClass)).replace(/^CKO_/, "").replaceAll("_", " ").toLowerCase();
}

export class Shower {
  readonly #secrets: boolean;

  /** @param secrets whether secrets are shown; PINs never are */
  constructor(secrets: boolean) {
    this.#secrets = secrets;
  }

  bytes(bytes: Uint8Array, isPublic: boolean): Shown {
    return shownBytes(bytes, isPublic || this.#secrets);
  }

  /** @param objectClass of the object, where it is known from elsewhere */
  attributes(attributes: readonly (Attribute | AttributeReply)[], objectClass?: Ulong): Shown {
    const given = attributes.find(({ type }) => type === CKA.CKA_CLASS[0])?.value;
    const known = typeof given === "number" ? given : objectClass;
    return Object.fromEntries(attributes.map((one) => [attributeName(one.type), this.#attribute(one, known)]));
  }

  #attribute(one: Attribute | AttributeReply, objectClass: Ulong | undefined): Shown {
    if (one.value === undefined) return "needed" in one && one.needed !== undefined ? { needed: one.needed } : null;
    return this.#value(one.type, one.value, objectClass);
  }

  #value(type: number, value: AttributeValue, objectClass: Ulong | undefined): Shown {
    if (typeof value === "boolean") return value;
    const kind = attributeKind(type);
    // Secret by its type, even where a module gave a value of another shape.
    const isSecret = isSecretAttribute(type, objectClass);
    if (value instanceof Uint8Array) {
      const named = kind === "text" || kind === "date" ? fromPort(kind, value) : undefined;
      return typeof named === "string" ? named : this.bytes(value, !isSecret);
    }
    if (isSecret && !this.#secrets) return { length: 0 };
    if (kind === "template" && Array.isArray(value)) return this.attributes(value as readonly Attribute[]);
    const named = fromPort(kind, value) as Ulong | string | readonly (Ulong | string)[];
    return Array.isArray(named) ? named.map(shownScalar) : shownScalar(named as Ulong | string);
  }

  mechanism({ type, parameter }: Mechanism): Shown {
    const name = mechanismName(type);
    return parameter === undefined ? name : { mechanism: name, parameter: this.parameter(parameter) };
  }

  /** A mechanism's parameter: codes of mechanisms by name, bytes as they may be shown. */
  parameter(parameter: NonNullable<Mechanism["parameter"]>): Shown {
    if (parameter instanceof Uint8Array) return this.bytes(parameter, false);
    if (typeof parameter !== "object") return shownUlong(parameter);
    return Object.fromEntries(
      Object.entries(parameter as Record<string, unknown>).map(([name, value]): [string, Shown] => {
        if (value instanceof Uint8Array) return [name, this.bytes(value, isPublicField(name))];
        if (typeof value === "boolean") return [name, value];
        if (typeof value === "object") return [name, this.parameter(value as NonNullable<Mechanism["parameter"]>)];
        const isMechanism = /^(?:hash|hashAlg|prfHashMechanism)$/.test(name);
        return [name, isMechanism ? mechanismName(Number(value)) : shownUlong(value as Ulong)];
      }),
    );
  }
}

function shownScalar(value: Ulong | string): Shown {
  return typeof value === "string" ? value : shownUlong(value);
}

const FLAGS_OF = {
  info: {},
  slotInfo: SLOT_FLAGS,
  tokenInfo: TOKEN_FLAGS,
  sessionInfo: SESSION_FLAGS,
  mechanismInfo: MECHANISM_FLAGS,
} as const;

/** A structure that a function filled in, flags and states by name. */
export function shownStructure<N extends keyof typeof FLAGS_OF>(kind: N, structure: Structure<N>): Shown {
  return Object.fromEntries(
    Object.entries(structure as Record<string, unknown>).map(([name, value]): [string, Shown] => {
      if (name === "flags") return [name, flagNames(Number(value), FLAGS_OF[kind])];
      if (name === "state") return [name, sessionStateName(Number(value))];
      if (typeof value === "object" && value !== null && "major" in value) {
        const { major, minor } = value as { major: number; minor: number };
        return [name, `${major}.${minor}`];
      }
      return [name, typeof value === "string" ? value : shownUlong(value as Ulong)];
    }),
  );
}

/** What attributes tell of an object. */
export function knownFrom(
  attributes: readonly { readonly type: number; readonly value?: AttributeValue }[],
): KnownObject {
  let known: KnownObject = {};
  for (const { type, value } of attributes) {
    if (type === CKA.CKA_CLASS[0] && typeof value === "number") known = { ...known, class: value };
    if (type === CKA.CKA_LABEL[0] && value instanceof Uint8Array) known = { ...known, label: fromUtf8(value) };
  }
  return known;
}

/** Whether what a key makes may be shown: of a key pair; a MAC may be a key itself. */
export function makesPublic(known: KnownObject | undefined): boolean {
  return known?.class === CKO.CKO_PRIVATE_KEY[0] || known?.class === CKO.CKO_PUBLIC_KEY[0];
}
