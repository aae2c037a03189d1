/** p11-kit's own client library, loaded by us, to our server in another process: in one they would wait for each other. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { describe } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { openProvider } from "../../src/modules/index.ts";
import { softToken } from "../../src/softtoken/index.ts";
import { peer, peerPath } from "../support/peers.ts";
import type { Ability, Subject } from "./kit.ts";
import { conformance } from "./suite.ts";
import { initialiseToken, LABEL } from "./targets.ts";

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");

const HIDDEN = "p11-kit's client of 0.24 does not know it";

const subject: Subject = {
  name: "the built-in token, through p11-kit's client",
  // What each release hides is in docs/programs.md; wire.test.ts has these with our own client.
  unsupported: Object.fromEntries(
    (
      [
        "CKM_SHA256_RSA_PKCS_PSS",
        "CKM_ECDSA_SHA256",
        "CKM_EDDSA",
        "CKM_AES_CBC",
        "CKM_AES_CBC_PAD",
        "CKM_AES_CTR",
        "CKM_AES_GCM",
        "CKM_AES_KEY_WRAP",
        "what may not leave is not wrapped",
        "CKM_ECDH1_DERIVE",
      ] satisfies Ability[]
    ).map((ability) => [ability, HIDDEN]),
  ),
  quirks: { "attributes have the standard's kinds": "p11-kit's client of 0.24 fails at attributes that are templates" },
  async open() {
    const folder = mkdtempSync(join(tmpdir(), "keywright-native-client-"));
    const store = join(folder, "store.db");
    const own = softToken({ store, scryptCost: 10 });
    const [soPin, userPin] = [utf8("so PIN 1234"), utf8("user PIN 1234")];
    await initialiseToken(own, soPin, userPin);
    await own.close();
    const server = await serve(folder, store);
    const provider = openProvider({
      module: peerPath("p11-kit-client")!,
      environment: { P11_KIT_SERVER_ADDRESS: `unix:path=${join(folder, "socket")}` },
      placement: "process",
    });
    return {
      provider,
      label: LABEL,
      soPin,
      userPin,
      async remove() {
        server.kill();
        await once(server, "exit");
        rmSync(folder, { recursive: true });
      },
    };
  },
};

async function serve(folder: string, store: string): Promise<ChildProcess> {
  const words = ["serve", "--store", store, "--socket", join(folder, "socket"), "--state", join(folder, "state")];
  const server = spawn(process.execPath, [COMMAND, ...words], { stdio: ["ignore", "pipe", "inherit"] });
  await createInterface({ input: server.stdout! })[Symbol.asyncIterator]().next();
  return server;
}

describe.skipIf(!peer("p11-kit-client"))("conformance", () => conformance(subject));
