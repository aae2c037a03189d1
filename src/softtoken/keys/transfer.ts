/**
 * C_WrapKey, C_UnwrapKey, C_DeriveKey, C_EncapsulateKey and C_DecapsulateKey. PKCS#11 3.1, 5.18; 3.2, 5.18.8 and 5.18.9.
 * @module
 */
import { Reader } from "../../codec/bytes.ts";
import { readTlv } from "../../codec/der.ts";
import type { Args, Attribute, AttributeValue, Reply, Ulong } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import type { ReturnName } from "../../spec/returns.ts";
import type { Application, Session } from "../application.ts";
import { attr, cls, keyType } from "../codes.ts";
import type { Definition } from "../mechanisms/definition.ts";
import { addObjects, checkAccess } from "../objects/access.ts";
import { assemble, type Making } from "../objects/assemble.ts";
import type { TokenObject } from "../objects/object.ts";
import { codeIn, readTemplate, sameValue } from "../objects/template.ts";
import { intoRoomExactly } from "../operations/state.ts";
import { ableTo, getKey, keyFor, mustAllow } from "../operations/usage.ts";
import { orRefuse, Refusal, refuse } from "../refusal.ts";
import { isTemplate, type Values } from "../store/record.ts";
import { decodePrivateKey, type KeyParts } from "./encodings.ts";
import { privateKeyInfo } from "./material.ts";

/** What an encryption says, in the words of wrapping. */
const AS_WRAPPING: { readonly [N in ReturnName]?: ReturnName } = {
  CKR_DATA_LEN_RANGE: "CKR_KEY_SIZE_RANGE",
  CKR_DATA_INVALID: "CKR_KEY_NOT_WRAPPABLE",
  CKR_ENCRYPTED_DATA_INVALID: "CKR_WRAPPED_KEY_INVALID",
  CKR_ENCRYPTED_DATA_LEN_RANGE: "CKR_WRAPPED_KEY_LEN_RANGE",
  CKR_AEAD_DECRYPT_FAILED: "CKR_WRAPPED_KEY_INVALID",
};

function asWrapping<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const rv = error instanceof Refusal ? AS_WRAPPING[error.rv] : undefined;
    if (rv !== undefined) return refuse(rv, (error as Refusal).message);
    throw error;
  }
}

export function wrapKey(app: Application, args: Args<"C_WrapKey">): Reply<"C_WrapKey"> {
  const session = app.session(args.session);
  const { mechanism } = args;
  const definition = ableTo(mechanism, "wrap");
  const wrapping = keyFor(app, session, args.wrappingKey, "wrap", mechanism, definition, {
    handle: "CKR_WRAPPING_KEY_HANDLE_INVALID",
    type: "CKR_WRAPPING_KEY_TYPE_INCONSISTENT",
  });
  const key = getKey(app, session, args.key);
  mustBeWrappable(key, wrapping, definition);
  const plain = key.class === cls.SECRET_KEY ? key.secret(attr.VALUE)! : privateKeyInfo(key);
  try {
    const wrapped = asWrapping(() => definition.wrap(wrapping, mechanism, plain));
    return { output: intoRoomExactly(args.room, wrapped.length, () => wrapped) };
  } finally {
    plain.fill(0);
  }
}

/**
 * The text on private keys: calls that use a key of CKA_ALWAYS_AUTHENTICATE without re-authentication are
 * CKR_USER_NOT_LOGGED_IN. These calls have no Init after which C_Login(CKU_CONTEXT_SPECIFIC) could come, so such a key
 * is never used by them.
 */
function mustNotAskForLogin(key: TokenObject): void {
  if (!key.flag(attr.ALWAYS_AUTHENTICATE)) return;
  refuse("CKR_USER_NOT_LOGGED_IN", "a key of CKA_ALWAYS_AUTHENTICATE: this call has no place for the PIN");
}

function mustBeWrappable(key: TokenObject, wrapping: TokenObject, definition: Definition): void {
  if (key.class === cls.PUBLIC_KEY) refuse("CKR_KEY_NOT_WRAPPABLE", "a public key is read, not wrapped");
  if (key.class === cls.PRIVATE_KEY && definition.wrapsPrivateKeys !== true) {
    refuse("CKR_KEY_NOT_WRAPPABLE", "the mechanism wraps secret keys only");
  }
  if (!key.flag(attr.EXTRACTABLE)) refuse("CKR_KEY_UNEXTRACTABLE");
  if (key.flag(attr.WRAP_WITH_TRUSTED) && !wrapping.flag(attr.TRUSTED)) {
    refuse("CKR_KEY_NOT_WRAPPABLE", "the key is only wrapped by a trusted key");
  }
  // 4.10: a wrapping key may say what the keys it wraps must be like.
  const demanded = wrapping.values.get(attr.WRAP_TEMPLATE);
  if (!Array.isArray(demanded) || !isTemplate(demanded)) return;
  const fits = demanded.every(({ type, value }) => sameValue(key.visible(type), value));
  if (!fits) refuse("CKR_KEY_HANDLE_INVALID", "the key does not fit CKA_WRAP_TEMPLATE of the wrapping key");
}

