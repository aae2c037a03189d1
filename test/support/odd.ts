/** A module that misbehaves on demand (odd.c), compiled for the test that asks for it. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether there is a C compiler to make it with. */
export const hasCompiler: boolean = spawnSync("cc", ["--version"]).status === 0;

export interface Odd {
  readonly path: string;
  remove(): void;
}

/** Compiles it, into a file of its own. @param classic makes it one of 2.40 that is odd in this way, see odd.c */
export function odd(classic?: "LIST_FAILS" | "LIST_NULL" | "SAYS_3" | "MANY_SLOTS"): Odd {
  const folder = mkdtempSync(join(tmpdir(), "keywright-odd-"));
  const path = join(folder, "odd.so");
  const source = join(import.meta.dirname, "odd.c");
  const define = classic === undefined ? [] : [`-DCLASSIC=${classic}`];
  execFileSync("cc", ["-shared", "-fPIC", "-O1", "-w", ...define, "-o", path, source, "-lpthread"]);
  return { path, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
