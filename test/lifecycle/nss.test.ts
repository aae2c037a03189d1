import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { peer, peerPath } from "../support/peers.ts";
import { World, type WorldOptions } from "../support/world.ts";
import { lifecycle } from "./suite.ts";

const TOKEN = `{ module: ${peerPath("nss")}, label: demo, store: nss }`;

describe.skipIf(!peer("nss") || !peer("openssl"))("with a store", () => {
  function world(keys: string, options: Partial<WorldOptions> = {}): World {
    const made = new World({ token: TOKEN, pins: "user", keys, ...options });
    onTestFinished(() => made.remove());
    return made;
  }

  lifecycle({ name: "NSS softokn", declare: () => TOKEN, pins: "user" });

  test("the folder is for its owner alone", async () => {
    const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n");
    await w.applied();
    expect(statSync(w.path("nss")).mode & 0o777).toBe(0o700);
    expect(statSync(w.path("nss/key4.db")).mode & 0o077).toBe(0);
  });

  test("without a label it is the token that NSS calls NSS Certificate DB, in slot 2", async () => {
    const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n", {
      token: TOKEN.replace("label: demo", "slot: 2"),
    });
    expect(await w.applied()).toEqual(["a done"]);
    expect((await w.observe()).tokens.demo).toMatchObject({
      uri: expect.stringContaining("token=NSS%20Certificate%20DB"),
    });
  });

  test("an SO PIN is refused, for there is none", async () => {
    const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n", { pins: "both" });
    await expect(w.plan()).rejects.toThrow("NSS softokn has no SO PIN");
  });

  test("whoever declares no PIN for a token that is to be made is told of the one that NSS has", async () => {
    const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n", { pins: "none" });
    expect((await w.plan()).steps).toMatchObject([
      { action: "refuse", hints: ["declare pin, and apply initialises it; or: keywright token init"] },
    ]);
  });

  test.skipIf(!peer("certutil"))("a database without a password is used without a PIN", async () => {
    const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n", { pins: "none" });
    mkdirSync(w.path("nss"));
    execFileSync("certutil", ["-N", "--empty-password", "-d", `sql:${w.path("nss")}`]);
    expect(await w.applied()).toEqual(["a done"]);
    expect(await w.steps()).toEqual(["keep a"]);
  });

  test.skipIf(!peer("certutil"))("certutil finds the keys that were made here, with their certificates", async () => {
    const w = world("  www: { token: demo, id: 1, type: EC:secp256r1, certificate: { subject: CN=www } }\n");
    await w.applied();
    const certutil = (...words: string[]) =>
      execFileSync("certutil", [...words, "-d", `sql:${w.path("nss")}`, "-f", w.path("user.pin")], {
        encoding: "utf8",
      });
    expect(certutil("-K")).toMatch(/< 0> ec +01 +.*www/);
    // u: it has the private key of the certificate.
    expect(certutil("-L")).toMatch(/^www +u,u,u$/m);
  });

  test("what NSS cannot do is refused before it is tried, and what it can is said", async () => {
    const w = world("  ed: { token: demo, id: 1, type: Ed25519 }\n  k1: { token: demo, id: 2, type: EC:secp256k1 }\n");
    const can = [expect.stringMatching(/^it can make: RSA:\d+ to RSA:\d+, EC:secp256r1, EC:secp384r1, EC:secp521r1/)];
    expect((await w.plan()).steps.slice(1)).toMatchObject([
      { action: "refuse", reason: "the token cannot make a key of type Ed25519", hints: can },
      { action: "refuse", reason: "the token cannot make a key of type EC:secp256k1", hints: can },
    ]);
  });
});
