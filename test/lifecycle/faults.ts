/**
 * Every call of an apply fails once, before the module is called and after: the next clean apply reaches the declared
 * state, no key that was good is replaced, none is doubled, and no PIN is spent twice.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { FaultInjector } from "../../src/layers/faults.ts";
import { flagNames, TOKEN_FLAGS } from "../../src/spec/flags.ts";
import type { ReturnName } from "../../src/spec/returns.ts";
import { World } from "../support/world.ts";

export interface FaultyToken {
  readonly name: string;
  /** Declares the token of a label. */
  declare(label: string): string;
  /** The folder that holds the token's whole state; copied back before each run. Absent: the world's own. */
  readonly storeFolder?: () => string;
  readonly codes: readonly ReturnName[];
}

const key = (name: string, id: number, more: string) =>
  `  ${name}: { token: demo, id: ${id}, type: EC:secp256r1, certificate: { subject: CN=${name}, ${more} } }\n`;
const CA = key("ca", 1, "validity: 10y, extensions: [v3_ca]");
const WWW = key(
  "www",
  2,
  "issuer: ca, validity: 90d, renewBefore: 30d, renewKey: true, hook: ./hook, publish: [{ path: www.pem }]",
);
const FOUR =
  CA +
  WWW +
  key("client", 3, "issuer: ca, validity: 90d, publish: [{ path: client.pem }]") +
  key("own", 4, "validity: 1y");

