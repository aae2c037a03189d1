import { describe } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { openProvider } from "../../src/modules/index.ts";
import { peer } from "../support/peers.ts";
import { tpm2 } from "../support/tpm2.ts";
import type { Subject } from "./kit.ts";
import { conformance } from "./suite.ts";
import { initialiseToken, LABEL } from "./targets.ts";

const UNFINISHED = "it notices late, and a key in an unfinished operation can never be destroyed again";

const subject: Subject = {
  name: "tpm2-pkcs11",
  storage: "token",
  dataObjects: "private",
  unsupported: {
    "importing a secret key": "C_CreateObject makes RSA public keys and data objects only",
    CKM_AES_KEY_GEN: "it has no C_GenerateKey",
    "copying an object": "it has no C_CopyObject",
    "session objects": "they outlive their session",
    CKM_ECDH1_DERIVE: "it has no C_DeriveKey",
    CKM_EC_EDWARDS_KEY_PAIR_GEN: "a TPM has no EdDSA",
  },
  quirks: {
    "templates are checked": "CKR_FUNCTION_NOT_SUPPORTED",
    "destroyed objects are invalid": "CKR_KEY_HANDLE_INVALID",
    "one user at a time": "CKR_USER_ALREADY_LOGGED_IN",
  },
  harmful: {
    "the curve P-521": UNFINISHED,
    "what a key may do has its own return value": UNFINISHED,
    "key types are checked": UNFINISHED,
    CKM_RSA_PKCS_PSS: "not in its list, and it crashes (SIGSEGV)",
    CKM_SHA256_RSA_PKCS_PSS: "not in its list, and it crashes (SIGSEGV)",
    "a wrong old PIN has its own return value": "a TPM locks after three wrong PINs, whatever right ones come between",
    "attributes that cannot change": "it stores any CKA_KEY_TYPE, and the token cannot be opened again",
  },
  async open() {
    const tpm = await tpm2();
    const provider = openProvider({ module: tpm.path, environment: tpm.environment, placement: "process" });
    const [soPin, userPin] = [utf8("so PIN 1234"), utf8("user PIN 1234")];
    await initialiseToken(provider, soPin, userPin);
    return { provider, label: LABEL, soPin, userPin, remove: tpm.remove };
  },
};

describe.skipIf(!peer("tpm2") || !peer("swtpm"))("conformance", () => conformance(subject));
