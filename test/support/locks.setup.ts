/** The locks on tokens, in a folder of each test file's own: those of this machine are no test's business. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "keywright-locks-"));
process.env.KEYWRIGHT_LOCKS = folder;
afterAll(() => rmSync(folder, { recursive: true, force: true }));
