/**
 * How the command opens modules: guarded, and with --debug telling every call.
 * @module
 */
import { Module } from "../cryptoki/module.ts";
import type { Cryptoki } from "../cryptoki/port.ts";
import { traceCalls } from "../layers/trace/trace.ts";
import { openGuarded } from "../modules/guarded.ts";
import type { ModuleReference } from "../modules/index.ts";
import { PinMemory } from "../pins/memory.ts";
import { attendedBy, type TokenPins } from "../pins/roles.ts";
import type { Io } from "./io.ts";

/** Opens a module. @param pins where the PINs of its token come from @param state the state folder */
export function openModule(reference: ModuleReference, pins: TokenPins, state: string, io: Io): Promise<Module> {
  const context = { memory: new PinMemory(state), attended: attendedBy(pins) };
  io.debug(`opening ${reference.module}${reference.store === undefined ? "" : ` with ${reference.store}`}`);
  return Module.open(openGuarded(reference, context, io.isDebugging ? debugged(io) : undefined));
}

/** Tells what is called and what it returns; no arguments. */
function debugged(io: Io): (inner: Cryptoki) => Cryptoki {
  return traceCalls({ sink: ({ function: fn, result }) => io.debug(`${fn}: ${result}`) });
}
