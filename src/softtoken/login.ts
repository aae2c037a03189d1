/**
 * PINs and what they open.
 *
 * A token has a random data key, under which secrets are sealed, and a random row key, under which public rows carry a
 * MAC. Both are wrapped under the user PIN. Under the SO PIN are wrapped the row key and, unless the token was made
 * with `soRecovery: false`, the data key: only so can the SO give the user a new PIN, and so the SO PIN alone opens the
 * file. A try is taken off durably before a PIN is looked at, and given back when it was right; that it was wrong is noted
 * before anybody is told.
 * @module
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { concat, sameBytes, utf8 } from "../codec/bytes.ts";
import type { Awaitable } from "../cryptoki/port.ts";
import { subkey } from "../seal/envelope.ts";
import { unwrapUnderPin, wrapCost, wrapUnderPin } from "../seal/scrypt.ts";
import { PIN_LENGTH } from "./identity.ts";
import { refuse } from "./refusal.ts";
import type { Patience } from "./store/patience.ts";
import {
  debitTry,
  findToken,
  noteRefusal,
  type PinOwner,
  restoreTries,
  setWrap,
  type TokenRow,
} from "./store/tokens.ts";

const KEY_LENGTH = 32;

/** What a PIN opens. */
export interface TokenSecret {
  /** 32 bytes; public rows are authenticated under a key made from it. */
  readonly rowKey: Uint8Array;
  /** 32 bytes; absent for the SO of a token without recovery. */
  readonly dataKey: Uint8Array | undefined;
}

/** The keys in use while somebody is logged in. */
export interface TokenKeys {
  readonly rows: Uint8Array;
  /** Absent for the SO. */
  readonly seal: Uint8Array | undefined;
  readonly index: Uint8Array | undefined;
}

/** A login that holds: what the PIN opened, shared by the applications of this process until the last lets go. */
export interface Lease {
  readonly secret: TokenSecret;
  readonly keys: TokenKeys;
  release(): void;
}

export function newSecret(withData: boolean): TokenSecret {
  return { rowKey: randomBytes(KEY_LENGTH), dataKey: withData ? randomBytes(KEY_LENGTH) : undefined };
}

/** @throws Refusal CKR_PIN_LEN_RANGE */
export function checkNewPin(pin: Uint8Array | null): Uint8Array {
  if (pin === null) return refuse("CKR_ARGUMENTS_BAD", "a PIN is needed: this token has no PIN pad");
  if (pin.length < PIN_LENGTH.least || pin.length > PIN_LENGTH.most) {
    return refuse("CKR_PIN_LEN_RANGE", `${pin.length} bytes, ${PIN_LENGTH.least} to ${PIN_LENGTH.most} are taken`);
  }
  return pin;
}

type Identity = Pick<TokenRow, "serial" | "generation">;

function context(token: Identity, owner: PinOwner): Uint8Array {
  return utf8(`${token.serial}/${token.generation}/${owner}`);
}

/** Wraps a token's secret under a PIN. @param cost log2 of scrypt's N */
export async function wrapSecret(
  token: Identity,
  owner: PinOwner,
  pin: Uint8Array,
  secret: TokenSecret,
  cost: number,
): Promise<Uint8Array> {
  const plain = concat(secret.rowKey, secret.dataKey ?? new Uint8Array(0));
  const wrap = await wrapUnderPin(pin, plain, cost, context(token, owner));
  plain.fill(0);
  return wrap;
}

/** A PIN that was right, kept while it is in use: another login with it needs no scrypt. */
interface Remembered {
  readonly wrap: Uint8Array;
  readonly hmacKey: Uint8Array;
  readonly digest: Uint8Array;
  readonly secret: TokenSecret;
  readonly keys: TokenKeys;
  holders: number;
}

const remembered = new Map<string, Remembered>();

function lease(name: string, entry: Remembered): Lease {
  entry.holders += 1;
  let held = true;
  return {
    secret: entry.secret,
    keys: entry.keys,
    release() {
      if (!held) return;
      held = false;
      entry.holders -= 1;
      if (entry.holders > 0) return;
      if (remembered.get(name) === entry) remembered.delete(name);
      const { secret, keys } = entry;
      for (const key of [secret.rowKey, secret.dataKey, keys.rows, keys.seal, keys.index]) key?.fill(0);
    },
  };
}

