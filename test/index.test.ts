/** The front door: `openModule` on a native library uses its own token store, and says what is wrong with one that is none. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openModule } from "../src/index.ts";
import { peer } from "./support/peers.ts";
import { softHsm } from "./support/softhsm.ts";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "keywright-door-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

test.skipIf(!peer("softhsm2"))("a library's declared environment stands, and no store of ours is made", async () => {
  const { path, environment, remove } = softHsm();
  onTestFinished(remove);
  const state = folder();
  const module = await openModule(path, { state, environment, placement: "direct" });
  expect((await module.info()).manufacturerID).toBe("SoftHSM");
  expect(process.env.SOFTHSM2_CONF).toBe(environment.SOFTHSM2_CONF);
  await module.close();
  expect(readdirSync(state)).toEqual([]);
});

test("a module that is missing is an error that says so", async () => {
  await expect(openModule("/usr/lib/libnope.so", { state: folder() })).rejects.toThrow("there is no such file");
});
