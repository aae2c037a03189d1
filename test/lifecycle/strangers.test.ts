/** What is not as it was left: markers, handles, files, clocks, labels, tokens and certificates of somebody else. */
import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import { FAMILIES } from "../../src/families/families.ts";
import { withFreshToken } from "../../src/lifecycle/access.ts";
import type { Step } from "../../src/lifecycle/plan/steps.ts";
import { certificateTemplate } from "../../src/lifecycle/templates.ts";
import { readCertificate } from "../../src/x509/read.ts";
import { templatesOfTest } from "../support/templates.ts";
import { World } from "../support/world.ts";

function world(keys: string, token = "{ module: softtoken, store: store/token.db, label: demo }"): World {
  const made = new World({ token, keys });
  onTestFinished(() => made.remove());
  return made;
}

const CA =
  "  ca: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=ca, validity: 10y, extensions: [v3_ca], publish: [{ path: ca.pem }] } }\n";

describe("what is not as it was left", () => {
  test("from the first change under a key's identity a marker says that its hook is to run", async () => {
    const w = world(CA.replace("publish:", "hook: ./hook, publish:"));
    w.write("hook", "#!/bin/sh\n", 0o755);
    const marker = () => readdirSync(w.path("state/hooks")).some((name) => name.startsWith("key-"));
    mkdirSync(w.path("state/hooks"), { recursive: true });
    await w.applied();
    expect(marker()).toBe(false);
    const seen: string[] = [];
    const progress = {
      begin: (step: Step) => seen.push(`${step.action} ${marker()}`),
      end: (step: Step) => seen.push(`${step.action} done ${marker()}`),
    };
    await w.applied({ rotate: ["ca"], progress });
    expect(seen).toEqual([
      "ask false",
      "ask done false",
      "generate false",
      "generate done false",
      "issue false",
      "issue done true",
      ...["promote", "archive", "publish"].flatMap((action) => [`${action} true`, `${action} done true`]),
      "hook true",
      "hook done false",
    ]);
  });

  test.each([
    ["is there still", false, /^k failed: C_DestroyObject: CKR_OBJECT_HANDLE_INVALID/],
    ["is gone", true, /^k done$/],
  ])("an object to retire whose handle is not valid any more: it %s", async (_what, destroys, result) => {
    const declared = "  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=k } }\n";
    const w = world(declared);
    await w.applied();
    await w.applied({ rotate: ["k"] });
    w.declare(declared.replace("P-256,", "P-256, retireOld: destroy,"));
    expect(await w.steps()).toEqual(["retire k"]);
    w.layer = (inner) => ({
      call: async (fn, args) => {
        if (fn !== "C_DestroyObject") return inner.call(fn, args);
        if (destroys) await inner.call(fn, args);
        throw new CryptokiError(fn, "CKR_OBJECT_HANDLE_INVALID");
      },
    });
    expect(await w.applied()).toEqual([expect.stringMatching(result)]);
    w.layer = undefined;
    expect(await w.steps()).toEqual([destroys ? "keep k" : "retire k"]);
  });

  test("a file that an issuer is no part of is kept and written while that issuer's token is away", async () => {
    const w = world(CA);
    const token = (name: string, more: string) =>
      `  ${name}: { module: softtoken, store: ${name}.db, label: ${name}, pin: { file: user.pin }${more} }\n`;
    const SO = ", soPin: { file: so.pin }";
    const declare = (root: string) =>
      w.write(
        "keys.yaml",
        `tokens:\n${root}${token("edge", SO)}keys:\n${CA.replace("token: demo", "token: root, softFail: true")}  www: { token: edge, id: 1, type: EC:P-256, certificate: { subject: CN=www, issuer: ca, validity: 90d, publish: [{ path: www.pem }, { path: full.pem, what: fullchain }] } }\n`,
      );
    declare(token("root", SO));
    await w.applied();
    declare(token("root", ""));
    for (const ending of ["", "-wal", "-shm"]) renameSync(w.path(`root.db${ending}`), w.path(`away.db${ending}`));
    expect(await w.steps()).toEqual(["skip ca", "keep www"]);
    rmSync(w.path("www.pem"));
    expect(await w.steps()).toEqual(["skip ca", "publish www"]);
    expect(await w.applied()).toEqual(["ca skipped", "www done"]);
    rmSync(w.path("full.pem"));
    expect((await w.plan()).steps.at(-1)).toMatchObject({
      action: "wait",
      reason: "full.pem needs the certificate of ca, which cannot be seen",
    });
    expect(await w.applied()).toEqual(["ca skipped", "www waiting"]);
  });

  test("a plan is good for a day, and by this machine's clock", async () => {
    const w = world(CA);
    await w.applied();
    const planned = await w.plan(["ca"]);
    const made = w.now.getTime();
    for (const [ms, good] of [
      [-2 * 3_600_000, false],
      [25 * 3_600_000, false],
      [3_600_000, true],
    ] as const) {
      w.now = new Date(made + ms);
      const applied = w.applied({ planned });
      if (good) expect(await applied).toEqual(["ca done"]);
      else await expect(applied).rejects.toMatchObject({ code: "ERR_PLAN_STALE" });
    }
  });

  test("hooks of keys of one name in two tokens do not take each other's markers", async () => {
    const declared = "  www: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=www, hook: ./hook } }\n";
    const w = world(declared);
    w.write("hook", "#!/bin/sh\nexit 1\n", 0o755);
    expect(await w.applied()).toEqual([expect.stringContaining("www failed: the hook")]);
    w.write("hook", "#!/bin/sh\nexit 0\n", 0o755);
    const other = world(declared, "{ module: softtoken, store: other.db, label: demo }");
    other.write("hook", "#!/bin/sh\nexit 0\n", 0o755);
    other.state = w.path("state");
    expect(await other.applied()).toEqual(["www done"]);
    expect(await w.steps()).toEqual(["hook www"]);
  });

  test("a token that is reached by two spellings of its store is one", async () => {
    const w = world(CA);
    await w.applied();
    symlinkSync(w.path("store"), w.path("link"));
    const token = (name: string, store: string) =>
      `  ${name}: { module: softtoken, store: ${store}, label: demo, pin: { file: user.pin } }\n`;
    const b = CA.replace("  ca:", "  b:").replace("token: demo", "token: other").replace("ca.pem", "b.pem");
    const declare = (store: string) =>
      w.write("keys.yaml", `tokens:\n${token("demo", "store/token.db")}${token("other", store)}keys:\n${CA}${b}`);
    declare("link/token.db");
    expect((await w.plan()).steps).toMatchObject([{ action: "keep" }, { action: "refuse", key: "b" }]);
    declare("./store/token.db");
    await expect(w.plan()).rejects.toThrow("it is the same token as demo");
  });

  test("a token that has its label and no user PIN is given one; what fails meanwhile fails once, as what it is", async () => {
    const w = world(CA);
    const { tokens } = await w.declaration();
    await withFreshToken(tokens.demo!, w.surroundings(), async (blank) => {
      await blank!.initialise("demo", Pin.from("so-12345678"));
    });
    expect((await w.plan()).steps[0]).toEqual({ action: "initialise", token: "demo", label: "demo", onlyPin: true });
    let asked = 0;
    const stop = () => {
      asked += 1;
      return Promise.reject(new Error("stop"));
    };
    await expect(w.applied({ confirm: stop })).rejects.toThrow("stop");
    expect(asked).toBe(1);
    expect(await w.applied()).toEqual(["ca done"]);
  });

  test("a label alone makes nothing a replacement or an archive", async () => {
    const declared = (www: string) =>
      `  www: { token: demo, id: 1, type: EC:P-256${www} }\n` +
      '  b: { token: demo, id: 2, label: "www~new", type: EC:P-256 }\n' +
      '  c: { token: demo, id: 3, label: "www~20260101T000000Z", type: EC:P-256 }\n';
    const w = world(declared(""));
    await w.applied();
    expect(await w.steps()).toEqual(["keep www", "keep b", "keep c"]);
    w.declare(declared(", retireOld: destroy").slice(0, declared(", retireOld: destroy").indexOf("\n") + 1));
    expect(await w.steps()).toEqual(["keep www"]);
  });

  test("another key or certificate that somebody put under the id is refused, and not archived as if it were replaced", async () => {
    const declared =
      "  k: { token: demo, id: 1, type: EC:P-256, retireOld: destroy, certificate: { subject: CN=k } }\n";
    const stranger = templatesOfTest("01", "k");
    const w = world(declared);
    await w.applied();
    await w.within(async (session) => {
      await session.generateKeyPair(stranger.mechanism, stranger.publicKey, stranger.privateKey);
    });
    const before = await w.objects();
    expect((await w.plan()).steps).toMatchObject([
      {
        action: "refuse",
        reason: "2 private keys have its id, and nothing tells which of them replaces the other",
      },
    ]);
    expect(await w.applied()).toEqual(["k refused"]);
    expect(await w.objects()).toEqual(before);

    const v = world(`${declared}  l: { token: demo, id: 2, type: EC:P-256, certificate: { subject: CN=l } }\n`);
    await v.applied();
    await v.within(async (session) => {
      const other = await session.findOne({ CKA_CLASS: "CKO_CERTIFICATE", CKA_ID: Uint8Array.of(2) });
      await other.copy({ CKA_ID: Uint8Array.of(1) });
    });
    expect((await v.plan()).steps[0]).toMatchObject({
      action: "refuse",
      reason: expect.stringMatching(
        /^the certificate with its id belongs to another key \(SHA-256 .*\), and is not what was replaced/,
      ),
    });
  });

  test("a stranger's whole key with its newer certificate for the same name does not displace the declared one", async () => {
    const declared =
      "  k: { token: demo, id: 1, type: EC:P-256, retireOld: destroy, certificate: { subject: CN=k } }\n";
    const w = world(declared);
    await w.applied();
    const other = world(declared, "{ module: softtoken, store: other.db, label: demo }");
    other.now = new Date(w.now.getTime() + 3_600_000);
    await other.applied();
    let der: Uint8Array | undefined;
    await other.within(async (session) => {
      der = (await (await session.findOne({ CKA_CLASS: "CKO_CERTIFICATE" })).get("CKA_VALUE")).CKA_VALUE;
    });
    const facts = readCertificate(der!);
    await w.within(async (session) => {
      const { mechanism, publicKey, privateKey } = templatesOfTest("01", "k");
      await session.generateKeyPair(mechanism, publicKey, privateKey);
      await session.create(certificateTemplate(facts, { id: "01", label: "k" }, FAMILIES[0]!));
    });
    const before = await w.objects();
    w.now = other.now;
    expect(await w.applied()).toEqual(["k refused"]);
    expect(await w.objects()).toEqual(before);
  });

  test("keys that are not declared are not used", async () => {
    const w = world(CA);
    await w.applied();
    await w.within(async (session) => {
      const { mechanism, publicKey, privateKey } = templatesOfTest("77", "other");
      for (let i = 0; i < 2; i += 1) {
        await session.generateKeyPair(mechanism, publicKey, { ...privateKey, CKA_ALWAYS_AUTHENTICATE: true });
      }
    });
    const calls: string[] = [];
    w.layer = (inner) => ({
      call: (fn, args) => {
        calls.push(fn);
        return inner.call(fn, args);
      },
    });
    expect(await w.steps()).toEqual(["keep ca"]);
    expect(calls.filter((fn) => fn === "C_Login")).toHaveLength(1);
    expect(calls).not.toContain("C_SignInit");
  });

  test("two declared names that lead to one token are refused, by the declaration or when it is seen", async () => {
    const w = world(CA);
    await w.applied();
    const token = (name: string, by: string) =>
      `  ${name}: { module: softtoken, store: store/token.db, ${by}, pin: { file: user.pin } }\n`;
    const declare = (by: string) =>
      w.write(
        "keys.yaml",
        `tokens:\n${token("demo", "label: demo")}${token("other", by)}keys:\n${CA}${CA.replace("  ca:", "  b:").replace("token: demo", "token: other").replace("ca.pem", "b.pem")}`,
      );
    declare("label: demo");
    await expect(w.plan()).rejects.toThrow("it is the same token as demo");
    declare("uri: 'pkcs11:token=demo'");
    expect((await w.plan()).steps).toMatchObject([
      { action: "keep", key: "ca" },
      { action: "refuse", key: "b", reason: "the tokens demo and other are the same token" },
    ]);
  });

  test("a certificate that stands beside a key and is another's is noticed without a public key object", async () => {
    const w = world(
      "  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=k } }\n  l: { token: demo, id: 2, type: EC:P-256, certificate: { subject: CN=l } }\n",
    );
    await w.applied();
    await w.within(async (session) => {
      const one = (CKA_CLASS: "CKO_PUBLIC_KEY" | "CKO_CERTIFICATE", id: number) =>
        session.findOne({ CKA_CLASS, CKA_ID: Uint8Array.of(id) });
      await (await one("CKO_PUBLIC_KEY", 1)).destroy();
      await (await one("CKO_CERTIFICATE", 1)).destroy();
      await (await one("CKO_CERTIFICATE", 2)).set({ CKA_ID: Uint8Array.of(1) });
    });
    expect((await w.plan()).steps[0]).toMatchObject({
      action: "refuse",
      reason: "the certificate with its id belongs to another key",
    });
  });
});
