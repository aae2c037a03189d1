/** Keys of an outside CA, beyond what every token is tested with: renewal by a new key, tokens that keep no two, CAs. */
import { X509Certificate } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { FAMILIES } from "../../src/families/families.ts";
import { plan } from "../../src/lifecycle/plan/plan.ts";
import { certificateTemplate } from "../../src/lifecycle/templates.ts";
import { formatName } from "../../src/x509/names.ts";
import { readCertificate } from "../../src/x509/read.ts";
import { readRequest } from "../../src/x509/requests.ts";
import { outsideCa } from "../support/outside-ca.ts";
import { World } from "../support/world.ts";

function world(certificate: string, more = ""): World {
  const made = new World({
    token: "{ module: softtoken, store: store/token.db, label: demo }",
    keys: `  out: { token: demo, id: 1, type: EC:P-256${more}, certificate: { subject: CN=out, ${certificate} } }\n`,
  });
  onTestFinished(() => made.remove());
  return made;
}

const BOTH = "csr: requests/out.csr, import: out.crt";

test("renewKey: true asks for a certificate of a new key when the time comes, and keeps the old one until it is there", async () => {
  const w = world(`${BOTH}, renewBefore: 10d, renewKey: true`);
  await w.applied();
  const ca = outsideCa(w);
  ca.issue("requests/out.csr", "out.crt");
  await w.applied();
  expect(await w.steps()).toEqual(["keep out"]);
  w.now = new Date(Date.parse(new X509Certificate(w.read("out.crt")).validTo) - 5 * 86_400_000);
  expect(await w.steps()).toEqual(["generate out", "request out", "wait out"]);
  await w.applied();
  expect(await w.steps()).toEqual(["wait out"]);
  ca.issue("requests/out.csr", "out.crt", 365);
  expect(await w.applied()).toEqual(["out done"]);
  expect(await w.steps()).toEqual(["keep out"]);
});

test("while a replacement waits, a newer certificate of the key that is there is taken for it", async () => {
  const w = world(BOTH);
  await w.applied();
  const ca = outsideCa(w);
  w.write("first.csr", w.read("requests/out.csr"));
  ca.issue("first.csr", "out.crt");
  await w.applied();
  await w.applied({ rotate: ["out"] });
  ca.issue("first.csr", "out.crt", 60);
  expect(await w.steps()).toEqual(["import out", "archive out"]);
  await w.applied();
  expect((await w.plan()).steps).toMatchObject([
    { action: "wait", reason: expect.stringContaining("its replacement") },
  ]);
  ca.issue("requests/out.csr", "out.crt");
  expect(await w.steps()).toEqual(["import out", "promote out", "archive out"]);
});

test("a certificate of neither the key nor its replacement is refused, and both stay", async () => {
  const w = world(BOTH);
  await w.applied();
  const ca = outsideCa(w);
  ca.issue("requests/out.csr", "out.crt");
  await w.applied();
  await w.applied({ rotate: ["out"] });
  const before = await w.objects();
  w.write("out.crt", w.read("x.crt"));
  expect((await w.plan()).steps).toMatchObject([
    { action: "refuse", reason: "the certificate in out.crt does not match the key" },
  ]);
  expect(await w.applied()).toEqual(["out refused"]);
  expect(await w.objects()).toEqual(before);
});

test("a request that was lost is written again for the key that waits", async () => {
  const w = world("csr: out.csr");
  expect(await w.steps()).toEqual(["initialise demo", "generate out", "request out", "wait out"]);
  await w.applied();
  await w.applied({ rotate: ["out"] });
  const spki = () => Buffer.from(readRequest(Buffer.from(w.read("out.csr"))).spki).toString("hex");
  const asked = spki();
  w.write("out.csr", "lost");
  expect(await w.steps()).toEqual(["request out", "wait out"]);
  await w.applied();
  expect(spki()).toEqual(asked);
});

test("a token that cannot keep two keys is not left without a certified one", async () => {
  const w = world(BOTH, ", retireOld: destroy");
  await w.applied();
  outsideCa(w).issue("requests/out.csr", "out.crt");
  await w.applied();
  const seen = await w.observe();
  const { demo } = seen.tokens;
  if (demo?.state !== "present") throw new Error("not there");
  const observation = { ...seen, tokens: { demo: { ...demo, family: "yubikey" as const } } };
  expect(plan(await w.declaration(), observation, w.now, { rotate: ["out"] }).steps).toMatchObject([
    { action: "refuse", reason: expect.stringMatching(/so there would be no certified key until the outside CA/) },
  ]);
});

test("an issuer whose outside CA certified a new key issues its children anew", async () => {
  const w = world(BOTH);
  const www =
    "  www: { token: demo, id: 2, type: EC:P-256, certificate: { subject: CN=www, issuer: out, validity: 5d } }\n";
  const out = `  out: { token: demo, id: 1, type: EC:P-256, certificate: { subject: CN=out, extensions: [v3_ca], ${BOTH} } }\n`;
  w.declare(out + www);
  expect(await w.steps()).toEqual(["initialise demo", "generate out", "request out", "wait out", "wait www"]);
  await w.applied();
  const ca = outsideCa(w);
  ca.issue("requests/out.csr", "out.crt");
  expect(await w.applied()).toEqual(["out done", "www done"]);
  await w.applied({ rotate: ["out"] });
  expect(await w.steps()).toEqual(["wait out", "keep www"]);
  ca.issue("requests/out.csr", "out.crt");
  expect(await w.steps()).toEqual(["import out", "promote out", "archive out", "renew www", "archive www"]);
  expect(await w.applied()).toEqual(["out done", "www done"]);
  expect(await w.steps()).toEqual(["keep out", "keep www"]);
});

