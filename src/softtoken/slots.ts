/**
 * Slots and tokens: what they say of themselves, C_InitToken. One slot per token, whose number stays, and always one
 * more that holds a token not yet initialised. PKCS#11 3.1, 5.5.
 * @module
 */
import { randomBytes } from "node:crypto";
import { fromUtf8 } from "../codec/bytes.ts";
import type { Args, PinCount, Reply, Structure, Ulong } from "../cryptoki/port.ts";
import { small } from "../cryptoki/ulong.ts";
import { SLOT_FLAGS, TOKEN_FLAGS } from "../spec/flags.ts";
import { EFFECTIVELY_INFINITE, UNAVAILABLE_INFORMATION } from "../spec/structures.ts";
import type { Application } from "./application.ts";
import { IDENTITY, PIN_LENGTH } from "./identity.ts";
import { checkNewPin, newSecret, openWithPin, wrapSecret } from "./login.ts";
import { mechanismCodes, mechanismInfo } from "./mechanisms/table.ts";
import { refuse } from "./refusal.ts";
import {
  findToken,
  freeSlot,
  insertToken,
  listTokens,
  type NewToken,
  renewToken,
  type TokenRow,
} from "./store/tokens.ts";

const LABEL_LENGTH = 32;
const SERIAL_BYTES = 8;

export function getInfo(): Reply<"C_GetInfo"> {
  return {
    info: {
      cryptokiVersion: IDENTITY.cryptokiVersion,
      manufacturerID: IDENTITY.manufacturer,
      flags: 0,
      libraryDescription: IDENTITY.library,
      libraryVersion: IDENTITY.libraryVersion,
    },
  };
}

/** Every slot has a token in it, even if it is not initialised. */
export function getSlotList(app: Application): Reply<"C_GetSlotList"> {
  return app.db.snapshot(() => ({ slots: [...listTokens(app.db).map((row) => row.slot), freeSlot(app.db)] }));
}

/** The token of a slot; undefined for the one not yet initialised. @throws Refusal CKR_SLOT_ID_INVALID */
export function tokenOf(app: Application, wanted: Ulong): TokenRow | undefined {
  const slot = small(wanted);
  const row = findToken(app.db, slot);
  if (row === undefined && slot !== freeSlot(app.db)) return refuse("CKR_SLOT_ID_INVALID");
  return row;
}

/** What is known of a role's tries; undefined for a token or PIN that is not there. */
export function pinTries(app: Application, slot: Ulong, role: "USER" | "SO"): PinCount | undefined {
  const row = findToken(app.db, small(slot));
  if (row === undefined) return undefined;
  if (role === "SO") return { left: row.soLeft, refused: row.soRefused };
  return row.userWrap === undefined ? undefined : { left: row.userLeft, refused: row.userRefused };
}

export function getSlotInfo(app: Application, args: Args<"C_GetSlotInfo">): Reply<"C_GetSlotInfo"> {
  tokenOf(app, args.slot);
  return {
    info: {
      slotDescription: `${IDENTITY.slot} ${args.slot}`,
      manufacturerID: IDENTITY.manufacturer,
      flags: SLOT_FLAGS.CKF_TOKEN_PRESENT[0],
      hardwareVersion: IDENTITY.hardwareVersion,
      firmwareVersion: IDENTITY.firmwareVersion,
    },
  };
}

export function getTokenInfo(app: Application, args: Args<"C_GetTokenInfo">): Reply<"C_GetTokenInfo"> {
  const row = tokenOf(app, args.slot);
  const sessions = [...(app.tokens.get(small(args.slot))?.sessions ?? [])];
  const info: Structure<"tokenInfo"> = {
    label: row === undefined ? "" : fromUtf8(row.label).trimEnd(),
    manufacturerID: IDENTITY.manufacturer,
    model: IDENTITY.model,
    serialNumber: row?.serial ?? "",
    flags: tokenFlags(row),
    maxSessionCount: EFFECTIVELY_INFINITE,
    sessionCount: sessions.length,
    maxRwSessionCount: EFFECTIVELY_INFINITE,
    rwSessionCount: sessions.filter((session) => session.isReadWrite).length,
    maxPinLen: PIN_LENGTH.most,
    minPinLen: PIN_LENGTH.least,
    totalPublicMemory: UNAVAILABLE_INFORMATION,
    freePublicMemory: UNAVAILABLE_INFORMATION,
    totalPrivateMemory: UNAVAILABLE_INFORMATION,
    freePrivateMemory: UNAVAILABLE_INFORMATION,
    hardwareVersion: IDENTITY.hardwareVersion,
    firmwareVersion: IDENTITY.firmwareVersion,
    utcTime: "",
  };
  return { info };
}