export function unwrapKey(app: Application, args: Args<"C_UnwrapKey">): Reply<"C_UnwrapKey"> {
  const session = app.session(args.session);
  const { mechanism } = args;
  const definition = ableTo(mechanism, "unwrap");
  const unwrapping = keyFor(app, session, args.unwrappingKey, "unwrap", mechanism, definition, {
    handle: "CKR_UNWRAPPING_KEY_HANDLE_INVALID",
    type: "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT",
  });
  mustNotAskForLogin(unwrapping);
  const template = readTemplate(args.template);
  checkAccess(session, template, true);
  const plain = asWrapping(() => definition.unwrap(unwrapping, mechanism, args.wrapped));
  const making: Making = {
    origin: "unwrap",
    template: args.template,
    made: unwrapped(template, definition, plain),
    demanded: unwrapping.values.get(attr.UNWRAP_TEMPLATE),
    isSo: session.token.role === "so",
  };
  plain.fill(0);
  return { key: addObjects(app, session, [assemble(making)])[0]! };
}

function unwrapped(template: Values, definition: Definition, plain: Uint8Array): KeyParts {
  const objectClass = codeIn(template, attr.CLASS);
  const type = codeIn(template, attr.KEY_TYPE);
  if (objectClass === undefined || type === undefined) {
    return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_CLASS and CKA_KEY_TYPE say what was wrapped");
  }
  if (objectClass === cls.SECRET_KEY) return secretParts(type, lengthIn(template), definition, plain);
  if (objectClass !== cls.PRIVATE_KEY)
    return refuse("CKR_TEMPLATE_INCONSISTENT", "only secret and private keys are wrapped");
  const parts = orRefuse("CKR_WRAPPED_KEY_INVALID", "not a PrivateKeyInfo", () =>
    decodePrivateKey(withoutZeroes(plain)),
  );
  if (parts === undefined) return refuse("CKR_WRAPPED_KEY_INVALID", "a kind of key that the token does not have");
  if (parts.keyType !== type) return refuse("CKR_TEMPLATE_INCONSISTENT", "the wrapped key is of another CKA_KEY_TYPE");
  return parts;
}

/** SoftHSM fills a PrivateKeyInfo up with zeroes to whole blocks before it wraps it. */
function withoutZeroes(plain: Uint8Array): Uint8Array {
  const { whole } = readTlv(new Reader(plain));
  return plain.subarray(whole.length).every((byte) => byte === 0) ? plain.subarray(0, whole.length) : plain;
}

function lengthIn(template: Values): number | undefined {
  const length = template.get(attr.VALUE_LEN);
  return length === undefined ? undefined : small(length as Ulong);
}

function secretParts(type: number, length: number | undefined, definition: Definition, plain: Uint8Array): KeyParts {
  const isCut = definition.isZeroPadded === true && length !== undefined && length <= plain.length;
  const value = new Uint8Array(isCut ? plain.subarray(0, length) : plain);
  if (length !== undefined && value.length !== length) {
    return refuse("CKR_WRAPPED_KEY_LEN_RANGE", `CKA_VALUE_LEN is ${length}, the wrapped key has ${value.length} bytes`);
  }
  return { keyType: type, values: new Map(), secrets: new Map([[attr.VALUE, value]]) };
}

export function deriveKey(app: Application, args: Args<"C_DeriveKey">): Reply<"C_DeriveKey"> {
  const session = app.session(args.session);
  const { mechanism } = args;
  const definition = ableTo(mechanism, "derive");
  const base = keyFor(app, session, args.baseKey, "derive", mechanism, definition);
  mustNotAskForLogin(base);
  const template = readTemplate(args.template);
  const isData = definition.derivesData === true;
  if (!isData) checkAccess(session, template, true);
  const type = codeIn(template, attr.KEY_TYPE) ?? keyType.GENERIC_SECRET;
  const length = lengthIn(template);
  if (type === keyType.AES && length === undefined)
    return refuse("CKR_TEMPLATE_INCOMPLETE", "CKA_VALUE_LEN is missing");
  const { value, others = [] } = definition.derive(base, mechanism, {
    keyType: type,
    length,
    key: (handle) => otherKey(app, session, handle, args),
  });
  if (isData) return { key: addData(app, session, args.template, value) };
  const sources = [base, ...others];
  const making: Making = {
    origin: "derive",
    template: definition.inheritsSecrecy === true ? inheriting(args.template, sources) : args.template,
    implied: new Map([
      [attr.CLASS, cls.SECRET_KEY],
      [attr.KEY_TYPE, type],
    ]),
    made: { values: new Map(), secrets: new Map([[attr.VALUE, new Uint8Array(value)]]) },
    demanded: base.values.get(attr.DERIVE_TEMPLATE),
    lineage: {
      alwaysSensitive: sources.every((source) => source.flag(attr.ALWAYS_SENSITIVE)),
      neverExtractable: sources.every((source) => source.flag(attr.NEVER_EXTRACTABLE)),
    },
    isSo: session.token.role === "so",
  };
  return { key: addObjects(app, session, [assemble(making)])[0]! };
}

