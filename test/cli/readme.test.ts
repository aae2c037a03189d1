/** What the README shows is what happens. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { TranscriptFolder } from "../support/transcript.ts";

test("the six lines, as they are printed, make a token and a CA", () => {
  const readme = readFileSync(resolve(import.meta.dirname, "../../README.md"), "utf8");
  const block = /## Six lines\n\n```console\n([^`]*)```/.exec(readme)![1]!;
  const folder = new TranscriptFolder([]);
  onTestFinished(() => folder.remove());
  // Nobody is there to be asked.
  const script = block.replaceAll(/^\$ /gm, "").replace("keywright apply ", "keywright apply --yes ");
  const { out, err, code } = folder.run(`set -e\n${script}`);
  expect(code, err).toBe(0);
  expect(out).toContain("Applied: 1 done.");
  expect(out).toMatch(/^my-ca +EC:secp384r1 +present/m);
  expect(folder.run("stat -c %a user.pin so.pin").out).toBe("600\n600\n");
  expect(readFileSync(join(folder.path, "keys.yaml"), "utf8")).toContain("my-ca:");
});
