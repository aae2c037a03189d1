/**
 * The slots of several modules under numbers of their own.
 * @module
 */

import { after } from "../cryptoki/awaitable.ts";
import { CryptokiError, failedWith } from "../cryptoki/errors.ts";
import type { Awaitable, Cryptoki, FunctionName, Structure, Ulong } from "../cryptoki/port.ts";
import { matchesToken, type Pkcs11Uri } from "../cryptoki/uri.ts";
import { hasFlag, TOKEN_FLAGS } from "../spec/flags.ts";

/** A slot, by the module's place in the offer and its number there. */
export interface Place {
  readonly module: number;
  readonly slot: Ulong;
}

/**
 * Numbers from 1, in the order in which slots with offered tokens were seen. A slot keeps its number for as long as the
 * offer is there, for every application of it.
 */
export class SlotNumbers {
  readonly #numbers = new Map<string, number>();
  readonly #places: Place[] = [];

  /** The number of a slot; undefined if it never had an offered token. */
  known({ module, slot }: Place): number | undefined {
    return this.#numbers.get(`${module}/${slot}`);
  }

  /** The number of a slot that has an offered token. */
  of(place: Place): number {
    const known = this.known(place);
    if (known !== undefined) return known;
    const number = this.#places.push(place);
    this.#numbers.set(`${place.module}/${place.slot}`, number);
    return number;
  }

  at(number: Ulong): Place | undefined {
    return this.#places[Number(number) - 1];
  }
}

/** Which tokens of a module are offered. */
export interface Choice {
  /** Those that one of these matches. */
  readonly tokens: readonly Pkcs11Uri[];
  /** Whether tokens that were never initialised are, too. */
  readonly uninitialised: boolean;
}

/** What the token in a slot says of itself; undefined where there is none, or one that is not offered. */
export function offeredToken(
  inner: Cryptoki,
  slot: Ulong,
  { tokens, uninitialised }: Choice,
): Awaitable<Structure<"tokenInfo"> | undefined> {
  const asks = (names: RegExp) => tokens.some(({ path }) => Object.keys(path).some((name) => names.test(name)));
  return after(
    () => inner.call("C_GetTokenInfo", { slot }),
    ({ info: token }) => {
      if (!uninitialised && !hasFlag(Number(token.flags), TOKEN_FLAGS.CKF_TOKEN_INITIALIZED[0])) return undefined;
      return after(
        () => (asks(/^library-/) ? inner.call("C_GetInfo", {}) : undefined),
        (library) =>
          after(
            () => (asks(/^slot-(?:manufacturer|description)$/) ? inner.call("C_GetSlotInfo", { slot }) : undefined),
            (slotInfo) => {
              const facts = { slot, token, info: library?.info, slotInfo: slotInfo?.info };
              return tokens.some((uri) => matchesToken(uri, facts)) ? token : undefined;
            },
          ),
      );
    },
    (error) => {
      if (failedWith(error, "CKR_TOKEN_NOT_PRESENT", "CKR_TOKEN_NOT_RECOGNIZED", "CKR_SLOT_ID_INVALID")) {
        return undefined;
      }
      throw error;
    },
  );
}

export function notPresent(fn: FunctionName): CryptokiError {
  return new CryptokiError(fn, "CKR_TOKEN_NOT_PRESENT");
}
