/** Our client to p11-kit's own servers: to `p11-kit remote` over its standard input and output, to `p11-kit server` over a socket. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { describe } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { openProvider } from "../../src/modules/index.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
import type { Subject, Target } from "./kit.ts";
import { conformance } from "./suite.ts";
import { initialiseToken, LABEL } from "./targets.ts";

const [SO_PIN, USER_PIN] = [utf8("so PIN 1234"), utf8("user PIN 1234")];

function subject(name: string, open: () => Promise<Target>): Subject {
  return {
    name,
    unsupported: {
      CKM_ECDSA_SHA256: "SoftHSM 2.6 signs hashes only",
      CKM_AES_GCM: "p11-kit 0.24 cannot carry a parameter with pointers in it",
      CKM_ECDH1_DERIVE: "p11-kit 0.24 cannot carry a parameter with pointers in it",
    },
    quirks: {
      "logging out needs a login": "SoftHSM2 answers CKR_OK",
      "key types are checked": "by SoftHSM2 only when it comes to signing",
      "a failed authentication has its own return value": "SoftHSM2 answers CKR_GENERAL_ERROR",
    },
    open,
  };
}

/** With a module: its own slots, nothing in between. */
const remote = subject("SoftHSM2, behind p11-kit remote", async () => {
  const hsm = softHsm();
  const provider = openProvider({ module: `|p11-kit remote ${hsm.path}`, environment: hsm.environment });
  await initialiseToken(provider, SO_PIN, USER_PIN);
  return { provider, label: LABEL, soPin: SO_PIN, userPin: USER_PIN, remove: hsm.remove };
});

/** With a token's URI: through p11-kit's proxy and its filter. */
const server = subject("SoftHSM2, behind p11-kit server", async () => {
  const hsm = softHsm();
  const direct = openProvider({ module: hsm.path, environment: hsm.environment, placement: "process" });
  await initialiseToken(direct, SO_PIN, USER_PIN);
  await direct.close();
  const path = join(dirname(hsm.tokens), "socket");
  const words = ["server", "-f", "-n", path, "--provider", hsm.path, `pkcs11:token=${LABEL}`];
  const child = spawn("p11-kit", words, {
    env: { ...process.env, ...hsm.environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  return {
    provider: openProvider({ module: `unix:path=${path}` }),
    label: LABEL,
    soPin: SO_PIN,
    userPin: USER_PIN,
    async remove() {
      child.kill();
      await once(child, "exit");
      hsm.remove();
    },
  };
});

describe.skipIf(!peer("softhsm2") || !peer("p11-kit"))("conformance", () => {
  conformance(remote);
  conformance(server);
});