/** The second key of a derivation, which must allow the same. */
function otherKey(app: Application, session: Session, handle: Ulong, args: Args<"C_DeriveKey">): TokenObject {
  const key = getKey(app, session, handle);
  if (key.class !== cls.SECRET_KEY) return refuse("CKR_KEY_TYPE_INCONSISTENT");
  if (!key.flag(attr.DERIVE)) return refuse("CKR_KEY_FUNCTION_NOT_PERMITTED");
  mustAllow(key, args.mechanism);
  return key;
}

/** 6.43.3: sensitive if one source is, extractable only if all are. */
function inheriting(template: readonly Attribute[], sources: readonly TokenObject[]): Attribute[] {
  const given = new Map(template.map(({ type, value }) => [type, value]));
  const rules: readonly (readonly [type: number, applies: boolean, value: boolean])[] = [
    [attr.SENSITIVE, sources.some((source) => source.flag(attr.SENSITIVE)), true],
    [attr.EXTRACTABLE, sources.some((source) => !source.flag(attr.EXTRACTABLE)), false],
  ];
  for (const [type, applies, value] of rules) {
    if (!applies) continue;
    if (given.has(type) && given.get(type) !== value) {
      refuse("CKR_TEMPLATE_INCONSISTENT", "the key would be less closed than those it is made of");
    }
    given.set(type, value);
  }
  return [...given].map(([type, value]) => ({ type, value }));
}

/** 6.62.5: the derived bytes as a data object. */
function addData(app: Application, session: Session, template: readonly Attribute[], value: Uint8Array): number {
  const drop = new Set([attr.CLASS, attr.VALUE_LEN, attr.KEY_TYPE]);
  const whole: Attribute[] = [
    ...template.filter(({ type }) => !drop.has(type)),
    { type: attr.CLASS, value: cls.DATA },
    { type: attr.VALUE, value: new Uint8Array(value) },
  ];
  const draft = assemble({ origin: "create", template: whole, isSo: session.token.role === "so" });
  return addObjects(app, session, [draft])[0]!;
}

/** The secret of an encapsulation becomes a key by the caller's template. */
function addShared(
  app: Application,
  session: Session,
  template: readonly Attribute[],
  secret: Uint8Array,
  demanded: AttributeValue | undefined,
): number {
  const given = readTemplate(template);
  const length = lengthIn(given);
  if (length !== undefined && length !== secret.length)
    return refuse(
      "CKR_TEMPLATE_INCONSISTENT",
      `CKA_VALUE_LEN is ${length}, the shared secret has ${secret.length} bytes`,
    );
  const making: Making = {
    origin: "unwrap",
    template,
    implied: new Map([
      [attr.CLASS, cls.SECRET_KEY],
      [attr.KEY_TYPE, codeIn(given, attr.KEY_TYPE) ?? keyType.GENERIC_SECRET],
    ]),
    made: { values: new Map(), secrets: new Map([[attr.VALUE, secret]]) },
    demanded,
    isSo: session.token.role === "so",
  };
  return addObjects(app, session, [assemble(making)])[0]!;
}

export function encapsulateKey(app: Application, args: Args<"C_EncapsulateKey">): Reply<"C_EncapsulateKey"> {
  const session = app.session(args.session);
  const definition = ableTo(args.mechanism, "encapsulate");
  const publicKey = keyFor(app, session, args.publicKey, "encapsulate", args.mechanism, definition);
  checkAccess(session, readTemplate(args.template), true);
  const needed = definition.encapsulationLength!(publicKey);
  // No key is made before there is room for what belongs to it.
  if (args.room === null || args.room < needed) return { output: { needed }, key: 0 };
  const { secret, ciphertext } = definition.encapsulate(publicKey);
  const demanded = publicKey.values.get(attr.ENCAPSULATE_TEMPLATE);
  return { output: { bytes: ciphertext }, key: addShared(app, session, args.template, secret, demanded) };
}

export function decapsulateKey(app: Application, args: Args<"C_DecapsulateKey">): Reply<"C_DecapsulateKey"> {
  const session = app.session(args.session);
  const definition = ableTo(args.mechanism, "decapsulate");
  const privateKey = keyFor(app, session, args.privateKey, "decapsulate", args.mechanism, definition);
  mustNotAskForLogin(privateKey);
  checkAccess(session, readTemplate(args.template), true);
  const secret = definition.decapsulate(privateKey, args.ciphertext);
  const demanded = privateKey.values.get(attr.DECAPSULATE_TEMPLATE);
  return { key: addShared(app, session, args.template, secret, demanded) };
}
