/** Rotations that died half-way, where the objects alone do not tell which key is the new one. */
import { X509Certificate } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Cryptoki } from "../../src/cryptoki/port.ts";
import type { TokenObject } from "../../src/cryptoki/session/objects.ts";
import { mark, tokenMarker } from "../../src/lifecycle/markers.ts";
import type { SeenObject } from "../../src/lifecycle/observation.ts";
import type { Action, Step } from "../../src/lifecycle/plan/steps.ts";
import { peer } from "../support/peers.ts";
import { type SoftHsm, softHsm } from "../support/softhsm.ts";
import { templatesOfTest } from "../support/templates.ts";
import { World } from "../support/world.ts";

const withPeer = test.skipIf(!peer("softhsm2"));

const SOFTTOKEN = "{ module: softtoken, store: store/token.db, label: demo }";

function world(keys: string, token = SOFTTOKEN): World {
  const made = new World({ token, keys });
  onTestFinished(() => made.remove());
  return made;
}

/** What a run looks like from outside that is killed after a step. */
async function killedAfter(w: World, action: Action, rotate: string[] = []): Promise<void> {
  const progress = {
    begin: () => undefined,
    end: (step: Step) => {
      if (step.action === action) throw new Error("killed");
    },
  };
  await expect(w.applied({ rotate, progress })).rejects.toThrow("killed");
}

async function seen(w: World): Promise<readonly SeenObject[]> {
  const demo = (await w.observe()).tokens.demo;
  if (demo?.state !== "present") throw new Error(JSON.stringify(demo));
  return demo.objects;
}

/** The public key under the id 01. */
async function current(w: World): Promise<string | undefined> {
  const found = (await seen(w)).filter(({ class: kind, id }) => kind === "public" && id === "01");
  expect(found).toHaveLength(1);
  return found[0]!.publicKey;
}

/** Destroys what was prepared to replace k. @returns how many objects that were */
async function destroyPrepared(w: World): Promise<number> {
  const prepared: TokenObject[] = [];
  await w.within(async (session) => {
    for await (const object of session.find({ CKA_LABEL: "k~new" })) prepared.push(object);
    for (const object of prepared) await object.destroy();
  });
  return prepared.length;
}

const CERTIFIED = "  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=k } }\n";

