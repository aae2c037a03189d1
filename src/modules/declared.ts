/**
 * The module of a declared token.
 * @module
 */
import { join, resolve } from "node:path";
import { Module } from "../cryptoki/module.ts";
import { parseUri } from "../cryptoki/uri.ts";
import { PinMemory } from "../pins/memory.ts";
import { attendedBy, declaredPins } from "../pins/roles.ts";
import type { PinSource } from "../pins/sources.ts";
import { resolveModule } from "./address.ts";
import { openGuarded } from "./guarded.ts";
import { requireNothingHidden } from "./hidden.ts";
import type { ModuleReference } from "./index.ts";
import { reachOf } from "./reach.ts";

/** What a declaration says of a token and its module. */
export interface DeclaredModule extends Omit<ModuleReference, "scryptCost" | "soRecovery"> {
  readonly uri?: string;
  readonly pin?: PinSource;
  readonly soPin?: PinSource;
}

/** Where relative paths and the state are. */
export interface DeclaredPlace {
  /** The declaration's folder, where relative paths start. */
  readonly folder: string;
  /** The state folder: the guard's memory, and the built-in token unless a store is declared. */
  readonly state: string;
}

/**
 * Opens the module of a declared token, guarded.
 * @throws KeywrightError when there is no such module or it cannot be initialised
 */
export function openDeclared(token: DeclaredModule, place: DeclaredPlace): Promise<Module> {
  const memory = new PinMemory(place.state);
  const attended = attendedBy(declaredPins(token));
  return Module.open(openGuarded(declaredModule(token, place), { memory, attended }));
}

/** Where a declared token is, in one spelling. */
export function reachOfDeclared(token: DeclaredModule, place: DeclaredPlace): string {
  return reachOf(declaredModule(token, place));
}

/**
 * Before a declared token is made, for its module does not show it.
 * @param shown how many initialised tokens the module shows
 * @throws HiddenTokenError when there are more, one of which it may be
 */
export function requireAllShown(token: DeclaredModule, place: DeclaredPlace, shown: number): void {
  requireNothingHidden(declaredModule(token, place), shown);
}

/** The module of a declared token, its paths resolved. */
export function declaredModule(token: DeclaredModule, { folder, state }: DeclaredPlace): ModuleReference {
  const { environment, reserved, placement, timeoutMs } = token;
  const module = resolveModule(token.module, folder);
  const label = token.label ?? (token.uri === undefined ? undefined : parseUri(token.uri).path.token);
  return {
    module,
    ...(token.store === undefined ? defaultStore(module, state) : { store: resolve(folder, token.store) }),
    ...(label === undefined ? {} : { label }),
    ...(environment === undefined ? {} : { environment }),
    ...(reserved === undefined ? {} : { reserved }),
    ...(placement === undefined ? {} : { placement }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}

/** The built-in token's file in the state folder; other modules have a store only where one is given. */
export function defaultStore(module: string, state: string): { store?: string } {
  return module === "softtoken" ? { store: join(state, "softtoken.db") } : {};
}
