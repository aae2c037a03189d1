/**
 * How the command opens modules: guarded, and with --debug telling every call.
 * @module
 */
import { after } from "../cryptoki/awaitable.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import { Module } from "../cryptoki/module.ts";
import type { Cryptoki } from "../cryptoki/port.ts";
import { openGuarded } from "../modules/guarded.ts";
import type { ModuleReference } from "../modules/index.ts";
import { PinMemory } from "../pins/memory.ts";
import { attendedBy, type TokenPins } from "../pins/roles.ts";
import { returnName } from "../spec/returns.ts";
import type { Io } from "./io.ts";

/** Opens a module. @param pins where the PINs of its token come from @param state the state folder */
export function openModule(reference: ModuleReference, pins: TokenPins, state: string, io: Io): Promise<Module> {
  const context = { memory: new PinMemory(state), attended: attendedBy(pins) };
  io.debug(`opening ${reference.module}${reference.store === undefined ? "" : ` with ${reference.store}`}`);
  return Module.open(openGuarded(reference, context, io.isDebugging ? (inner) => traced(inner, io) : undefined));
}

/** Tells what is called and what it returns; never arguments, among which are PINs, keys and what they encrypt. */
function traced(inner: Cryptoki, io: Io): Cryptoki {
  return {
    call: (fn, args) =>
      after(
        () => inner.call(fn, args),
        (reply) => {
          io.debug(`${fn}: CKR_OK`);
          return reply;
        },
        (error) => {
          io.debug(`${fn}: ${error instanceof CryptokiError ? returnName(error.rv) : "no return value"}`);
          throw error;
        },
      ),
  };
}
