import { statSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { peer, peerPath } from "../support/peers.ts";
import { World } from "../support/world.ts";
import { lifecycle } from "./suite.ts";

const TOKEN = `{ module: ${peerPath("nss")}, label: demo, store: nss }`;

describe.skipIf(!peer("nss") || !peer("openssl"))("with a store", () => {
  function world(keys: string, options: { token?: string; soPin?: boolean } = {}): World {
    const made = new World({ token: TOKEN, soPin: false, keys, ...options });
    onTestFinished(() => made.remove());
    return made;
  }

  lifecycle({ name: "NSS softokn", declare: () => TOKEN, soPin: false });

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
    const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n", { soPin: true });
    await expect(w.plan()).rejects.toThrow("NSS softokn has no SO PIN");
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
