/** What the engine costs a token, and the options that have no place elsewhere. */
import { chownSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import type { Args, Cryptoki, FunctionName } from "../../src/cryptoki/port.ts";
import type { Step } from "../../src/lifecycle/plan/steps.ts";
import { CKU } from "../../src/spec/objects.ts";
import { readCertificates } from "../../src/x509/read.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
import { templatesOfTest } from "../support/templates.ts";
import { World } from "../support/world.ts";

const SOFTTOKEN = "{ module: softtoken, store: store/token.db, label: demo }";

function world(keys: string, token = SOFTTOKEN): World {
  const made = new World({ token, keys });
  onTestFinished(() => made.remove());
  return made;
}

function counter(): { layer: (inner: Cryptoki) => Cryptoki; calls: { fn: FunctionName; args: Args<FunctionName> }[] } {
  const calls: { fn: FunctionName; args: Args<FunctionName> }[] = [];
  return {
    calls,
    layer: (inner) => ({
      call: (fn, args) => {
        // Buffers are wiped after use: what is kept has to be a copy.
        calls.push({ fn, args: structuredClone(args) });
        return inner.call(fn, args);
      },
    }),
  };
}

const CA =
  "  ca: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=ca, validity: 10y, extensions: [v3_ca], publish: [{ path: ca.pem }] } }\n";

describe("the cost of looking", () => {
  test("one load, one login and one search, however many keys", async () => {
    const keys = Array.from(
      { length: 40 },
      (_, i) =>
        `  k${i}: { token: demo, id: ${i + 2}, type: EC:P-256, certificate: { subject: CN=k${i}, issuer: ca, validity: 90d } }\n`,
    );
    const w = world(CA + keys.join(""));
    await w.applied();
    const { layer, calls } = counter();
    w.layer = layer;
    const plan = await w.plan();
    expect(new Set(plan.steps.map(({ action }) => action))).toEqual(new Set(["keep"]));
    const count = (fn: FunctionName) => calls.filter((call) => call.fn === fn).length;
    expect([count("C_Initialize"), count("C_Login"), count("C_FindObjectsInit"), count("C_Finalize")]).toEqual([
      1, 1, 1, 1,
    ]);
    expect(count("C_Sign")).toBe(0);
  });
});

describe("options", () => {
  test("an issuer that waits makes those that it issues for wait too, and nothing is made of them", async () => {
    const www =
      "  www: { token: demo, id: 2, type: EC:P-256, certificate: { subject: CN=www, issuer: ca, validity: 90d } }\n";
    const w = world(CA.replace("type:", "validStarting: 2027-01-01, type:") + www);
    expect(await w.applied()).toEqual(["ca waiting", "www waiting"]);
    w.now = new Date("2027-01-01T00:00:00Z");
    expect(await w.applied()).toEqual(["ca done", "www done"]);
  });

  test("initHook runs once, after the token was initialised, and knows its URI", async () => {
    const w = world(CA, "{ module: softtoken, store: store/token.db, label: demo, initHook: ./init }");
    w.write("init", '#!/bin/sh\necho "$1 $KEYWRIGHT_URI" >> init.log\n', 0o755);
    await w.applied();
    await w.applied();
    expect(w.read("init.log")).toMatch(/^demo pkcs11:.*token=demo\n$/);
  });

  test("an initHook that fails is run again by the next apply, before any key is made", async () => {
    const w = world(CA, "{ module: softtoken, store: store/token.db, label: demo, initHook: ./init }");
    w.write("init", '#!/bin/sh\necho "$1" >> init.log\nexit 3\n', 0o755);
    expect((await w.steps()).slice(0, 3)).toEqual(["initialise demo", "initHook demo", "generate ca"]);
    await expect(w.applied()).rejects.toThrow("the initHook init of demo ended with exit code 3");
    expect((await w.steps()).slice(0, 2)).toEqual(["initHook demo", "generate ca"]);
    await expect(w.applied()).rejects.toThrow("exit code 3");
    w.write("init", '#!/bin/sh\necho "$1" >> init.log\n', 0o755);
    expect(await w.applied()).toEqual(["ca done"]);
    expect(w.read("init.log")).toBe("demo\ndemo\ndemo\n");
    expect(await w.steps()).toEqual(["keep ca"]);
  });

  test("every way of publishing: certificate, chain, fullchain and the key's URI as PEM", async () => {
    const what = ["certificate", "chain", "fullchain", "uri-pem"]
      .map((one) => `{ path: ${one}.pem, what: ${one} }`)
      .join(", ");
    const sub = `  sub: { token: demo, id: 2, type: EC:P-256, certificate: { subject: CN=sub, issuer: ca, validity: 5y, extensions: [v3_ca] } }\n`;
    const leaf = `  leaf: { token: demo, id: 3, type: EC:P-256, certificate: { subject: CN=leaf, issuer: sub, validity: 90d, publish: [ ${what} ] } }\n`;
    const w = world(CA + sub + leaf);
    await w.applied();
    const subjects = (name: string) =>
      readCertificates(Buffer.from(w.read(name))).map(({ subject }) =>
        subject
          .flat()
          .map(({ value }) => value)
          .join(),
      );
    expect(subjects("certificate.pem")).toEqual(["leaf"]);
    expect(subjects("chain.pem")).toEqual(["sub", "ca"]);
    expect(subjects("fullchain.pem")).toEqual(["leaf", "sub"]);
    const der = Buffer.from(w.read("uri-pem.pem").split("\n").slice(1, -2).join(""), "base64");
    expect(w.read("uri-pem.pem")).toContain("BEGIN PKCS#11 PROVIDER URI");
    expect(der.toString("latin1")).toMatch(/PKCS#11 Provider URI v1\.0.*pkcs11:id=%03;.*type=private$/s);
    expect(der.toString("latin1")).not.toContain("pin-value");
    expect(await w.steps()).toEqual(["keep ca", "keep sub", "keep leaf"]);
  });

  test("a serial number, a digest and a name in RFC 4514's order come as declared", async () => {
    const w = world(
      '  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: "CN=k,O=Example,C=US", serial: "0x00ff01", digest: sha512, publish: [{ path: k.pem }] } }\n',
    );
    await w.applied();
    const [facts] = readCertificates(Buffer.from(w.read("k.pem")));
    expect(facts!.serial).toBe("FF01");
    expect(facts!.subject.map(([attribute]) => attribute!.value)).toEqual(["US", "Example", "k"]);
    expect(await w.steps()).toEqual(["keep k"]);
  });

  test("a declared serial number is for the first certificate: no later one has it again", async () => {
    const declared = (more: string) =>
      `  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=k, serial: "0x05", publish: [{ path: k.pem }]${more} } }\n`;
    const w = world(declared(""));
    await w.applied();
    const serial = () => readCertificates(Buffer.from(w.read("k.pem")))[0]!.serial;
    expect(serial()).toBe("05");
    w.declare(declared(", extensions: [v3_ca]"));
    await w.applied();
    expect(serial()).toMatch(/^[0-9A-F]{20,}$/);
    await w.applied({ rotate: ["k"] });
    expect(serial()).not.toBe("05");
    expect(await w.steps()).toEqual(["keep k"]);
  });

  test("a digest or padding that is declared later is met with a new certificate", async () => {
    const declared = (more: string) =>
      `  k: { token: demo, id: 1, type: RSA:2048, certificate: { subject: CN=k${more} } }\n`;
    const w = world(declared(""));
    await w.applied();
    w.declare(declared(", digest: sha512"));
    expect((await w.plan()).steps[0]).toMatchObject({ action: "renew", reason: "digest: SHA-256 -> SHA-512" });
    w.declare(declared(", pss: true, digest: sha384"));
    expect((await w.plan()).steps[0]).toMatchObject({ action: "renew", reason: "its signature is not RSASSA-PSS" });
    await w.applied();
    expect(await w.steps()).toEqual(["keep k"]);
    w.declare(declared(", pss: true"));
    expect(await w.steps()).toEqual(["keep k"]);
  });

  test.skipIf(process.getuid?.() !== 0)("the owner of a published file is compared, and set again", async () => {
    const w = world(CA.replace("path: ca.pem", 'path: ca.pem, owner: "12345:54321"'));
    await w.applied();
    const { uid, gid } = statSync(w.path("ca.pem"));
    expect([uid, gid]).toEqual([12345, 54321]);
    chownSync(w.path("ca.pem"), 0, 0);
    expect(await w.steps()).toEqual(["publish ca"]);
    await w.applied();
    expect(statSync(w.path("ca.pem")).uid).toBe(12345);
    expect(await w.steps()).toEqual(["keep ca"]);
  });

  test("a file whose folder is missing gets it; an owner that is unknown is refused before anything is made", async () => {
    const w = world(CA.replace("path: ca.pem", "path: certs/of/ca.pem"));
    expect(await w.applied()).toEqual(["ca done"]);
    expect(w.read("certs/of/ca.pem")).toContain("BEGIN CERTIFICATE");
    const v = world(CA.replace("path: ca.pem", "path: ca.pem, owner: nobody-of-that-name"));
    expect((await v.plan()).steps.slice(1)).toMatchObject([
      { action: "refuse", reason: expect.stringContaining('knows no user "nobody-of-that-name"') },
    ]);
  });

  test("a key that may sign with some mechanisms only is certified, renewed and replaced with those", async () => {
    const declared =
      "  k: { token: demo, id: 1, type: RSA:2048, attributes: { allowedMechanisms: [SHA384_RSA_PKCS_PSS] }, certificate: { subject: CN=k, pss: true, digest: sha384 } }\n" +
      "  e: { token: demo, id: 2, type: EC:P-256, attributes: { allowedMechanisms: [ECDSA_SHA512] } }\n";
    const w = world(declared);
    expect(await w.applied()).toEqual(["k done", "e done"]);
    expect(await w.applied({ rotate: ["k", "e"] })).toEqual(["k done", "e done"]);
    expect(await w.steps()).toEqual(["keep k", "keep e"]);
  });

  test("a key that is not modifiable is replaced only where the old one may be destroyed", async () => {
    const declared = (more = "") =>
      `  k: { token: demo, id: 1, type: EC:P-256, attributes: { modifiable: false }${more}, certificate: { subject: CN=k } }\n`;
    const w = world(declared());
    await w.applied();
    expect((await w.plan(["k"])).steps[0]).toMatchObject({
      action: "refuse",
      reason: expect.stringContaining("the id of a key that is not modifiable cannot be changed"),
    });
    w.declare(declared(", retireOld: destroy"));
    expect(await w.applied({ rotate: ["k"] })).toEqual(["k done"]);
    w.declare(declared().replace("modifiable: false", "modifiable: true, copyable: false"));
    expect((await w.plan()).steps[0]).toMatchObject({
      action: "refuse",
      reason:
        "it is not as declared: CKA_MODIFIABLE: false in the token, true declared; CKA_COPYABLE: true in the token, false declared",
    });
  });

  test("from the first change under a key's identity a marker says that its hook is to run", async () => {
    const w = world(CA.replace("publish:", "hook: ./hook, publish:"));
    w.write("hook", "#!/bin/sh\n", 0o755);
    const marker = () => readdirSync(w.path("state/hooks")).some((name) => name.startsWith("key-ca-"));
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
    renameSync(w.path("root.db"), w.path("away.db"));
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

  test("a label alone makes nothing a replacement or an archive", async () => {
    const declared = (www: string) =>
      `  www: { token: demo, id: 1, type: EC:P-256${www} }\n` +
      '  b: { token: demo, id: 2, label: "www~new", type: EC:P-256 }\n' +
      '  c: { token: demo, id: 3, label: "www~20260101T000000Z", type: EC:P-256 }\n';
    const w = world(declared(""));
    await w.applied();
    expect(await w.steps()).toEqual(["keep www", "keep b", "keep c"]);
    w.declare(declared(", retireOld: destroy").split("\n").slice(0, 1).join("\n") + "\n");
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
        reason: expect.stringContaining("with its id belongs to another key, and is not what was replaced"),
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
      reason: "the certificate with its id belongs to another key, and is not what was replaced",
    });
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

  test("certificates across two tokens: the issuer lives in one, the key in the other", async () => {
    const w = world(CA);
    const token = (name: string) =>
      `  ${name}: { module: softtoken, store: ${name}.db, label: ${name}, pin: { file: user.pin }, soPin: { file: so.pin } }\n`;
    w.write(
      "keys.yaml",
      `tokens:\n${token("root")}${token("edge")}keys:\n${CA.replace("token: demo", "token: root")}  www: { token: edge, id: 1, type: EC:P-256, certificate: { subject: CN=www, issuer: ca, validity: 90d } }\n`,
    );
    expect(await w.steps()).toEqual([
      "initialise root",
      "initialise edge",
      "generate ca",
      "issue ca",
      "publish ca",
      "generate www",
      "issue www",
    ]);
    expect(await w.applied()).toEqual(["ca done", "www done"]);
    expect(await w.steps()).toEqual(["keep ca", "keep www"]);
  });

  test("attributes of the private key come as declared", async () => {
    const attributes =
      "attributes: { extractable: true, alwaysAuthenticate: true, allowedMechanisms: [ECDSA, CKM_ECDSA_SHA256] }";
    const w = world(`  k: { token: demo, id: 1, type: EC:P-256, ${attributes}, certificate: { subject: CN=k } }\n`);
    expect(await w.applied()).toEqual(["k done"]);
    const seen = (await w.observe()).tokens.demo;
    if (seen?.state !== "present") throw new Error("not there");
    expect(seen.objects.find((object) => object.class === "private")).toMatchObject({
      flags: { CKA_EXTRACTABLE: true, CKA_ALWAYS_AUTHENTICATE: true, CKA_SENSITIVE: true },
      allowedMechanisms: expect.arrayContaining(["CKM_ECDSA", "CKM_ECDSA_SHA256"]),
    });
    expect(await w.steps()).toEqual(["keep k"]);
  });
});

describe.skipIf(!peer("softhsm2"))("writeAs: so, on SoftHSM2", () => {
  const hsm = softHsm();
  afterAll(() => hsm.remove());

  test("a certificate is written as the SO, signed as the user, and each role gets its own PIN", async () => {
    const token = (writeAs: string) =>
      `{ module: ${hsm.path}, label: roles, writeAs: ${writeAs}, environment: { SOFTHSM2_CONF: ${hsm.environment.SOFTHSM2_CONF} } }`;
    const w = world("  k: { token: demo, id: 1, type: EC:P-256 }\n", token("user"));
    await w.applied();
    const so = new World({
      token: token("so"),
      keys: "  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=k } }\n",
    });
    onTestFinished(() => so.remove());
    const { layer, calls } = counter();
    so.layer = layer;
    expect(await so.applied()).toEqual(["k done"]);
    const logins = calls.flatMap(({ fn, args }) => (fn === "C_Login" ? [args as Args<"C_Login">] : []));
    const said = logins.map(
      ({ userType, pin }) => `${userType === CKU.CKU_SO[0] ? "SO" : "USER"} ${Buffer.from(pin ?? []).toString()}`,
    );
    expect(said).toEqual(["USER 1234-user", "SO so-12345678", "USER 1234-user"]);
    so.layer = undefined;
    expect(await so.steps()).toEqual(["keep k"]);
  });
});
