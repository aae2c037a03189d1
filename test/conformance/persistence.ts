import { createHash, type KeyObject, verify } from "node:crypto";
import { expect } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { CKO } from "../../src/spec/objects.ts";
import { CURVES, mechanism, template } from "./kit.ts";
import type { Can } from "./suite.ts";

export function persistence(can: Can): void {
  can(["CKM_ECDSA"], "a key in the token is there after C_Finalize and C_Initialize, and signs", async (kit) => {
    const id = Uint8Array.of(0x4b, 0x57, 1);
    const stored = { ...kit.own, CKA_TOKEN: true, CKA_ID: id };
    let publicKey: KeyObject | undefined;
    await kit.alone(async () => {
      const session = await kit.open();
      await kit.login(session);
      const pair = await kit.call("C_GenerateKeyPair", {
        session,
        mechanism: mechanism("CKM_EC_KEY_PAIR_GEN"),
        publicTemplate: template({ ...stored, CKA_EC_PARAMS: Buffer.from(CURVES["P-256"].params, "hex") }),
        privateTemplate: template({ ...stored, CKA_PRIVATE: true, CKA_SIGN: true }),
      });
      publicKey = await kit.exported(session, pair.publicKey);
    });
    await kit.call("C_Finalize", {});
    await kit.initialise();
    await kit.user(async (session) => {
      const [key] = await kit.find(session, { CKA_CLASS: CKO.CKO_PRIVATE_KEY[0], CKA_ID: id });
      expect(key).toBeDefined();
      const data = utf8("signed later");
      const digest = new Uint8Array(createHash("sha256").update(data).digest());
      const signature = await kit.sign(session, key!, mechanism("CKM_ECDSA"), digest);
      expect(verify("sha256", data, { key: publicKey!, dsaEncoding: "ieee-p1363" }, signature)).toBe(true);
    });
  });
}
