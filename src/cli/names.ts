/**
 * Declared names on the command line.
 * @module
 */
import type { Declaration, KeyDeclaration } from "../lifecycle/declaration.ts";
import { nearest } from "../schema/nearest.ts";
import { UnknownNameError } from "./errors.ts";

/** The declared keys of these names. @throws UnknownNameError naming the first that is unknown */
export function declaredKeys(declaration: Declaration, names: readonly string[]): KeyDeclaration[] {
  return names.map((name) => {
    const key = Object.hasOwn(declaration.keys, name) ? declaration.keys[name] : undefined;
    if (key !== undefined) return key;
    const near = nearest(name, Object.keys(declaration.keys));
    throw new UnknownNameError(`no key ${JSON.stringify(name)} is declared`, [
      near === undefined ? `declared: ${Object.keys(declaration.keys).join(", ")}` : `did you mean ${near}?`,
    ]);
  });
}

/** The names of `--rotate`, each known. */
export function rotated(declaration: Declaration, names: readonly string[]): string[] {
  return declaredKeys(declaration, names).map(({ name }) => name);
}
