/**
 * Our own environment; with `cli/` this room is the only reader of it.
 * @module
 */

/** Variables that were taken: they may be needed again, and the environment has them no more. */
const taken = new Map<string, string>();

/** Reads a variable and removes it from the environment, so that no child inherits it. */
export function takeVariable(name: string): string | undefined {
  const value = process.env[name];
  if (value !== undefined) taken.set(name, value);
  delete process.env[name];
  return taken.get(name);
}

/** A variable that is not secret; undefined when unset or empty. */
export function readVariable(name: string): string | undefined {
  return process.env[name] || undefined;
}
