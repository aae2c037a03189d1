/**
 * Sessions, logins and PINs. PKCS#11 3.1, 5.5.8, 5.5.9 and 5.6.
 * @module
 */

import { after } from "../cryptoki/awaitable.ts";
import type { Args, Awaitable, Reply } from "../cryptoki/port.ts";
import { small } from "../cryptoki/ulong.ts";
import { hasFlag, SESSION_FLAGS } from "../spec/flags.ts";
import { type Application, type Session, sessionState } from "./application.ts";
import { user } from "./codes.ts";
import { checkNewPin, type Lease, newSecret, openWithPin, wrapSecret } from "./login.ts";
import { Refusal, refuse } from "./refusal.ts";
import { tokenOf } from "./slots.ts";
import { findToken, type PinOwner, setWrap, type TokenRow } from "./store/tokens.ts";

export function openSession(app: Application, args: Args<"C_OpenSession">): Reply<"C_OpenSession"> {
  const flags = small(args.flags);
  if (!hasFlag(flags, SESSION_FLAGS.CKF_SERIAL_SESSION[0])) return refuse("CKR_SESSION_PARALLEL_NOT_SUPPORTED");
  if (hasFlag(flags, SESSION_FLAGS.CKF_ASYNC_SESSION[0])) return refuse("CKR_SESSION_ASYNC_NOT_SUPPORTED");
  app.refresh();
  const row = tokenOf(app, args.slot) ?? refuse("CKR_TOKEN_NOT_RECOGNIZED", "the token is not initialised");
  const isReadWrite = hasFlag(flags, SESSION_FLAGS.CKF_RW_SESSION[0]);
  if (!isReadWrite && app.tokens.get(row.slot)?.role === "so") return refuse("CKR_SESSION_READ_WRITE_SO_EXISTS");
  return { session: app.openSession(row, isReadWrite).handle };
}

export function closeSession(app: Application, args: Args<"C_CloseSession">): Reply<"C_CloseSession"> {
  const session = app.sessions.get(args.session as number) ?? refuse("CKR_SESSION_HANDLE_INVALID");
  app.closeSession(session);
  return {};
}

export function closeAllSessions(app: Application, args: Args<"C_CloseAllSessions">): Reply<"C_CloseAllSessions"> {
  const sessions = [...app.sessions.values()].filter((session) => session.token.slot === small(args.slot));
  if (sessions.length === 0) tokenOf(app, args.slot);
  for (const session of sessions) app.closeSession(session);
  return {};
}

export function getSessionInfo(app: Application, args: Args<"C_GetSessionInfo">): Reply<"C_GetSessionInfo"> {
  const session = app.ongoing(args.session);
  const readWrite = session.isReadWrite ? SESSION_FLAGS.CKF_RW_SESSION[0] : 0;
  const flags = SESSION_FLAGS.CKF_SERIAL_SESSION[0] | readWrite;
  return { info: { slotID: session.token.slot, state: sessionState(session), flags, deviceError: 0 } };
}

/** The token's row as it is now. @throws Refusal CKR_DEVICE_REMOVED */
function rowNow(app: Application, session: Session): TokenRow {
  return findToken(app.db, session.token.slot) ?? refuse("CKR_DEVICE_REMOVED");
}

export function login(app: Application, args: Args<"C_Login">): Awaitable<Reply<"C_Login">> {
  const session = app.session(args.session);
  const { token } = session;
  const type = small(args.userType);
  if (type === user.CONTEXT_SPECIFIC) return loginForOperation(app, session, args.pin);
  if (type !== user.USER && type !== user.SO) return refuse("CKR_USER_TYPE_INVALID");
  const owner: PinOwner = type === user.SO ? "so" : "user";
  const check = () => {
    if (token.role === owner) refuse("CKR_USER_ALREADY_LOGGED_IN");
    if (token.role !== "public") refuse("CKR_USER_ANOTHER_ALREADY_LOGGED_IN");
    if (owner === "so" && [...token.sessions].some((s) => !s.isReadWrite)) refuse("CKR_SESSION_READ_ONLY_EXISTS");
  };
  check();
  return after(
    () => openWithPin(app.patience, rowNow(app, session), owner, args.pin, app.settings.scryptCost),
    (lease) => {
      // Much may have happened while the PIN was looked at.
      try {
        app.session(args.session);
        check();
      } catch (error) {
        lease.release();
        throw error;
      }
      token.login(owner, lease);
      return {};
    },
  );
}

