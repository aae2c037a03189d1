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

/** Those of these variables that are set. */
export function readVariables(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = readVariable(name);
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** What leads to the person's screen. */
export const SCREEN = ["DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"] as const;

/** What ssh, and what connects as ssh does, needs beside what every program does. */
export const FOR_SSH: readonly string[] = ["SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "TERM", ...SCREEN];

/** What every program needs; anything else may hold a secret that a child has no need of. */
const KEPT = /^(?:PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+)$/;

/** The few variables that a child has need of, and `more`. */
export function scrubbedEnvironment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    (entry): entry is [string, string] => KEPT.test(entry[0]) && entry[1] !== undefined,
  );
  return { ...Object.fromEntries(kept), ...more };
}

/** Sets variables of this process; C's getenv sees them too, but not from a Worker whose `process.env` is a copy. */
export function setEnvironment(environment: Readonly<Record<string, string>>): void {
  Object.assign(process.env, environment);
}