export function faults(token: FaultyToken): void {
  function prepare(label: string): World {
    const w = new World({ token: token.declare(label), keys: CA + WWW });
    onTestFinished(() => w.remove());
    w.write("hook", "#!/bin/sh\necho $2 >> hook.log\n", 0o755);
    return w;
  }

  /** Keeps a copy of the token and the state folder, to go back to. */
  function copies(w: World): { reset: () => void } {
    const folders = [token.storeFolder?.() ?? w.path("store"), w.path("state")];
    const copyOf = (i: number) => w.path(`prepared-${i}`);
    for (const [i, folder] of folders.entries()) cpSync(folder, copyOf(i), { recursive: true });
    return {
      reset: () => {
        for (const [i, folder] of folders.entries()) {
          rmSync(folder, { recursive: true, force: true });
          mkdirSync(folder, { recursive: true });
          cpSync(copyOf(i), folder, { recursive: true });
        }
        for (const file of ["www.pem", "client.pem", "hook.log"]) rmSync(w.path(file), { force: true });
      },
    };
  }

  /** The state that is declared, when the clock says that www is to be renewed. */
  async function expectDeclaredState(w: World, before: Map<string, string>): Promise<void> {
    const objects = await w.objects();
    // One key was replaced, once: its old one is kept, and nothing else is there.
    expect(objects.filter((object) => object.startsWith("private "))).toHaveLength(5);
    expect(objects.filter((object) => /^private [0-9a-f]{16} www~\d{8}T\d{6}Z$/.test(object))).toHaveLength(1);
    for (const [id, name] of Object.entries({ "01": "ca", "02": "www", "03": "client", "04": "own" })) {
      for (const kind of ["private", "public", "certificate"]) {
        expect(objects.filter((object) => object === `${kind} ${id} ${name}`)).toHaveLength(1);
      }
    }
    expect(objects.filter((object) => object.endsWith("~new"))).toEqual([]);
    const after = await publicKeys(w);
    expect(after.get("01")).toBe(before.get("01"));
    expect(after.get("02")).not.toBe(before.get("02"));
    expect(await w.steps()).toEqual(["keep ca", "keep www", "keep client", "keep own"]);
    expect(existsSync(w.path("www.pem")) && existsSync(w.path("client.pem"))).toBe(true);
    await w.within(({ token: { info } }) => {
      const flags = flagNames(Number(info.flags), TOKEN_FLAGS);
      expect(flags.filter((flag) => /_PIN_(COUNT_LOW|FINAL_TRY|LOCKED)$/.test(flag))).toEqual([]);
    });
  }

  /** Counts the logins of a run. */
  async function logins(w: World, use: () => Promise<unknown>): Promise<number> {
    const counting = new FaultInjector({ at: -1, when: "before", rv: "CKR_OK", only: ["C_Login"] });
    w.layer = counting.layer;
    await use();
    w.layer = undefined;
    return counting.passed;
  }

  async function publicKeys(w: World): Promise<Map<string, string>> {
    const seen = (await w.observe()).tokens.demo;
    if (seen?.state !== "present") throw new Error(JSON.stringify(seen));
    return new Map(seen.objects.filter((o) => o.class === "public").map((o) => [o.id, o.publicKey ?? ""]));
  }

  describe(`faults on ${token.name}`, () => {
    test.each(token.codes)(
      "%s at every call of an apply of four keys with a rotation in it",
      { timeout: 600_000 },
      async (rv) => {
        const w = prepare("faults");
        await w.applied();
        const before = await publicKeys(w);
        w.now = new Date("2027-01-25T00:00:00Z");
        w.declare(FOUR);
        const { reset } = copies(w);
        const counting = new FaultInjector();
        w.layer = counting.layer;
        await w.applied();
        w.layer = undefined;
        await expectDeclaredState(w, before);

        let survived = 0;
        for (const when of ["before", "after"] as const) {
          for (let at = 0; at < counting.passed; at += 1) {
            reset();
            const injector = new FaultInjector({ at, when, rv });
            w.layer = injector.layer;
            await w.applied().catch(() => undefined);
            w.layer = undefined;
            if (injector.fired === undefined) continue;
            try {
              expect(await logins(w, () => w.applied())).toBeLessThanOrEqual(1);
              await expectDeclaredState(w, before);
            } catch (error) {
              throw new Error(`${rv} ${when} call ${at} (${injector.fired}): ${(error as Error).message}`, {
                cause: error,
              });
            }
            survived += 1;
          }
        }
        console.log(`${token.name}: survived ${survived} faults of ${rv}`);
        expect(survived).toBeGreaterThanOrEqual(2 * counting.passed * 0.9);
      },
    );

    test("the process is killed before and after every step: the next run completes the state", {
      timeout: 600_000,
    }, async () => {
      const w = prepare("kills");
      await w.applied();
      const before = await publicKeys(w);
      w.now = new Date("2027-01-25T00:00:00Z");
      w.declare(FOUR);
      const { reset } = copies(w);
      const child = join(import.meta.dirname, "kill.child.mjs");
      const run = (at: number) =>
        spawnSync(process.execPath, [child, w.folder, w.now.toISOString(), String(at)], { encoding: "utf8" });
      const whole = run(-1);
      expect(whole.stderr).toBe("");
      const steps = Number(whole.stdout);
      expect(steps).toBeGreaterThan(20);
      for (let at = 0; at < steps; at += 1) {
        reset();
        expect(run(at).signal).toBe("SIGKILL");
        await w.applied();
        await expectDeclaredState(w, before);
      }
      console.log(`${token.name}: survived ${steps} kills`);
    });

    test.each(["before", "after"] as const)(
      "after CKR_PIN_INCORRECT (%s the call) the next run sends no PIN and says why; after pin forget it reaches the state",
      async (when) => {
        const w = prepare(`pins-${when}`);
        await w.applied();
        const before = await publicKeys(w);
        w.now = new Date("2027-01-25T00:00:00Z");
        w.declare(FOUR);
        const injector = new FaultInjector({ at: 0, when, rv: "CKR_PIN_INCORRECT", only: ["C_Login"] });
        w.layer = injector.layer;
        expect(await w.applied()).toEqual(["ca refused", "www refused", "client refused", "own refused"]);
        expect(injector.fired).toBe("C_Login");
        const refused = await logins(w, async () => {
          expect((await w.plan()).steps[0]).toMatchObject({
            action: "refuse",
            pin: true,
            reason: expect.stringContaining("not sent"),
            hints: expect.arrayContaining([expect.stringContaining("keywright pin forget")]),
          });
          expect(await w.applied()).toEqual(["ca refused", "www refused", "client refused", "own refused"]);
        });
        expect(refused).toBe(0);
        await w.forgetPins();
        await w.applied();
        await expectDeclaredState(w, before);
      },
    );
  });
}
