#!/usr/bin/env node
/**
 * Starts the command: with the bytecode that the build left beside it, if that is for this Node. To parse it instead is a
 * third of what a plan takes to start.
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";

/** Of this build, so that it never runs the bytecode of another; see tools/build.mjs. */
declare const BUILD: string;

const folder = dirname(fileURLToPath(import.meta.url));
const filename = join(folder, "command.js");
const bytecode = join(folder, `command-${BUILD}-${process.version}-${process.arch}.cache`);
const require = createRequire(filename);

const cachedData = readBytecode();
if (cachedData !== undefined) {
  // The text, which is ASCII, in what Node's own loader puts around it. V8 compiles it if it does not want the bytecode.
  const text = `(function (require, __filename) {${readFileSync(filename, "latin1")}\n})`;
  new Script(text, { filename, cachedData }).runInThisContext()(require, filename);
} else {
  require(filename);
}

/** Undefined where there is none, or none that can be read, or where the text was changed after it. */
function readBytecode(): Buffer | undefined {
  try {
    // V8 compares no more of the text than its length. All alike is fine: packagers set times so.
    const made = statSync(bytecode, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    return made < statSync(filename).mtimeMs ? undefined : readFileSync(bytecode);
  } catch {
    return undefined;
  }
}
