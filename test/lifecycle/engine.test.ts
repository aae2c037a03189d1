/** What the engine costs a token, and the options that have no place elsewhere. */
import { chownSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import type { Args, Cryptoki, FunctionName } from "../../src/cryptoki/port.ts";
import { hasChanges } from "../../src/lifecycle/plan/steps.ts";
import { statusOf } from "../../src/lifecycle/status.ts";
import { CKU } from "../../src/spec/objects.ts";
import { readCertificates } from "../../src/x509/read.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
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
    // Under a name that does not tell its family: where that is known, writeAs: so is refused when it is declared.
    const library = join(hsm.tokens, "../libtoken.so");
    symlinkSync(hsm.path, library);
    const token = (writeAs: string) =>
      `{ module: ${library}, label: roles, writeAs: ${writeAs}, environment: { SOFTHSM2_CONF: ${hsm.environment.SOFTHSM2_CONF} } }`;
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
    so.declare("  other: { token: demo, id: 2, type: EC:P-256 }\n");
    expect(await so.applied()).toEqual([
      expect.stringMatching(
        /^other failed: C_GenerateKeyPair: CKR_USER_NOT_LOGGED_IN, .*: the SO was \(writeAs: so\), and does not/,
      ),
    ]);
  });
});

test("a certificate that has ended and is not to be renewed is said to have ended", async () => {
  const w = world("  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=k, validity: 90d } }\n");
  await w.applied();
  w.now = new Date(w.now.getTime() + 91 * 86_400_000);
  const plan = await w.plan();
  expect(plan.steps).toMatchObject([{ action: "keep", notAfter: expect.any(String), ended: true }]);
  expect(hasChanges(plan)).toBe(false);
  expect(statusOf(await w.declaration(), await w.observe(), plan).keys).toMatchObject([
    { key: "k", state: "expired", remark: "its certificate has ended, and no renewBefore is declared" },
  ]);
  w.declare("  k: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=k, renewBefore: 30d } }\n");
  expect(await w.steps()).not.toContain("keep k");
});
