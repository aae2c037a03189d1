/**
 * Sessions and objects that are gone: how that shows, and what is said of what cannot go on.
 * @module
 */
import { type CryptokiError, failedWith, KeywrightError } from "../errors.ts";

/**
 * A call whose session is gone, and that is not repeated: the session could not be made anew, or nobody knows whether the
 * call was carried out.
 */
export class SessionLostError extends KeywrightError {
  override readonly code = "ERR_SESSION_LOST";
  /** Whether the session was made anew, so that the next call works. */
  readonly isUsable: boolean;

  /** @internal */
  constructor(message: string, options: { isUsable: boolean; cause: unknown; hints: readonly string[] }) {
    super(message, options);
    this.isUsable = options.isUsable;
  }
}

/** An object that is not to be found again in a session that was made anew. */
export class ObjectLostError extends KeywrightError {
  override readonly code = "ERR_OBJECT_LOST";
}

/** Whether the session of a call is gone, of one that was answered with this error. */
export function isGone(error: unknown): error is CryptokiError {
  return failedWith(error, "CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED") || isTokenGone(error);
}

/** Whether every session with the token is gone, as PKCS#11 has it for these. */
export function isTokenGone(error: unknown): error is CryptokiError {
  return failedWith(error, "CKR_DEVICE_REMOVED", "CKR_TOKEN_NOT_PRESENT", "CKR_CRYPTOKI_NOT_INITIALIZED");
}

/** Whether the session may be gone: some modules say no more when their token or their peer is. */
export function mayBeGone(error: unknown): error is CryptokiError {
  return isGone(error) || failedWith(error, "CKR_DEVICE_ERROR", "CKR_GENERAL_ERROR");
}

/** @param why what failed when it was to be made anew */
export function notMadeAnew(error: CryptokiError, uri: string, why: unknown): SessionLostError {
  const hints = why instanceof KeywrightError ? why.hints : [];
  const reason = why instanceof Error ? why.message : String(why);
  return new SessionLostError(`${error.message}; the session with ${uri} cannot be made anew: ${reason}`, {
    isUsable: false,
    cause: why,
    hints,
  });
}

/** @param why why the call is not repeated, such as "whether it was done is not known" */
export function notRepeated(error: CryptokiError, why: string): SessionLostError {
  return new SessionLostError(`${error.message}; ${why}`, {
    isUsable: true,
    cause: error,
    hints: ["the session was made anew and can be used again: look what is there, then go on"],
  });
}