test("what the CA sent along is published above the certificate; a file that needs what it did not send is waited for", async () => {
  const w = world(
    `${BOTH}, publish: [{ path: out.pem }, { path: chain.pem, what: chain }, { path: full.pem, what: fullchain }]`,
  );
  await w.applied();
  const ca = outsideCa(w);
  ca.issue("requests/out.csr", "leaf.crt");
  w.write("out.crt", w.read("leaf.crt"));
  expect(await w.applied()).toEqual(["out done"]);
  expect([existsSync(w.path("out.pem")), existsSync(w.path("chain.pem")), existsSync(w.path("full.pem"))]).toEqual([
    true,
    false,
    true,
  ]);
  expect((await w.plan()).steps).toMatchObject([
    { action: "wait", reason: "chain.pem needs those above it, which out.crt does not hold" },
  ]);
  w.write("out.crt", `${w.read("leaf.crt")}${w.read("x.crt")}`);
  expect(await w.steps()).toEqual(["publish out"]);
  await w.applied();
  expect(w.read("chain.pem").trim()).toBe(w.read("x.crt").trim());
  expect(await w.steps()).toEqual(["keep out"]);
});

test("a request is written again when another name is declared while it waits", async () => {
  const w = world(BOTH);
  await w.applied();
  expect(await w.steps()).toEqual(["wait out"]);
  w.write("keys.yaml", w.read("keys.yaml").replace("CN=out", "CN=other"));
  expect(await w.steps()).toEqual(["request out", "wait out"]);
  await w.applied();
  expect(formatName(readRequest(Buffer.from(w.read("requests/out.csr"))).subject)).toBe("CN=other");
});

test("a certificate that has ended is not taken", async () => {
  const w = world(BOTH);
  await w.applied();
  outsideCa(w).issue("requests/out.csr", "out.crt", 1);
  w.now = new Date(Date.now() + 3 * 86_400_000);
  expect((await w.plan()).steps).toMatchObject([
    { action: "refuse", reason: expect.stringMatching(/^the certificate in out.crt ended on /) },
  ]);
});

test("a file that shows the certificate with those above it is not left behind by a newer one", async () => {
  const w = world(`${BOTH}, publish: [{ path: full.pem, what: fullchain }]`);
  await w.applied();
  const ca = outsideCa(w);
  ca.issue("requests/out.csr", "leaf.crt");
  w.write("out.crt", `${w.read("leaf.crt")}${w.read("x.crt")}`);
  await w.applied();
  ca.issue("requests/out.csr", "leaf.crt", 60);
  const newer = readCertificate(Buffer.from(new X509Certificate(w.read("leaf.crt")).raw));
  rmSync(w.path("out.crt"));
  expect(await w.steps()).toEqual(["keep out"]);
  await w.within(async (session) => {
    await session.create(certificateTemplate(newer, { id: "01", label: "out" }, FAMILIES[0]!));
  });
  expect(await w.steps()).toEqual(["archive out", "wait out"]);
  await w.applied();
  expect((await w.plan()).steps).toMatchObject([
    { action: "wait", reason: expect.stringMatching(/^full.pem needs the certificates above/) },
  ]);
});

test("a child whose published chain cannot be made any more is refused before its key is replaced", async () => {
  const w = world(BOTH);
  w.write(
    "keys.yaml",
    `${w.read("keys.yaml").replace("csr:", "extensions: [v3_ca], csr:")}  www: { token: demo, id: 2, type: EC:P-256, retireOld: destroy, certificate: { subject: CN=www, issuer: out, validity: 1d, publish: [{ path: full.pem, what: fullchain }] } }\n`,
  );
  await w.applied();
  outsideCa(w).issue("requests/out.csr", "out.crt");
  await w.applied();
  rmSync(w.path("out.crt"));
  const before = await w.objects();
  expect(await w.applied({ rotate: ["www"] })).toEqual(["out kept", "www refused"]);
  expect(await w.objects()).toEqual(before);
});

test("the certificate of the key that was replaced is passed over while it still lies in the import file", async () => {
  const w = world(BOTH, ", retireOld: destroy");
  await w.applied();
  const ca = outsideCa(w);
  ca.issue("requests/out.csr", "out.crt");
  await w.applied();
  const old = w.read("out.crt");
  await w.applied({ rotate: ["out"] });
  w.now = new Date(w.now.getTime() + 5000);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  ca.issue("requests/out.csr", "out.crt");
  expect(await w.applied()).toEqual(["out done"]);
  w.write("out.crt", old);
  expect(await w.steps()).toEqual(["keep out"]);
});

test("a certificate renewed in place leaves nothing for a second run", async () => {
  const w = world(BOTH, ", retireOld: destroy");
  await w.applied();
  const ca = outsideCa(w);
  ca.issue("requests/out.csr", "out.crt");
  await w.applied();
  ca.issue("requests/out.csr", "out.crt", 60);
  expect(await w.steps()).toEqual(["import out", "archive out", "retire out"]);
  await w.applied();
  expect(await w.steps()).toEqual(["keep out"]);
});
