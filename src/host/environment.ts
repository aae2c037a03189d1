/**
 * Our own environment; with `cli/` this room is the only reader of it.
 * @module
 */

/** Reads a variable and removes it, so that no child and no /proc reader of a child sees it. */
export function takeVariable(name: string): string | undefined {
  const value = process.env[name];
  delete process.env[name];
  return value;
}

/** A variable that is not secret; undefined when unset or empty. */
export function readVariable(name: string): string | undefined {
  return process.env[name] || undefined;
}
