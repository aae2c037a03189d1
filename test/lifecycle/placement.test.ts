/** A declaration that asks for a process of its own gets one, and is told when the library in it hangs. Needs dist. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { hasCompiler, odd } from "../support/odd.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
import { World } from "../support/world.ts";

const KEYS = "  www: { token: demo, id: 1, type: EC:P-256, certificate: none }\n";

describe("placement: process", () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  function world(token: string): World {
    const made = new World({ token, keys: KEYS });
    ends.push(() => made.remove());
    return made;
  }

  test.skipIf(!peer("softhsm2"))("plan and apply do their work in it, and no library is loaded here", async () => {
    const hsm = softHsm();
    ends.push(() => hsm.remove());
    const isolated = world(
      `{ module: ${hsm.path}, label: demo, store: ${hsm.store}, placement: process, timeoutMs: 60000 }`,
    );
    expect(await isolated.applied()).toEqual(["www done"]);
    expect(await isolated.steps()).toEqual(["keep www"]);
    expect(await isolated.objects()).toEqual(["private 01 www", "public 01 www"]);
    expect(readFileSync("/proc/self/maps", "utf8")).not.toContain(basename(hsm.path));
  });

  test.skipIf(!hasCompiler)("a library that hangs is ended, which is why plan and apply refuse", async () => {
    const library = odd();
    ends.push(() => library.remove());
    const hung = world(
      `{ module: ${library.path}, label: demo, environment: { ODD_HANGS: initialize }, placement: process, timeoutMs: 1500 }`,
    );
    const reason = "the module did not answer C_Initialize within 1500 ms and was ended";
    expect(JSON.stringify((await hung.plan()).steps)).toContain(reason);
    expect(await hung.applied()).toEqual(["www refused"]);
  });
});
