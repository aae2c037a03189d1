/** The front door: `openModule` on a native library uses its own token store, and says what is wrong with one that is none. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openModule } from "../src/index.ts";
import { hasCompiler, odd } from "./support/odd.ts";
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
  const module = await openModule(path, { state, environment, isolation: "direct" });
  expect((await module.info()).manufacturerID).toBe("SoftHSM");
  expect(process.env.SOFTHSM2_CONF).toBe(environment.SOFTHSM2_CONF);
  await module.close();
  expect(readdirSync(state)).toEqual([]);
});

test.skipIf(!hasCompiler)("a library that crashes or hangs in a process is told, and replaced", async () => {
  const library = odd();
  onTestFinished(() => library.remove());
  const options = { state: folder(), isolation: "process", timeoutMs: 2000 } as const;
  const module = await openModule(library.path, options);
  const [token] = await module.tokens();
  const within = (fail: "C_SeedRandom" | "C_GenerateRandom") =>
    token!.withSession({}, ({ handle: session }) =>
      module.call(fail, { session, seed: new Uint8Array(1), length: 1 } as never),
    );
  await expect(within("C_SeedRandom")).rejects.toThrow("the module's process ended by SIGSEGV");
  await expect(within("C_GenerateRandom")).rejects.toThrow(
    "the module did not answer C_GenerateRandom within 2000 ms and was ended",
  );
  expect(await module.tokens()).toEqual([token]);
  await module.close();
  await expect(openModule(library.path, { ...options, isolation: "thread" })).rejects.toThrow(
    "a time limit needs a process of its own, not thread",
  );
});

test("a module that is missing is an error that says so", async () => {
  await expect(openModule("/usr/lib/libnope.so", { state: folder() })).rejects.toThrow("there is no such file");
});