/** 5.6.8: for one operation with a key of CKA_ALWAYS_AUTHENTICATE. */
function loginForOperation(app: Application, session: Session, pin: Uint8Array | null): Awaitable<Reply<"C_Login">> {
  const active = session.operations.awaitingLogin() ?? refuse("CKR_OPERATION_NOT_INITIALIZED");
  if (session.token.role !== "user") return refuse("CKR_USER_NOT_LOGGED_IN");
  return after(
    () => openWithPin(app.patience, rowNow(app, session), "user", pin, app.settings.scryptCost),
    (lease) => {
      lease.release();
      active.awaitsLogin = false;
      return {};
    },
    (error) => {
      // The text on private keys: a PIN that is locked by re-authentication ends the login too.
      if (error instanceof Refusal && error.rv === "CKR_PIN_LOCKED") session.token.logout();
      throw error;
    },
  );
}

export function logout(app: Application, args: Args<"C_Logout">): Reply<"C_Logout"> {
  const { token } = app.session(args.session);
  if (token.role === "public") return refuse("CKR_USER_NOT_LOGGED_IN");
  token.logout();
  return {};
}

/** 5.5.8: the SO gives the user a PIN. */
export async function initPin(app: Application, args: Args<"C_InitPIN">): Promise<Reply<"C_InitPIN">> {
  const { token } = app.session(args.session);
  const { lease } = token;
  if (token.role !== "so" || lease === undefined) return refuse("CKR_USER_NOT_LOGGED_IN", "the SO must be logged in");
  const pin = Uint8Array.from(checkNewPin(args.pin));
  const row = findToken(app.db, token.slot) ?? refuse("CKR_DEVICE_REMOVED");
  // Without recovery the SO cannot open the data key. The first user PIN makes it: nothing is sealed yet.
  if (lease.secret.dataKey === undefined && row.userWrap !== undefined) {
    return refuse("CKR_FUNCTION_REJECTED", "the token was made without SO recovery: the SO cannot reset the user PIN");
  }
  const dataKey = lease.secret.dataKey ?? newSecret(true).dataKey;
  try {
    await replaceWrap(app, row, "user", pin, { rowKey: lease.secret.rowKey, dataKey });
  } finally {
    pin.fill(0);
  }
  return {};
}

/** 5.5.9: changes the PIN of whoever is logged in, or the user's when nobody is. */
export async function setPin(app: Application, args: Args<"C_SetPIN">): Promise<Reply<"C_SetPIN">> {
  const session = app.session(args.session);
  if (!session.isReadWrite) return refuse("CKR_SESSION_READ_ONLY");
  const owner: PinOwner = session.token.role === "so" ? "so" : "user";
  const pin = Uint8Array.from(checkNewPin(args.newPin));
  const row = rowNow(app, session);
  // The old wrap is about to go, so it is not made to cost more.
  const lease: Lease = await openWithPin(app.patience, row, owner, args.oldPin, 0);
  try {
    await replaceWrap(app, row, owner, pin, lease.secret, owner === "so" ? row.soWrap : row.userWrap);
  } finally {
    lease.release();
    pin.fill(0);
  }
  return {};
}

async function replaceWrap(
  app: Application,
  row: TokenRow,
  owner: PinOwner,
  pin: Uint8Array,
  secret: Lease["secret"],
  before?: Uint8Array,
): Promise<void> {
  const wrap = await wrapSecret(row, owner, pin, secret, app.settings.scryptCost);
  await app.patience.write(() => {
    if (setWrap(app.db, row, owner, wrap, before)) return;
    const now = findToken(app.db, row.slot);
    if (now?.serial !== row.serial || now.generation !== row.generation) refuse("CKR_DEVICE_REMOVED");
    refuse("CKR_FUNCTION_FAILED", "another process changed the PIN meanwhile");
  });
}
