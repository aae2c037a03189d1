import { utf8 } from "../../src/codec/bytes.ts";
import { openProvider, type Placement } from "../../src/modules/index.ts";
import { softHsm } from "../support/softhsm.ts";
import type { Subject } from "./kit.ts";
import { initialiseToken, LABEL } from "./targets.ts";

/** SoftHSM2, called in one of the three ways. */
export function softHsmSubject(placement: Placement): Subject {
  return {
    name: `SoftHSM2, ${placement}`,
    unsupported: { CKM_ECDSA_SHA256: "SoftHSM 2.6 signs hashes only" },
    quirks: {
      "logging out needs a login": "it answers CKR_OK",
      "key types are checked": "only when it comes to signing",
      "a failed authentication has its own return value": "CKR_GENERAL_ERROR",
    },
    async open() {
      const hsm = softHsm();
      const provider = openProvider({ module: hsm.path, environment: hsm.environment, placement });
      const [soPin, userPin] = [utf8("so PIN 1234"), utf8("user PIN 1234")];
      await initialiseToken(provider, soPin, userPin);
      return { provider, label: LABEL, soPin, userPin, remove: hsm.remove };
    },
  };
}