describe("a rotation that died half-way", () => {
  test.each(["keep", "destroy"])(
    "is completed where the clock was set back, so that the new certificate begins before the old one; retireOld: %s",
    async (retireOld) => {
      const w = world(CERTIFIED.replace("P-256,", `P-256, retireOld: ${retireOld},`));
      await w.applied();
      const before = await current(w);
      w.now = new Date(w.now.getTime() - 30 * 60_000);
      await killedAfter(w, "promote", ["k"]);
      expect(await w.applied()).toEqual(["k done"]);
      expect(await current(w)).not.toBe(before);
      const kept = (await seen(w)).filter(({ label }) => label.startsWith("k~"));
      expect(kept).toHaveLength(retireOld === "keep" ? 3 : 0);
      expect(await w.steps()).toEqual(["keep k"]);
    },
  );

  test("is completed where the subject changed with the key", async () => {
    const w = world(CERTIFIED);
    await w.applied();
    const before = await current(w);
    w.declare(CERTIFIED.replace("CN=k", "CN=other"));
    await killedAfter(w, "promote", ["k"]);
    expect(await w.applied()).toEqual(["k done"]);
    expect(await current(w)).not.toBe(before);
    expect(await w.steps()).toEqual(["keep k"]);
  });

  test("is refused where the state folder was lost while two keys had one identity, and nothing is touched", async () => {
    const w = world(CERTIFIED.replace("P-256,", "P-256, retireOld: destroy,"));
    await w.applied();
    w.now = new Date(w.now.getTime() + 60_000);
    await killedAfter(w, "promote", ["k"]);
    rmSync(w.state, { recursive: true });
    const before = await w.objects();
    expect(await w.applied()).toEqual(["k refused"]);
    expect(await w.objects()).toEqual(before);
  });

  test("is completed without the state folder as long as a part of either key has an identity that tells", async () => {
    for (const [at, count] of [1, 2, 5].entries()) {
      const w = world(CERTIFIED);
      await w.applied();
      const before = await current(w);
      w.layer = killedAt("C_SetAttributeValue", count - 1);
      await expect(w.applied({ rotate: ["k"] })).rejects.toThrow("killed");
      w.layer = undefined;
      rmSync(w.state, { recursive: true });
      expect(await w.applied(), `${at}`).toEqual(["k done"]);
      expect(await current(w)).not.toBe(before);
      expect(await w.steps()).toEqual(["keep k"]);
    }
  });

  test("leaves no marker by which something else is taken for it later", async () => {
    const w = world(CERTIFIED.replace("P-256,", "P-256, retireOld: destroy,"));
    const markers = () => readdirSync(w.path("state/replacements"));
    await w.applied();
    w.layer = killedAt("C_SetAttributeValue", 0, "before");
    await expect(w.applied({ rotate: ["k"] })).rejects.toThrow("killed");
    w.layer = undefined;
    expect(markers()).toHaveLength(1);
    expect(await destroyPrepared(w)).toBe(3);
    const { mechanism, publicKey, privateKey } = templatesOfTest("01", "k");
    await w.within(async (session) => {
      await session.generateKeyPair(mechanism, publicKey, privateKey);
    });
    const both = await w.objects();
    expect(await w.applied()).toEqual(["k refused"]);
    expect(await w.objects()).toEqual(both);
    await w.within(async (session) => {
      for (const CKA_CLASS of ["CKO_PRIVATE_KEY", "CKO_PUBLIC_KEY"] as const) {
        const found = [];
        for await (const object of session.find({ CKA_CLASS, CKA_LABEL: "k" })) found.push(object);
        await found.at(-1)!.destroy();
      }
    });
    expect(await w.applied()).toEqual(["k kept"]);
    expect(markers()).toEqual([]);
  });

  test("leaves the marker alone that another run put there meanwhile", async () => {
    const w = world(CERTIFIED, SOFTTOKEN.replace(" }", ", initHook: ./hook }"));
    w.write("hook", "#!/bin/sh\n", 0o755);
    await w.applied();
    w.layer = killedAt("C_SetAttributeValue", 0, "before");
    await expect(w.applied({ rotate: ["k"] })).rejects.toThrow("killed");
    w.layer = undefined;
    expect(await destroyPrepared(w)).toBe(3);
    const [name] = readdirSync(w.path("state/replacements"));
    const theirs = JSON.stringify({ token: "demo", key: "k", replaces: ["theirs"] });
    // The token's hook runs between what was seen of the key and what is done with it.
    await mark(tokenMarker("hooks", (await w.declaration()).tokens.demo!, w.surroundings()));
    const begin = () => w.write(`state/replacements/${name}`, theirs);
    expect(await w.applied({ progress: { begin, end: () => undefined } })).toEqual(["k kept"]);
    expect(w.read(`state/replacements/${name}`)).toBe(theirs);
  });

  test("does not hide that a key was lost", async () => {
    const w = world(CERTIFIED);
    await w.applied();
    w.layer = killedAt("C_SetAttributeValue", 0, "before");
    await expect(w.applied({ rotate: ["k"] })).rejects.toThrow("killed");
    w.layer = undefined;
    expect(await destroyPrepared(w)).toBe(3);
    await w.within(async (session) => {
      await (await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_LABEL: "k" })).destroy();
    });
    expect((await w.plan()).steps).toMatchObject([
      { action: "refuse", reason: expect.stringContaining("private key is not in the token") },
    ]);
  });

  test.each(["issue", "promote"] as const)(
    "and beside which somebody put another key under the id, after %s, is refused, and nothing is touched",
    async (action) => {
      const w = world(CERTIFIED.replace("P-256,", "P-256, retireOld: destroy,"));
      await w.applied();
      await killedAfter(w, action, ["k"]);
      const { mechanism, publicKey, privateKey } = templatesOfTest("01", "k");
      await w.within(async (session) => {
        await session.generateKeyPair(mechanism, publicKey, privateKey);
      });
      const before = await w.objects();
      expect(await w.applied()).toEqual(["k refused"]);
      expect(await w.objects()).toEqual(before);
    },
  );

  test("whose type is not the declared one by now is begun again, when that is asked for", async () => {
    const w = world(CERTIFIED.replace("P-256,", "P-256, retireOld: destroy,"));
    await w.applied();
    await killedAfter(w, "generate", ["k"]);
    w.declare(CERTIFIED.replace("P-256,", "P-384, retireOld: destroy,"));
    expect((await w.plan()).steps).toMatchObject([
      {
        action: "refuse",
        reason: expect.stringContaining("the replacement that an earlier run prepared is not as declared"),
      },
    ]);
    expect(await w.steps(["k"])).toEqual(["retire k", "generate k", "issue k", "promote k", "archive k", "retire k"]);
    expect(await w.applied({ rotate: ["k"] })).toEqual(["k done"]);
    expect((await seen(w)).map(({ type }) => type).filter(Boolean)).toEqual(["EC:secp384r1", "EC:secp384r1"]);
    expect(await w.steps()).toEqual(["keep k"]);
  });

  test("whose certificate is due meanwhile gets another before it takes the key's place", async () => {
    const declared = CERTIFIED.replace("CN=k", "CN=k, validity: 1d, renewBefore: 1h, publish: [{ path: k.pem }]");
    const w = world(declared);
    await w.applied();
    await killedAfter(w, "issue", ["k"]);
    w.now = new Date(w.now.getTime() + 10 * 86_400_000);
    expect(await w.steps()).toEqual(["issue k", "promote k", "archive k", "publish k"]);
    expect(await w.applied()).toEqual(["k done"]);
    expect(new Date(new X509Certificate(w.read("k.pem")).validTo).getTime()).toBeGreaterThan(w.now.getTime());
    expect(await w.steps()).toEqual(["keep k"]);
  });

  test("of which only the public part is left is cleared away", async () => {
    const w = world(CERTIFIED);
    await w.applied();
    await killedAfter(w, "issue", ["k"]);
    await w.within(async (session) => {
      await (await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_LABEL: "k~new" })).destroy();
    });
    const before = await current(w);
    expect(await w.steps()).toEqual(["retire k"]);
    expect(await w.applied()).toEqual(["k done"]);
    expect(await w.objects()).toHaveLength(3);
    expect(await current(w)).toBe(before);
    expect(await w.steps()).toEqual(["keep k"]);
  });

  test("puts all of the old key under one archive identity, and no two keys under the same", async () => {
    const w = world(CERTIFIED);
    await w.applied();
    await w.applied({ rotate: ["k"] });
    w.layer = killedAt("C_SetAttributeValue", 3);
    await expect(w.applied({ rotate: ["k"] })).rejects.toThrow("killed");
    w.layer = undefined;
    w.now = new Date(w.now.getTime() + 60_000);
    await w.applied();
    const archived = (await w.objects()).filter((object) => object.includes("~")).map((object) => object.split(" ")[2]);
    expect(archived.sort()).toEqual([
      ...Array<string>(3).fill("k~20261121T120000Z"),
      ...Array<string>(3).fill("k~20261121T120001Z"),
    ]);
  });

  const BARE = [
    ["EC:P-256, usage: [sign]", ""],
    ["EC:P-256, usage: [derive]", ""],
    ["EC:P-256, usage: [sign]", ", attributes: { alwaysAuthenticate: true }"],
    ["EC:P-256, usage: [derive]", ", attributes: { allowedMechanisms: [CKM_ECDH1_DERIVE] }"],
    ["RSA:2048, usage: [decrypt]", ""],
  ] as const;

  let hsm: SoftHsm;
  let labels = 0;
  beforeAll(() => {
    hsm = softHsm();
  });
  afterAll(() => hsm.remove());

  describe.each([
    ["the built-in token", (): string => SOFTTOKEN, [...BARE, ["X25519, usage: [derive]", ""], ["Ed25519", ""]]],
    ["SoftHSM2", (): string => `{ module: ${hsm.path}, label: token-${++labels}, store: ${hsm.store} }`, BARE],
  ] as const)("on %s", (name, token, types) => {
    const on = name === "SoftHSM2" ? withPeer : test;

    on.each(types)("of a key without certificate is completed: %s%s", async (type, more) => {
      const w = world(`  k: { token: demo, id: 1, type: ${type}${more} }\n`, token());
      await w.applied();
      const before = await current(w);
      await killedAfter(w, "promote", ["k"]);
      expect((await w.objects()).filter((object) => object.startsWith("private 01"))).toHaveLength(2);
      expect(await w.applied()).toEqual(["k done"]);
      expect(await current(w)).not.toBe(before);
      expect(await w.objects()).toHaveLength(4);
      expect(await w.steps()).toEqual(["keep k"]);
    });

    on("is completed after each object that takes or gives up the identity", async () => {
      const w = world(CERTIFIED.replace("P-256,", "P-256, usage: [sign, derive],"), token());
      await w.applied();
      for (let at = 0; at < 6; at += 1) {
        const before = await current(w);
        w.layer = killedAt("C_SetAttributeValue", at);
        await expect(w.applied({ rotate: ["k"] })).rejects.toThrow("killed");
        w.layer = undefined;
        w.now = new Date(w.now.getTime() + 60_000);
        expect(await w.applied(), `${at}`).toEqual([at < 5 ? "k done" : "k kept"]);
        expect(await current(w)).not.toBe(before);
        expect(await w.objects()).toHaveLength(3 * (at + 2));
      }
    });

    on.each([0, 1, 2])("of a key that cannot be kept is completed after %i objects are destroyed", async (at) => {
      const declared = CERTIFIED.replace("P-256,", "P-256, retireOld: destroy, attributes: { modifiable: false },");
      const w = world(declared, token());
      await w.applied();
      const before = await current(w);
      w.layer = killedAt("C_DestroyObject", at, "before");
      await expect(w.applied({ rotate: ["k"] })).rejects.toThrow("killed");
      w.layer = undefined;
      if (at === 0) {
        expect(await w.steps()).toEqual(["keep k"]);
        return;
      }
      expect(await w.steps()).toEqual(["retire k", "generate k", "issue k"]);
      expect(await w.applied()).toEqual(["k done"]);
      expect(await current(w)).not.toBe(before);
      expect(await w.objects()).toHaveLength(3);
      expect(await w.steps()).toEqual(["keep k"]);
    });
  });

  test.each([1, 3])("gives the declared serial to no second certificate, where %i objects are gone", async (gone) => {
    const declared = CERTIFIED.replace("P-256,", "P-256, retireOld: destroy, attributes: { modifiable: false },");
    const w = world(declared.replace("CN=k", 'CN=k, serial: "0x0a"'));
    await w.applied();
    const serial = async () => {
      const { der } = (await seen(w)).find((object) => object.class === "certificate")!;
      return new X509Certificate(Buffer.from(der!, "base64")).serialNumber;
    };
    expect(await serial()).toBe("0A");
    w.layer = killedAt("C_DestroyObject", gone - 1);
    await expect(w.applied({ rotate: ["k"] })).rejects.toThrow("killed");
    w.layer = undefined;
    expect(await w.objects()).toHaveLength(3 - gone);
    expect(await w.applied()).toEqual(["k done"]);
    expect(await serial()).toMatch(/^[0-9A-F]{32}$/);
  });

  test("keeps the old key until its hook has run, whatever the declaration calls it by then", async () => {
    const declared = CERTIFIED.replace("P-256,", "P-256, retireOld: destroy,").replace("CN=k", "CN=k, hook: ./hook");
    const w = world(declared.replace("id: 1", "id: 1, label: k"));
    w.write("hook", "#!/bin/sh\n[ $2 = old ] || exit 1\n", 0o755);
    expect(await w.applied()).toEqual([expect.stringContaining("k failed: the hook")]);
    expect(await w.applied({ rotate: ["k"] })).toEqual([expect.stringContaining("k failed: the hook")]);
    w.declare(declared.replace("  k:", "  other:").replace("id: 1", "id: 1, label: k"));
    expect(await w.steps()).toEqual(["hook other", "retire other"]);
    w.write("hook", "#!/bin/sh\nexit 0\n", 0o755);
    expect(await w.applied()).toEqual(["other done"]);
    expect(await w.steps()).toEqual(["keep other"]);
  });
});

/** A process that ends at the nth call of a function, counted from 0: no call after it is made. */
function killedAt(fn: string, at: number, when: "before" | "after" = "after"): (inner: Cryptoki) => Cryptoki {
  let passed = 0;
  return (inner) => ({
    call: async (name, args) => {
      if (name !== fn || passed++ !== at) return inner.call(name, args);
      if (when === "after") await inner.call(name, args);
      throw new Error("killed");
    },
  });
}
