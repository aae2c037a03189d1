/**
 * Tokens that are in a library's store and that the library does not show: what it cannot read, SoftHSM2 passes over.
 * @module
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { KeywrightError } from "../cryptoki/errors.ts";
import { readVariable } from "../host/environment.ts";
import { explainSystem, systemCode } from "../host/errors.ts";
import { realPath } from "../host/paths.ts";
import type { ModuleReference } from "./index.ts";
import { familyOfModule } from "./reach.ts";
import { locate } from "./stores.ts";

/** A store whose tokens are not all shown: one that is missing may be among the others. */
export class HiddenTokenError extends KeywrightError {
  override readonly code = "ERR_TOKEN_HIDDEN";
}

/**
 * @param shown how many initialised tokens the library shows
 * @throws HiddenTokenError when its store has more, or the library looks elsewhere
 */
export function requireNothingHidden(reference: ModuleReference, shown: number): void {
  if (familyOfModule(reference.module).name !== "softhsm") return;
  const file = configuration(locate(reference).reference.environment?.SOFTHSM2_CONF);
  const folder = tokenFolder(file);
  const own = reference.store === undefined ? undefined : join(reference.store, "tokens");
  if (own !== undefined && file === join(reference.store!, "softhsm2.conf") && realPath(folder) !== realPath(own)) {
    throw new HiddenTokenError(`${file} leads SoftHSM2 to ${folder}, and the tokens of the store are in ${own}`, {
      hints: [`write into it: directories.tokendir = ${own}`],
    });
  }
  const there = readable(folder, () => tokensIn(folder));
  if (there.length <= shown) return;
  const broken = there.filter((path) => sizeOf(join(path, "token.object")) === 0);
  const where = broken.length > 0 ? broken : there;
  throw new HiddenTokenError(`SoftHSM2 shows ${shown} of the ${there.length} tokens in ${folder}: it passes over one`, {
    hints: [
      `look at ${where.map((path) => join(path, "token.object")).join(", ")}; put a backup in its place, or move the folder away`,
      "if another program has just logged in, try again: SoftHSM2 writes that file anew at each login",
      OTHERWISE,
    ],
  });
}

const OTHERWISE = "if none of them is the one that is wanted, make that: keywright token init";

function readable<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof HiddenTokenError || systemCode(error) === undefined) throw error;
    throw new HiddenTokenError(`SoftHSM2 may have tokens that it does not show: ${path}: ${explainSystem(error)}`, {
      cause: error,
      hints: ["run this as the user whose they are", OTHERWISE],
    });
  }
}

/** The file that SoftHSM2 reads (softhsm2.conf(5)). */
function configuration(given: string | undefined): string {
  const path = given ?? readVariable("SOFTHSM2_CONF");
  if (path !== undefined && path !== "") return path;
  const own = join(homedir(), ".config/softhsm2/softhsm2.conf");
  return existsSync(own) ? own : "/etc/softhsm/softhsm2.conf";
}

const USUAL_FOLDER = "/var/lib/softhsm/tokens/";

function tokenFolder(file: string): string {
  const text = existsSync(file) ? readable(file, () => readFileSync(file, "utf8")) : "";
  return /^\s*directories\.tokendir\s*=\s*([^#\n]*?)\s*(?:#.*)?$/m.exec(text)?.[1] ?? USUAL_FOLDER;
}

/** The folders of tokens. One in which there is nothing yet is what C_InitToken left that did not come to its end. */
function tokensIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(folder, name))
    .filter((path) =>
      readable(path, () =>
        readdirSync(path).some(
          (name) => name.endsWith(".object") && (name !== "token.object" || sizeOf(join(path, name)) > 0),
        ),
      ),
    );
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