function tokenFlags(row: TokenRow | undefined): number {
  const f = TOKEN_FLAGS;
  let flags = f.CKF_RNG[0] | f.CKF_LOGIN_REQUIRED[0] | f.CKF_DUAL_CRYPTO_OPERATIONS[0];
  if (row === undefined) return flags;
  flags |= f.CKF_TOKEN_INITIALIZED[0];
  if (row.userWrap !== undefined) {
    flags |= f.CKF_USER_PIN_INITIALIZED[0];
    if (row.userLeft < row.tries) flags |= f.CKF_USER_PIN_COUNT_LOW[0];
    if (row.userLeft === 1) flags |= f.CKF_USER_PIN_FINAL_TRY[0];
    if (row.userLeft <= 0) flags |= f.CKF_USER_PIN_LOCKED[0];
  }
  if (row.soLeft < row.tries) flags |= f.CKF_SO_PIN_COUNT_LOW[0];
  if (row.soLeft === 1) flags |= f.CKF_SO_PIN_FINAL_TRY[0];
  if (row.soLeft <= 0) flags |= f.CKF_SO_PIN_LOCKED[0];
  return flags;
}

export function getMechanismList(app: Application, args: Args<"C_GetMechanismList">): Reply<"C_GetMechanismList"> {
  tokenOf(app, args.slot);
  return { mechanisms: mechanismCodes() };
}

export function getMechanismInfo(app: Application, args: Args<"C_GetMechanismInfo">): Reply<"C_GetMechanismInfo"> {
  tokenOf(app, args.slot);
  return { info: mechanismInfo(small(args.type)) };
}

/** 5.5.7. On a token that is there it takes the SO PIN and destroys every object. */
export async function initToken(app: Application, args: Args<"C_InitToken">): Promise<Reply<"C_InitToken">> {
  const label = Buffer.alloc(LABEL_LENGTH, " ");
  if (args.label.length > LABEL_LENGTH) return refuse("CKR_ARGUMENTS_BAD", "a label of more than 32 bytes");
  label.set(args.label);
  app.refresh();
  const before = tokenOf(app, args.slot);
  if (app.tokens.has(small(args.slot))) return refuse("CKR_SESSION_EXISTS");
  // A PIN that is out of bounds cannot be right; for a token that is there it costs a try like any other.
  const given = before === undefined ? checkNewPin(args.pin) : (args.pin ?? checkNewPin(null));
  const pin = Uint8Array.from(given);
  try {
    await makeToken(app, small(args.slot), label, pin, before);
  } finally {
    pin.fill(0);
  }
  return {};
}

async function makeToken(
  app: Application,
  slot: number,
  label: Uint8Array,
  pin: Uint8Array,
  before: TokenRow | undefined,
): Promise<void> {
  const { settings } = app;
  if (before !== undefined) (await openWithPin(app.patience, before, "so", pin, settings.scryptCost)).release();
  const token = {
    slot,
    serial: before?.serial ?? randomBytes(SERIAL_BYTES).toString("hex"),
    generation: (before?.generation ?? 0) + 1,
  };
  const secret = newSecret(settings.soRecovery);
  const soWrap = await wrapSecret(token, "so", pin, secret, settings.scryptCost);
  const tries = settings.pinTries;
  const row: NewToken = { ...token, label, tries, soWrap, soLeft: tries, userWrap: undefined, userLeft: tries };
  await app.patience.write(() => {
    if (before !== undefined) {
      if (!renewToken(app.db, row)) refuse("CKR_DEVICE_REMOVED", "the token was initialised elsewhere meanwhile");
      return;
    }
    app.db.transaction(() => {
      if (row.slot !== freeSlot(app.db)) refuse("CKR_SLOT_ID_INVALID", "the slot was taken meanwhile");
      insertToken(app.db, row);
    });
  });
}
