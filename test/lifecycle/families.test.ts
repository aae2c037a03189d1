/** Families that cannot be had here: their rules, on what was seen in another token. */
import { expect, onTestFinished, test } from "vitest";
import type { FamilyName } from "../../src/families/families.ts";
import type { Observation } from "../../src/lifecycle/observation.ts";
import { plan } from "../../src/lifecycle/plan/plan.ts";
import { brief, World } from "../support/world.ts";

const key = (more = "") =>
  `  www: { token: demo, id: 1, type: EC:secp256r1${more}, certificate: { subject: CN=www } }\n`;

/** What was seen, as if the token were of another family. */
function as(observation: Observation, family: FamilyName): Observation {
  const { demo } = observation.tokens;
  if (demo?.state !== "present") throw new Error(JSON.stringify(demo));
  return { ...observation, tokens: { demo: { ...demo, family } } };
}

test.each(["yubikey", "yubihsm"] as const)(
  "%s keeps the id of a key for ever: a key is replaced only where it is declared that the old one is destroyed",
  async (family) => {
    const w = new World({ token: "{ module: softtoken, store: t.db, label: demo }", keys: key() });
    onTestFinished(() => w.remove());
    await w.applied();
    const rotate = async () =>
      plan(await w.declaration(), as(await w.observe(), family), w.now, { rotate: ["www"] }).steps;
    expect(await rotate()).toMatchObject([
      {
        action: "refuse",
        reason: expect.stringMatching(/cannot change the id of a key, so the old one would be lost/),
        hints: ["declare retireOld: destroy if that is what is wanted"],
      },
    ]);
    w.declare(key(", retireOld: destroy"));
    expect(brief(await rotate())).toEqual(["retire www", "generate www", "issue www"]);
  },
);
