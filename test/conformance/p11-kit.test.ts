/** Our client to p11-kit's own servers: to `p11-kit remote` with a module, over its standard input and output. */
import { describe } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { openProvider } from "../../src/modules/index.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";
import type { Subject } from "./kit.ts";
import { conformance } from "./suite.ts";
import { initialiseToken, LABEL } from "./targets.ts";

const subject: Subject = {
  name: "SoftHSM2, behind p11-kit remote",
  unsupported: {
    CKM_ECDSA_SHA256: "SoftHSM 2.6 signs hashes only",
    CKM_AES_GCM: "p11-kit 0.24 cannot carry a parameter with pointers in it",
    CKM_ECDH1_DERIVE: "p11-kit 0.24 cannot carry a parameter with pointers in it",
  },
  quirks: {
    "logging out needs a login": "it answers CKR_OK",
    "key types are checked": "only when it comes to signing",
    "a failed authentication has its own return value": "CKR_GENERAL_ERROR",
  },
  async open() {
    const hsm = softHsm();
    const provider = openProvider({ module: `|p11-kit remote ${hsm.path}`, environment: hsm.environment });
    const [soPin, userPin] = [utf8("so PIN 1234"), utf8("user PIN 1234")];
    await initialiseToken(provider, soPin, userPin);
    return { provider, label: LABEL, soPin, userPin, remove: hsm.remove };
  },
};

describe.skipIf(!peer("softhsm2") || !peer("p11-kit"))("conformance", () => conformance(subject));
