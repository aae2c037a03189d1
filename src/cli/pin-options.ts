/**
 * PIN sources on the command line: `--pin file:user.pin`. Never a PIN itself, which every user of the machine could read.
 * @module
 */
import type { Family } from "../families/families.ts";
import type { PinSource } from "../pins/sources.ts";
import { text } from "./command.ts";
import { UsageError } from "./errors.ts";

const KINDS = "file:PATH, env:NAME, fd:N, credential:NAME, command:PROGRAM or prompt";

export const PIN_OPTION = { pin: text("SOURCE", `where the user PIN comes from: ${KINDS}`) } as const;
export const SO_PIN_OPTION = { soPin: text("SOURCE", "where the SO PIN comes from, in the same forms") } as const;
export const NEW_PIN_OPTION = { newPin: text("SOURCE", "where the new PIN comes from, in the same forms") } as const;

/** Reads a source. @throws UsageError without repeating what was given, for it may be a PIN */
export function pinSource(option: string, given: string | undefined): PinSource | undefined {
  if (given === undefined) return undefined;
  const colon = given.indexOf(":");
  const kind = colon < 0 ? given : given.slice(0, colon);
  const value = colon < 0 ? "" : given.slice(colon + 1);
  switch (kind) {
    case "prompt":
      if (colon < 0) return { prompt: true };
      break;
    case "file":
      if (value !== "") return { file: value };
      break;
    case "env":
      if (value !== "") return { env: value };
      break;
    case "credential":
      if (value !== "") return { credential: value };
      break;
    case "fd":
      if (/^\d{1,5}$/.test(value)) return { fd: Number(value) };
      break;
    case "command":
      if (value.trim() !== "") return { command: ["/bin/sh", "-c", value] };
      break;
  }
  throw new UsageError(`${option} takes a source, not a PIN: everybody on this machine can read a command line`, [
    `sources: ${KINDS}`,
  ]);
}

/** A hint where a PIN cannot be set. */
export const CHANGE = "to change it, knowing it: keywright pin change";

/** For what the SO does. @throws UsageError for a family that has none (NSS) @param instead what to do there */
export function requireSo({ title, initialise }: Family, ...instead: string[]): void {
  if (initialise === "pin") throw new UsageError(`${title} has no SO, and so no SO PIN`, instead);
}

/** A PIN that the command cannot do without. @throws UsageError naming the option that gives it */
export function needPin<T>(pin: T | undefined, option: string): T {
  if (pin !== undefined) return pin;
  throw new UsageError(`a PIN is needed, and there is no terminal to ask on`, [
    `add ${option} SOURCE`,
    `sources: ${KINDS}`,
  ]);
}
