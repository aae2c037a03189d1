/**
 * A layer that adds what is known of a family to its errors.
 * @module
 */
import { after } from "../cryptoki/awaitable.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Cryptoki } from "../cryptoki/port.ts";
import type { Family } from "../families/families.ts";
import { returnName } from "../spec/returns.ts";

/** Errors of the family's library get its explanation as their first hint. */
export function explained(inner: Cryptoki, { explain = {} }: Family): Cryptoki {
  return {
    call: (fn, args) =>
      after(
        () => inner.call(fn, args),
        (reply) => reply,
        (error) => {
          const hint = error instanceof CryptokiError ? explain[returnName(error.rv)] : undefined;
          if (!(error instanceof CryptokiError) || hint === undefined) throw error;
          throw new CryptokiError(error.function, error.rv, error.detail, {
            cause: error,
            hints: [hint, ...error.hints],
          });
        },
      ),
  };
}
