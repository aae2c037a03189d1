/**
 * From a map of handlers to a Cryptoki.
 * @module
 */
import type { FunctionName } from "../spec/functions.ts";
import { CryptokiError } from "./errors.ts";
import type { Args, Awaitable, Cryptoki, Handlers, Reply } from "./port.ts";

/** A Cryptoki that answers with these handlers; a function without one throws CKR_FUNCTION_NOT_SUPPORTED. */
export function fromHandlers(handlers: Handlers): Cryptoki {
  return {
    call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
      const handler = handlers[fn] as ((args: Args<F>) => Awaitable<Reply<F>>) | undefined;
      if (handler === undefined) throw new CryptokiError(fn, "CKR_FUNCTION_NOT_SUPPORTED");
      return handler(args);
    },
  };
}
