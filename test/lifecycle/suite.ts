/**
 * The lifecycle on one kind of token: what is declared comes to be, is renewed, replaced and retired, and nothing is lost.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, statSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { readCertificates } from "../../src/x509/read.ts";
import { outsideCa } from "../support/outside-ca.ts";
import { World, type WorldOptions } from "../support/world.ts";

export interface LifecycleToken {
  readonly name: string;
  /** Declares a token of a label that no other test uses: `{ module: …, label: … }`. */
  declare(): string;
  /** The PINs that are declared; both by default. */
  readonly pins?: WorldOptions["pins"];
  /** Runs after each world. */
  readonly after?: () => void;
}

const CA = `  ca:
    token: demo
    id: 1
    type: EC:secp384r1
    certificate:
      subject: C=US/O=Example/CN=Example CA
      validity: 10y
      extensions: [ "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign" ]
      publish: [ { path: ca.crt } ]
`;
const www = (more = "") => `  www:
    token: demo
    id: 2
    type: EC:secp256r1
${more.includes("retireOld") ? "    retireOld: destroy\n" : ""}    certificate:
      issuer: ca
      subject: CN=www.example.com
      validity: 90d
      renewBefore: 30d
      extensions: [ "subjectAltName=DNS:www.example.com" ]
      publish: [ { path: www.pem, what: fullchain, mode: "0640" } ]
${more
  .split("; ")
  .filter((line) => line !== "" && !line.startsWith("retireOld"))
  .map((line) => `      ${line}\n`)
  .join("")}`;

/** The worlds' clock, for openssl. */
const attime = ["-attime", String(Date.parse("2026-11-21T12:00:00Z") / 1000)];

const HOOK =
  '#!/bin/sh\necho "$1 $2 $KEYWRIGHT_KEY $(cat | sed -n 2p | cut -c1-8)" >> hook.log\nexit $(cat hook.status 2>/dev/null || echo 0)\n';

