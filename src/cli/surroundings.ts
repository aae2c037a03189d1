/**
 * What the lifecycle is given when the command runs it: modules with their guard, PINs, folders, the clock.
 * @module
 */
import { statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { explainSystem } from "../host/errors.ts";
import { readFile } from "../host/files.ts";
import { stateFolder } from "../host/folders.ts";
import type { Surroundings } from "../lifecycle/access.ts";
import type { Declaration } from "../lifecycle/declaration.ts";
import { declaredModule, reachOfDeclared, requireAllShown } from "../modules/declared.ts";
import { declaredPins } from "../pins/roles.ts";
import { text } from "./command.ts";
import { CommandError } from "./errors.ts";
import type { Io } from "./io.ts";
import { openModule } from "./open.ts";
import { commandPin } from "./pins.ts";

/** The declaration where none is named. */
export const DEFAULT_FILE = "keys.yaml";

/** The option that names the declaration, for the commands that take one. */
export const FILE_OPTION = {
  file: text("FILE", `the declaration (default: ${DEFAULT_FILE}; - is standard input)`, "f"),
} as const;

/** Reads the declaration that the command line names. @param input `word`: what is looked for in it */
export async function loadDeclaration(input: { file?: string | undefined; word?: string }): Promise<Declaration> {
  const file = resolve(input.file === "-" ? "/dev/stdin" : (input.file ?? DEFAULT_FILE));
  // Reading YAML takes time to load, and a URI needs none of it.
  const { readDeclaration } = await import("../lifecycle/declaration.ts");
  const { MOST_BYTES } = await import("../schema/document.ts");
  let contents: Buffer;
  try {
    // One more shows that it is too long.
    contents = await readFile(file, MOST_BYTES + 1);
  } catch (error) {
    throw new CommandError(`cannot read the declaration ${file}: ${explainSystem(error)}`, [
      input.file === undefined ? "name one with --file" : "keywright schema prints what a declaration may hold",
      ...(input.word === undefined
        ? []
        : [`a token that is not declared is named by its URI: pkcs11:token=${input.word}`]),
    ]);
  }
  const declaration = await readDeclaration(contents.toString(), file);
  // From a pipe or a device: its paths start from here, and not from /dev.
  const isFile = statSync(file, { throwIfNoEntry: false })?.isFile() !== false;
  return isFile ? declaration : { ...declaration, file: resolve(basename(file)) };
}

/** The state folder that the command line, or this machine, says. */
export function chosenState(input: { state?: string | undefined }): string {
  return resolve(input.state ?? stateFolder());
}

/** The surroundings of a declaration. */
export function surroundingsOf(declaration: Declaration, input: { state?: string | undefined }, io: Io): Surroundings {
  const state = chosenState(input);
  const folder = dirname(declaration.file);
  return {
    folder,
    state,
    now: () => new Date(),
    open: (token) => openModule(declaredModule(token, { folder, state }), declaredPins(token), state, io),
    reach: (token) => reachOfDeclared(token, { folder, state }),
    requireAllShown: (token, shown) => requireAllShown(token, { folder, state }, shown),
    readPin: (source, purpose, isNew) => commandPin(source, purpose, folder, io, isNew),
  };
}