function pinDigest(hmacKey: Uint8Array, pin: Uint8Array): Uint8Array {
  return createHmac("sha256", hmacKey).update(pin).digest();
}

/**
 * Opens a token with a PIN; at once when the same PIN holds in this process, else by scrypt.
 * @param token the row as read just now
 * @param cost what the PIN's wrap is made to cost from now on, as log2 of scrypt's N, when it costs less
 * @throws Refusal CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_USER_PIN_NOT_INITIALIZED, CKR_DEVICE_REMOVED
 */
export function openWithPin(
  patience: Patience,
  token: TokenRow,
  owner: PinOwner,
  pin: Uint8Array | null,
  cost: number,
): Awaitable<Lease> {
  if (pin === null) return refuse("CKR_ARGUMENTS_BAD", "a PIN is needed: this token has no PIN pad");
  const wrap = owner === "so" ? token.soWrap : token.userWrap;
  const left = owner === "so" ? token.soLeft : token.userLeft;
  if (wrap === undefined) return refuse("CKR_USER_PIN_NOT_INITIALIZED");
  if (left <= 0) return refuse("CKR_PIN_LOCKED");
  const name = `${patience.db.path}/${token.serial}/${token.generation}/${owner}`;
  const known = remembered.get(name);
  if (known !== undefined && sameBytes(known.wrap, wrap)) {
    if (timingSafeEqual(pinDigest(known.hmacKey, pin), known.digest)) {
      if (left < token.tries) restoreTries(patience.db, token, owner);
      return lease(name, known);
    }
  }
  const copy = Uint8Array.from(pin);
  return openByScrypt(patience, { token, owner, wrap, name, cost }, copy).finally(() => copy.fill(0));
}

interface Opening {
  readonly token: TokenRow;
  readonly owner: PinOwner;
  readonly wrap: Uint8Array;
  readonly name: string;
  readonly cost: number;
}

async function openByScrypt(patience: Patience, opening: Opening, pin: Uint8Array): Promise<Lease> {
  const { token, owner, name } = opening;
  const { db } = patience;
  if (!(await patience.write(() => debitTry(db, token, owner)))) {
    const now = findToken(db, token.slot);
    if (now?.generation !== token.generation || now.serial !== token.serial) return refuse("CKR_DEVICE_REMOVED");
    return refuse("CKR_PIN_LOCKED");
  }
  const plain = await unwrapUnderPin(pin, opening.wrap, context(token, owner));
  if (plain === undefined) {
    await patience.write(() => noteRefusal(db, token, owner));
    return refuse("CKR_PIN_INCORRECT");
  }
  await patience.write(() => restoreTries(db, token, owner));
  const secret: TokenSecret = {
    rowKey: new Uint8Array(plain.subarray(0, KEY_LENGTH)),
    dataKey: plain.length > KEY_LENGTH ? new Uint8Array(plain.subarray(KEY_LENGTH)) : undefined,
  };
  plain.fill(0);
  const wrap = await upgraded(patience, opening, pin, secret);
  const opened = owner === "user" ? secret.dataKey : undefined;
  const entry: Remembered = {
    wrap,
    ...pinMemory(pin),
    secret,
    keys: {
      rows: subkey(secret.rowKey, "keywright softtoken rows"),
      seal: opened && subkey(opened, "keywright softtoken seal"),
      index: opened && subkey(opened, "keywright softtoken index"),
    },
    holders: 0,
  };
  remembered.set(name, entry);
  return lease(name, entry);
}

/** Makes a wrap of a lower cost anew; one that was replaced meanwhile is left alone. */
async function upgraded(
  patience: Patience,
  opening: Opening,
  pin: Uint8Array,
  secret: TokenSecret,
): Promise<Uint8Array> {
  const { token, owner, wrap, cost } = opening;
  if (wrapCost(wrap) >= cost) return wrap;
  const dearer = await wrapSecret(token, owner, pin, secret, cost);
  const isSet = await patience.write(() => setWrap(patience.db, token, owner, dearer, wrap));
  return isSet ? dearer : wrap;
}

function pinMemory(pin: Uint8Array): { hmacKey: Uint8Array; digest: Uint8Array } {
  const hmacKey = randomBytes(KEY_LENGTH);
  return { hmacKey, digest: pinDigest(hmacKey, pin) };
}
