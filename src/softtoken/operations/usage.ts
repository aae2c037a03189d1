/**
 * Whether a key may be used as asked: its class and type, its CKA_SIGN and the like, CKA_ALLOWED_MECHANISMS.
 * @module
 */
import type { Mechanism, Ulong } from "../../cryptoki/port.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import type { ReturnName } from "../../spec/returns.ts";
import type { Application, Session } from "../application.ts";
import { attr, cls } from "../codes.ts";
import type { Definition } from "../mechanisms/definition.ts";
import { type Ability, definitionOf } from "../mechanisms/table.ts";
import { findByHandle } from "../objects/access.ts";
import type { TokenObject } from "../objects/object.ts";
import { refuse } from "../refusal.ts";

/** What is done with a key: the attribute that allows it, and which half of a pair does it. */
const USES = {
  encrypt: [attr.ENCRYPT, cls.PUBLIC_KEY],
  decrypt: [attr.DECRYPT, cls.PRIVATE_KEY],
  sign: [attr.SIGN, cls.PRIVATE_KEY],
  verify: [attr.VERIFY, cls.PUBLIC_KEY],
  signRecover: [attr.SIGN_RECOVER, cls.PRIVATE_KEY],
  verifyRecover: [attr.VERIFY_RECOVER, cls.PUBLIC_KEY],
  wrap: [attr.WRAP, cls.PUBLIC_KEY],
  unwrap: [attr.UNWRAP, cls.PRIVATE_KEY],
  derive: [attr.DERIVE, cls.PRIVATE_KEY],
  encapsulate: [attr.ENCAPSULATE, cls.PUBLIC_KEY],
  decapsulate: [attr.DECAPSULATE, cls.PRIVATE_KEY],
} as const satisfies { readonly [A in Ability]?: readonly [number, number] };

export type Use = keyof typeof USES;

/** The return values that say which key is wrong, where the standard has some of their own. */
export interface KeyErrors {
  readonly handle: ReturnName;
  readonly type: ReturnName;
}

const KEY_ERRORS: KeyErrors = { handle: "CKR_KEY_HANDLE_INVALID", type: "CKR_KEY_TYPE_INCONSISTENT" };

/** The definition of a mechanism that can do this. @throws Refusal CKR_MECHANISM_INVALID */
export function ableTo<A extends Ability>(
  mechanism: Mechanism,
  ability: A,
): Definition & Required<Pick<Definition, A>> {
  const definition = definitionOf(mechanism.type);
  if (definition[ability] === undefined)
    return refuse("CKR_MECHANISM_INVALID", `${ability} is not among its operations`);
  return definition as Definition & Required<Pick<Definition, A>>;
}

/** The key of a handle. @throws Refusal CKR_KEY_HANDLE_INVALID */
export function getKey(app: Application, session: Session, handle: Ulong, errors: KeyErrors = KEY_ERRORS): TokenObject {
  const key = findByHandle(app, session, handle);
  if (key === undefined) return refuse(errors.handle);
  const { class: objectClass } = key;
  const isKey = objectClass === cls.PUBLIC_KEY || objectClass === cls.PRIVATE_KEY || objectClass === cls.SECRET_KEY;
  return isKey ? key : refuse(errors.handle, "the object is not a key");
}

/**
 * The key of a handle, for a use with a mechanism.
 * @throws Refusal CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT, CKR_KEY_FUNCTION_NOT_PERMITTED,
 *   CKR_MECHANISM_INVALID when CKA_ALLOWED_MECHANISMS leaves it out
 */
export function keyFor(
  app: Application,
  session: Session,
  handle: Ulong,
  use: Use,
  mechanism: Mechanism,
  definition: Definition,
  errors: KeyErrors = KEY_ERRORS,
): TokenObject {
  const key = getKey(app, session, handle, errors);
  const [allowing, half] = USES[use];
  const expected = definition.isSymmetric === true ? cls.SECRET_KEY : half;
  if (key.class !== expected || definition.keyTypes?.includes(key.keyType!) === false) {
    return refuse(errors.type, `the key is not one for ${mechanismName(mechanism.type)}`);
  }
  if (!key.flag(allowing)) return refuse("CKR_KEY_FUNCTION_NOT_PERMITTED");
  mustAllow(key, mechanism);
  return key;
}

/** 4.8: a key may name the mechanisms it can be used with. */
export function mustAllow(key: TokenObject, mechanism: Mechanism): void {
  const allowed = key.values.get(attr.ALLOWED_MECHANISMS);
  if (!Array.isArray(allowed) || allowed.length === 0) return;
  if (!(allowed as readonly Ulong[]).includes(mechanism.type)) {
    refuse("CKR_MECHANISM_INVALID", "CKA_ALLOWED_MECHANISMS of the key leaves it out");
  }
}
