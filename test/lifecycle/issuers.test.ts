/** What follows for the keys that were issued for, and what is issued once. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { World } from "../support/world.ts";

function world(keys: string): World {
  const made = new World({ token: "{ module: softtoken, store: store/token.db, label: demo }", keys });
  onTestFinished(() => made.remove());
  return made;
}

const key = (name: string, id: number, certificate: string) =>
  `  ${name}: { token: demo, id: ${id}, type: EC:P-256, certificate: { subject: CN=${name}, ${certificate}, publish: [{ path: ${name}.pem }] } }\n`;

const ROOT = key("root", 1, "validity: 20y, extensions: [v3_ca]");
const SUB = key("sub", 2, "validity: 10y, issuer: root, extensions: [v3_ca]");

function isIssued(w: World, child: string, issuer: string): boolean {
  const [a, b] = [new X509Certificate(w.read(`${child}.pem`)), new X509Certificate(w.read(`${issuer}.pem`))];
  return a.checkIssued(b) && a.verify(b.publicKey);
}

function openssl(w: World, ...words: string[]): string {
  return execFileSync("openssl", words, { cwd: w.folder, encoding: "utf8" });
}

test("an issuer that gets another name issues its children anew in the same run, and they theirs where it matters", async () => {
  const w = world(ROOT + SUB + key("www", 3, "validity: 90d, issuer: sub"));
  await w.applied();
  w.declare((ROOT + SUB).replace("CN=sub", "CN=Sub CA") + key("www", 3, "validity: 90d, issuer: sub"));
  expect(await w.steps()).toEqual([
    "keep root",
    "renew sub",
    "archive sub",
    "publish sub",
    "renew www",
    "archive www",
    "publish www",
  ]);
  await w.applied();
  expect(isIssued(w, "sub", "root") && isIssued(w, "www", "sub")).toBe(true);
  expect(await w.steps()).toEqual(["keep root", "keep sub", "keep www"]);
});

test("a child that names its issuer's certificate is issued anew with it; one that names the key alone is kept", async () => {
  const named = "validity: 90d, issuer: root, extensions: ['authorityKeyIdentifier=keyid:always,issuer:always']";
  const w = world(ROOT + key("a", 2, named) + key("b", 3, "validity: 90d, issuer: root"));
  await w.applied();
  w.declare(
    ROOT.replace("[v3_ca]", "[v3_ca, 'nameConstraints=permitted;DNS:example.com']") +
      key("a", 2, named) +
      key("b", 3, "validity: 90d, issuer: root"),
  );
  expect((await w.steps()).filter((step) => step.startsWith("renew") || step.startsWith("keep"))).toEqual([
    "renew root",
    "renew a",
    "keep b",
  ]);
  await w.applied();
  expect(isIssued(w, "a", "root") && isIssued(w, "b", "root")).toBe(true);
  expect(await w.steps()).toEqual(["keep root", "keep a", "keep b"]);
});

test("a declared serial number is given once, though what had it is destroyed", async () => {
  const w = world(
    key("k", 1, 'serial: "0x1234", validity: 30d, renewBefore: 10d, renewKey: true').replace(
      "P-256,",
      "P-256, retireOld: destroy,",
    ),
  );
  const serials: string[] = [];
  for (let month = 0; month < 4; month += 1) {
    await w.applied();
    serials.push(new X509Certificate(w.read("k.pem")).serialNumber);
    w.now = new Date(w.now.getTime() + 25 * 86_400_000);
  }
  expect(serials[0]).toBe("1234");
  expect(new Set(serials).size).toBe(4);
});

test("a hook that cannot be run is found before anything is done", async () => {
  const w = world(key("k", 1, "validity: 30d, hook: ./nowhere"));
  expect((await w.plan()).steps.at(-1)).toMatchObject({
    action: "refuse",
    reason: "the hook ./nowhere cannot be run: it does not exist (ENOENT)",
  });
  w.write("nowhere", "#!/bin/sh\n", 0o644);
  expect((await w.plan()).steps.at(-1)).toMatchObject({ action: "refuse", reason: expect.stringContaining("EACCES") });
  w.write("hook", "#!/bin/sh\n", 0o755);
  w.declare(key("k", 1, "validity: 30d, hook: ./hook"));
  expect(await w.applied()).toEqual(["k done"]);
});

test("a certificate that a clock made that was ahead is refused, with a way out", async () => {
  const w = world(key("k", 1, "validity: 30d"));
  const now = w.now;
  w.now = new Date("2046-01-01T00:00:00Z");
  await w.applied();
  w.now = now;
  expect((await w.plan()).steps).toMatchObject([
    { action: "refuse", hints: expect.arrayContaining([expect.stringContaining("apply --rotate")]) },
  ]);
  expect(await w.applied({ rotate: ["k"] })).toEqual(["k done"]);
  expect(await w.steps()).toEqual(["keep k"]);
});

test("children of an issuer whose key identifier is not made from its key verify, and are kept", async () => {
  const named = "validity: 10y, extensions: ['basicConstraints=critical,CA:TRUE', 'subjectKeyIdentifier=01020304']";
  const w = world(key("ca", 1, named) + key("www", 2, "validity: 90d, issuer: ca"));
  await w.applied();
  expect(isIssued(w, "ca", "ca") && isIssued(w, "www", "ca")).toBe(true);
  expect(openssl(w, "verify", "-CAfile", "ca.pem", "www.pem")).toBe("www.pem: OK\n");
  expect(await w.steps()).toEqual(["keep ca", "keep www"]);
});

test("a child under an intermediate names who issued that, and is kept", async () => {
  const named = "validity: 90d, issuer: sub, extensions: ['authorityKeyIdentifier=keyid:always,issuer:always']";
  const w = world(ROOT + SUB + key("www", 3, named));
  await w.applied();
  expect(isIssued(w, "www", "sub")).toBe(true);
  expect(openssl(w, "verify", "-CAfile", "root.pem", "-untrusted", "sub.pem", "www.pem")).toBe("www.pem: OK\n");
  expect(await w.steps()).toEqual(["keep root", "keep sub", "keep www"]);
  w.declare(
    ROOT + SUB.replace("[v3_ca]", "[v3_ca, 'nameConstraints=permitted;DNS:example.com']") + key("www", 3, named),
  );
  await w.applied();
  expect(isIssued(w, "www", "sub")).toBe(true);
  expect(await w.steps()).toEqual(["keep root", "keep sub", "keep www"]);
});
