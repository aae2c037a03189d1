/**
 * What the lifecycle is given when the command runs it: modules with their guard, PINs, folders, the clock.
 * @module
 */
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Module } from "../cryptoki/module.ts";
import { parseUri } from "../cryptoki/uri.ts";
import { explainSystem } from "../host/errors.ts";
import { stateFolder } from "../host/folders.ts";
import type { Surroundings } from "../lifecycle/access.ts";
import type { Declaration, TokenDeclaration } from "../lifecycle/declaration.ts";
import { openGuarded } from "../modules/guarded.ts";
import type { ModuleReference } from "../modules/index.ts";
import { PinMemory } from "../pins/memory.ts";
import { asksPerson, type PinSource } from "../pins/sources.ts";
import { text } from "./command.ts";
import { UsageError } from "./errors.ts";
import type { Io } from "./io.ts";
import { commandPin } from "./pins.ts";

/** The option that names the declaration, for the commands that take one. */
export const FILE_OPTION = {
  file: text("FILE", "the declaration (default: keys.yaml)", "f"),
} as const;

/** Reads the declaration that the command line names. */
export async function loadDeclaration(input: { file?: string | undefined }): Promise<Declaration> {
  const file = resolve(input.file ?? "keys.yaml");
  let contents: string;
  try {
    contents = await readFile(file, "utf8");
  } catch (error) {
    throw new UsageError(`cannot read the declaration ${file}: ${explainSystem(error)}`, [
      input.file === undefined ? "name one with --file" : "keywright schema prints what a declaration may hold",
    ]);
  }
  // Reading YAML takes time to load, and a URI needs none of it.
  const { readDeclaration } = await import("../lifecycle/declaration.ts");
  return readDeclaration(contents, file);
}

/** The state folder that the command line, or this machine, says. */
export function chosenState(input: { state?: string | undefined }): string {
  return resolve(input.state ?? stateFolder());
}

/** The surroundings of a declaration. */
export function surroundingsOf(declaration: Declaration, input: { state?: string | undefined }, io: Io): Surroundings {
  const state = chosenState(input);
  const folder = dirname(declaration.file);
  const memory = new PinMemory(state);
  return {
    folder,
    state,
    now: () => new Date(),
    open: (token) => openToken(token, { folder, state, memory, io }),
    readPin: (source, purpose, isNew) => commandPin(source, purpose, folder, io, isNew),
  };
}

interface OpenContext {
  readonly folder: string;
  readonly state: string;
  readonly memory: PinMemory;
  readonly io: Io;
}

function openToken(token: TokenDeclaration, { folder, state, memory, io }: OpenContext): Promise<Module> {
  io.debug(`opening ${token.module} for ${token.name}`);
  const attended = io.interactive && [token.pin, token.soPin].some(isAsked);
  return Module.open(openGuarded(declaredModule(token, folder, state), { memory, attended: () => attended }));
}

/**
 * The module of a declared token.
 * @param folder the declaration's, where relative paths start
 * @param state the state folder, where the built-in token lives unless declared
 */
export function declaredModule(token: TokenDeclaration, folder: string, state: string): ModuleReference {
  const { environment, reserved, placement, timeoutMs } = token;
  const module = token.module.includes("/") ? resolve(folder, token.module) : token.module;
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

function isAsked(source: PinSource | undefined): boolean {
  return source !== undefined && asksPerson(source);
}
