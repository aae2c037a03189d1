import { describe } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { openProvider } from "../../src/modules/index.ts";
import { nss } from "../support/nss.ts";
import { peer } from "../support/peers.ts";
import type { Subject } from "./kit.ts";
import { conformance } from "./suite.ts";

const subject: Subject = {
  name: "NSS softokn",
  unsupported: {
    CKM_EC_EDWARDS_KEY_PAIR_GEN: "NSS 3.87 has no EdDSA",
    "one user at a time": "there is no SO once the user's PIN is set",
    "the SO and read-only sessions exclude each other": "there is no SO once the user's PIN is set",
  },
  quirks: {
    "parallel sessions are refused": "CKF_SERIAL_SESSION is not looked at",
    "generated keys are local": "CKA_LOCAL is false",
    "templates are checked": "CKA_CLASS is overruled",
    "a room too small is noticed": "a hash is cut to the room",
    "a search is an operation": "it begins anew, and one that was not begun finds nothing",
    "what a key may do has its own return value": "CKR_KEY_TYPE_INCONSISTENT",
    "what may not leave is not wrapped": "C_WrapKey does not look at CKA_EXTRACTABLE",
  },
  async open() {
    const database = nss();
    const provider = openProvider({ module: database.path, reserved: database.reserved, placement: "direct" });
    const userPin = utf8("user PIN 1234");
    const p11 = await provider.open();
    await p11.call("C_Initialize", { args: {} });
    const { session } = await p11.call("C_OpenSession", { slot: database.slot, flags: 6 });
    await p11.call("C_Login", { session, userType: 0, pin: utf8("") });
    await p11.call("C_InitPIN", { session, pin: userPin });
    await p11.call("C_Finalize", {});
    return { provider, label: "NSS Certificate DB", userPin, soPin: undefined, remove: database.remove };
  },
};

describe.skipIf(!peer("nss"))("conformance", () => conformance(subject));