export function lifecycle(token: LifecycleToken): void {
  function world(keys: string, layer?: WorldOptions["layer"]): World {
    const made = new World({
      token: token.declare(),
      keys,
      pins: token.pins ?? "both",
      ...(layer === undefined ? {} : { layer }),
    });
    onTestFinished(() => {
      made.remove();
      token.after?.();
    });
    return made;
  }

  describe(`the lifecycle on ${token.name}`, () => {
    test("a token is initialised, keys are made and certified, files are written; then there is nothing to do", async () => {
      const w = world(CA + www());
      expect(await w.steps()).toEqual([
        "initialise demo",
        "generate ca",
        "issue ca",
        "publish ca",
        "generate www",
        "issue www",
        "publish www",
      ]);
      expect(await w.applied()).toEqual(["ca done", "www done"]);
      expect(await w.steps()).toEqual(["keep ca", "keep www"]);
      expect(await w.applied()).toEqual(["ca kept", "www kept"]);
      expect(await w.objects()).toEqual([
        "certificate 01 ca",
        "certificate 02 www",
        "private 01 ca",
        "private 02 www",
        "public 01 ca",
        "public 02 www",
      ]);
      expect(statSync(w.path("www.pem")).mode & 0o777).toBe(0o640);
      const verify = execFileSync("openssl", ["verify", ...attime, "-CAfile", w.path("ca.crt"), w.path("www.pem")], {
        encoding: "utf8",
      });
      expect(verify).toContain("www.pem: OK");
      const [certificate] = readCertificates(readFileSync(w.path("www.pem")));
      expect(certificate!.notBefore.toISOString()).toBe("2026-11-21T11:55:00.000Z");
      expect(certificate!.notAfter.toISOString()).toBe("2027-02-19T12:00:00.000Z");
    });

    test("a token that somebody else makes while a person is asked is not made again, and keeps what is in it", async () => {
      const w = world(CA);
      const other = async () => {
        await w.applied();
        return true;
      };
      await expect(w.applied({ confirm: other })).rejects.toMatchObject({ code: "ERR_PLAN_STALE" });
      const published = w.read("ca.crt");
      expect(await w.steps()).toEqual(["keep ca"]);
      expect(w.read("ca.crt")).toBe(published);
    });

    test("the same observation gives the same plan, byte for byte", async () => {
      const w = world(CA + www());
      expect(JSON.stringify(await w.plan())).toBe(JSON.stringify(await w.plan()));
    });

    test("a certificate is renewed with the same key when its time comes, and the old one is kept under its date", async () => {
      const w = world(CA + www());
      await w.applied();
      const before = w.read("www.pem");
      w.now = new Date("2027-01-21T00:00:00Z");
      expect(await w.steps()).toEqual(["keep ca", "renew www", "archive www", "publish www"]);
      expect(await w.applied()).toEqual(["ca kept", "www done"]);
      expect(w.read("www.pem")).not.toBe(before);
      const [old] = readCertificates(Buffer.from(before));
      const [renewed] = readCertificates(readFileSync(w.path("www.pem")));
      expect(Buffer.compare(renewed!.spki, old!.spki)).toBe(0);
      expect(await w.objects()).toContainEqual(
        expect.stringMatching(/^certificate [0-9a-f]{16} www~20270121T000000Z$/),
      );
      expect((await w.objects()).filter((object) => object.startsWith("private"))).toEqual([
        "private 01 ca",
        "private 02 www",
      ]);
      expect(await w.steps()).toEqual(["keep ca", "keep www"]);
    });

    test("a key is replaced when it is asked for: the new one is proven before the old one gives up its identity", async () => {
      const w = world(CA + www());
      await w.applied();
      const [old] = readCertificates(readFileSync(w.path("www.pem")));
      expect(await w.steps(["www"])).toEqual([
        "keep ca",
        "generate www",
        "issue www",
        "promote www",
        "archive www",
        "publish www",
      ]);
      expect(await w.applied({ rotate: ["www"] })).toEqual(["ca kept", "www done"]);
      const [renewed] = readCertificates(readFileSync(w.path("www.pem")));
      expect(Buffer.compare(renewed!.spki, old!.spki)).not.toBe(0);
      const objects = await w.objects();
      expect(objects.filter((object) => object.endsWith(" 02 www"))).toHaveLength(3);
      expect(objects.filter((object) => object.includes("www~"))).toHaveLength(3);
      expect(await w.steps()).toEqual(["keep ca", "keep www"]);
    });

    test("retireOld: destroy destroys what was replaced, after the hook has succeeded and not before", async () => {
      const w = world(CA + www("retireOld; renewKey: true; hook: ./hook.sh"));
      w.write("hook.sh", HOOK, 0o755);
      await w.applied();
      w.now = new Date("2027-01-21T00:00:00Z");
      w.write("hook.status", "0");
      expect(await w.steps()).toEqual([
        "keep ca",
        "ask www",
        "generate www",
        "issue www",
        "promote www",
        "archive www",
        "publish www",
        "hook www",
        "retire www",
      ]);
      await w.applied();
      expect(
        w
          .read("hook.log")
          .trim()
          .split("\n")
          .map((line) => line.split(" ").slice(0, 3).join(" ")),
      ).toEqual(["www new www", "www old www", "www new www"]);
      expect((await w.objects()).filter((object) => object.includes("www"))).toHaveLength(3);
      expect(await w.steps()).toEqual(["keep ca", "keep www"]);
    });

    test("a hook that declines keeps the key; one that fails keeps the old key and is run again", async () => {
      const w = world(CA + www("retireOld; hook: ./hook.sh"));
      w.write("hook.sh", HOOK, 0o755);
      await w.applied();
      w.write("hook.status", "7");
      expect(await w.applied({ rotate: ["www"] })).toEqual([
        "ca kept",
        "www failed: the hook hook.sh of www (old) ended with exit code 7",
      ]);
      expect((await w.objects()).filter((object) => object.includes("www"))).toHaveLength(3);
      w.write("hook.sh", HOOK.replace("exit $", '[ "$2" = old ] || exit $'), 0o755);
      expect(await w.applied({ rotate: ["www"] })).toEqual([
        "ca kept",
        "www failed: the hook hook.sh of www (new) ended with exit code 7",
      ]);
      expect((await w.objects()).filter((object) => object.includes("www~"))).toHaveLength(3);
      expect(await w.steps()).toEqual(["keep ca", "hook www", "retire www"]);
      expect(await w.applied()).toEqual(["ca kept", expect.stringContaining("www failed")]);
      expect((await w.objects()).filter((object) => object.includes("www~"))).toHaveLength(3);
      w.write("hook.status", "0");
      expect(await w.applied()).toEqual(["ca kept", "www done"]);
      expect((await w.objects()).filter((object) => object.includes("www~"))).toEqual([]);
      expect(await w.steps()).toEqual(["keep ca", "keep www"]);
    });

    test("an issuer that gets a new key issues its children anew", async () => {
      const w = world(CA + www());
      await w.applied();
      expect(await w.steps(["ca"])).toEqual([
        "generate ca",
        "issue ca",
        "promote ca",
        "archive ca",
        "publish ca",
        "renew www",
        "archive www",
        "publish www",
      ]);
      await w.applied({ rotate: ["ca"] });
      execFileSync("openssl", ["verify", ...attime, "-CAfile", w.path("ca.crt"), w.path("www.pem")]);
      expect(await w.steps()).toEqual(["keep ca", "keep www"]);
    });

    test("a change of name or extension is met with a new certificate for the same key", async () => {
      const w = world(CA + www());
      await w.applied();
      w.declare(CA + www().replace("DNS:www.example.com", "DNS:www.example.com,DNS:example.com"));
      const [, renew] = (await w.plan()).steps;
      expect(renew).toMatchObject({ action: "renew", reason: "extension subjectAltName is different" });
      w.declare(CA + www().replace("CN=www.example.com", "CN=web.example.com"));
      expect((await w.plan()).steps[1]).toMatchObject({ reason: "subject: CN=www.example.com -> CN=web.example.com" });
    });

    test("a published file that is missing or different is written again", async () => {
      const w = world(CA + www("hook: ./hook.sh"));
      w.write("hook.sh", HOOK, 0o755);
      await w.applied();
      const before = w.read("www.pem");
      rmSync(w.path("www.pem"));
      expect(await w.steps()).toEqual(["keep ca", "publish www", "hook www"]);
      await w.applied();
      expect(w.read("www.pem")).toBe(before);
      w.write("ca.crt", "something else");
      expect(await w.steps()).toEqual(["publish ca", "keep www"]);
    });

    test("nothing is made before validStarting", async () => {
      const w = world(CA.replace("    certificate:", "    validStarting: 2026-12-01\n    certificate:"));
      expect(await w.applied()).toEqual(["ca waiting"]);
      w.now = new Date("2026-12-01T00:00:00Z");
      expect(await w.applied()).toEqual(["ca done"]);
    });

    test("an outside CA: the request is written, its certificate is imported when it comes, another key's is refused", async () => {
      const w = world(
        "  out: { token: demo, id: 3, type: EC:secp256r1, certificate: { subject: CN=out, csr: out.csr, import: out.crt, publish: [{ path: out.pem }] } }\n",
      );
      expect(await w.steps()).toEqual(["initialise demo", "generate out", "request out", "wait out"]);
      await w.applied();
      expect(await w.steps()).toEqual(["wait out"]);
      const openssl = (...words: string[]) =>
        execFileSync("openssl", words, { cwd: w.folder, stdio: ["ignore", "pipe", "pipe"] });
      expect(openssl("req", "-in", "out.csr", "-noout", "-verify", "-subject").toString()).toContain("CN = out");
      const ca = outsideCa(w);
      w.write("out.crt", w.read("x.crt"));
      expect((await w.plan()).steps[0]).toMatchObject({
        action: "refuse",
        reason: "the certificate in out.crt does not match the key",
      });
      ca.issue("out.csr", "out.crt");
      expect(await w.steps()).toEqual(["import out", "publish out"]);
      expect(await w.applied()).toEqual(["out done"]);
      expect(readCertificates(readFileSync(w.path("out.pem")))[0]!.serial).toBe(
        readCertificates(readFileSync(w.path("out.crt")))[0]!.serial,
      );
      expect(await w.steps()).toEqual(["keep out"]);
    });

    test("a key of an outside CA is replaced when the certificate of the new one has come, and not before", async () => {
      const w = world(
        "  out: { token: demo, id: 3, type: EC:secp256r1, certificate: { subject: CN=out, csr: out.csr, import: out.crt, publish: [{ path: out.pem }] } }\n",
      );
      await w.applied();
      const ca = outsideCa(w);
      ca.issue("out.csr", "out.crt");
      expect(await w.applied()).toEqual(["out done"]);
      const before = await w.objects();
      const published = w.read("out.pem");
      expect(await w.steps(["out"])).toEqual(["generate out", "request out", "wait out"]);
      expect(await w.applied({ rotate: ["out"] })).toEqual(["out done"]);
      expect(await w.objects()).toEqual(expect.arrayContaining(before));
      expect((await w.objects()).filter((object) => object.includes("out~new"))).toHaveLength(2);
      expect(w.read("out.pem")).toBe(published);
      // However often it is run, asked or not: it waits, and the key that is certified is kept.
      expect(await w.steps()).toEqual(["wait out"]);
      expect(await w.steps(["out"])).toEqual(["wait out"]);
      ca.issue("out.csr", "out.crt");
      expect(await w.steps()).toEqual(["import out", "promote out", "archive out", "publish out"]);
      expect(await w.applied()).toEqual(["out done"]);
      expect((await w.objects()).filter((object) => object.endsWith(" 03 out"))).toHaveLength(3);
      expect((await w.objects()).filter((object) => /out~\d{8}T\d{6}Z$/.test(object))).toHaveLength(3);
      expect(w.read("out.pem")).not.toBe(published);
      expect(await w.steps()).toEqual(["keep out"]);
    });

    test("a stale plan is refused, and nothing is changed", async () => {
      const w = world(CA);
      const planned = await w.plan();
      await w.applied();
      const objects = await w.objects();
      await expect(w.applied({ planned })).rejects.toThrow("changed after the plan was made");
      expect(await w.objects()).toEqual(objects);
    });

    test("a key whose nature differs from the declaration is refused, attribute by attribute", async () => {
      const w = world(CA);
      await w.applied();
      w.declare(
        CA.replace("EC:secp384r1", "EC:secp256r1").replace(
          "    certificate:",
          "    usage: [sign, derive]\n    certificate:",
        ),
      );
      expect((await w.plan()).steps).toEqual([
        expect.objectContaining({
          action: "refuse",
          reason:
            "it is not as declared: type: EC:secp384r1 in the token, EC:secp256r1 declared; CKA_DERIVE: false in the token, true declared",
        }),
      ]);
    });

    test("an id or label that another key has is refused", async () => {
      const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n");
      await w.applied();
      w.declare("  b: { token: demo, id: 1, type: EC:secp256r1 }\n");
      expect((await w.plan()).steps[0]).toMatchObject({
        action: "refuse",
        reason: expect.stringContaining("its id 0x01 belongs to another private key"),
      });
      w.declare("  a: { token: demo, id: 2, type: EC:secp256r1 }\n");
      expect((await w.plan()).steps[0]).toMatchObject({
        action: "refuse",
        reason: expect.stringContaining('its label "a" belongs to another private key'),
      });
    });

    test("a child that would outlive its issuer is refused", async () => {
      const w = world(CA.replace("10y", "30d") + www());
      expect((await w.plan()).steps.at(-1)).toMatchObject({
        action: "refuse",
        reason: "its certificate would end on 2027-02-19, after that of its issuer ca (2026-12-21)",
      });
    });

    test("a clock that was set back is noticed", async () => {
      const w = world(CA + www());
      await w.applied();
      w.now = new Date("2026-11-01T00:00:00Z");
      expect((await w.plan()).steps[0]).toMatchObject({
        action: "refuse",
        reason: expect.stringContaining("this machine's clock says 2026-11-01"),
      });
    });
  });
}
