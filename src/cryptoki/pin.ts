/**
 * A PIN: a secret that cannot be printed, logged or put into JSON by accident.
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";
import { type Kind, kind, requireArguments } from "./arguments.ts";
import { KeywrightError } from "./errors.ts";
import type { Awaitable } from "./port.ts";

/**
 * A PIN or password of a token. Any bytes are valid; what a token accepts is the token's business.
 *
 * The bytes live in one buffer that {@link Pin.wipe} overwrites. What cannot be wiped: a JavaScript string that the PIN
 * was made from, and copies that the garbage collector made while moving it; so sources hand in bytes, never strings.
 */
export class Pin {
  #bytes: Uint8Array | undefined;

  private constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** @param from the PIN; bytes are copied, text is encoded as UTF-8 */
  static from(from: Uint8Array | string): Pin {
    requireArguments("Pin.from", { pin: [from, kind("a text or bytes (Uint8Array)", isTextOrBytes)] });
    return new Pin(typeof from === "string" ? new TextEncoder().encode(from) : Uint8Array.from(from));
  }

  /**
   * Hands the bytes to `use`; they are this object's own buffer, valid until {@link Pin.wipe}.
   * @throws Error when the PIN was wiped
   */
  use<T>(use: (bytes: Uint8Array) => T): T {
    if (this.#bytes === undefined) throw new Error("the PIN was used and wiped");
    return use(this.#bytes);
  }

  /** Another Pin of the same bytes, to be used and wiped on its own. */
  copy(): Pin {
    return this.use((bytes) => new Pin(Uint8Array.from(bytes)));
  }

  /** Overwrites the bytes with zeroes. Safe to repeat. */
  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  /** Whether two PINs are the same, in a time that does not depend on where they differ. */
  equals(other: Pin): boolean {
    return this.use((a) => other.use((b) => a.length === b.length && timingSafeEqual(a, b)));
  }

  get wiped(): boolean {
    return this.#bytes === undefined;
  }

  toString(): string {
    return "[pin]";
  }

  toJSON(): string {
    return "[pin]";
  }

  [inspect.custom](): string {
    return "[pin]";
  }
}

function isTextOrBytes(value: unknown): boolean {
  return typeof value === "string" || value instanceof Uint8Array;
}

/** A PIN, or where to get it when it is needed; one that comes from a function is wiped after use. */
export type PinSupply = Pin | (() => Awaitable<Pin>);

/** What PinSupply is, for callers without types. */
export const PIN_SUPPLY: Kind = kind(
  'a PIN like Pin.from("…") or a function that gives one',
  (value) => value instanceof Pin || typeof value === "function",
);

/** A login is needed and there is no PIN for it. */
export class PinMissingError extends KeywrightError {
  override readonly code = "ERR_PIN_MISSING";

  constructor(uri: string) {
    super(`a PIN is needed for ${uri}, and none was given`, {
      hints: ["declare one (pin: { file: … }), or give a source (--pin file:PATH), or run it at a terminal"],
    });
  }
}

/** What is asked of a token about its PIN. */
interface PinTarget {
  readonly uri: string;
  has(flag: "CKF_PROTECTED_AUTHENTICATION_PATH"): boolean;
}

/**
 * Gives the PIN's bytes to `use`; null where there is none and the token asks for it itself.
 * @throws PinMissingError when there is none and the token does not ask
 */
export async function withPin<T>(
  pin: PinSupply | undefined,
  token: PinTarget,
  use: (bytes: Uint8Array | null) => Awaitable<T>,
): Promise<T> {
  if (pin === undefined) {
    if (token.has("CKF_PROTECTED_AUTHENTICATION_PATH")) return use(null);
    throw new PinMissingError(token.uri);
  }
  const supplied = pin instanceof Pin ? pin : await pin();
  try {
    return await supplied.use(use);
  } finally {
    if (supplied !== pin) supplied.wipe();
  }
}
