/** Time per operation against SoftHSM2, in one run. Run with: npx vitest run --config test/softtoken/soak.config.ts */
import { expect, test } from "vitest";
import { derOid } from "../../src/codec/der.ts";
import { peer } from "../support/peers.ts";
import { folder, generatePair, mechanism, rig, template } from "./rig.ts";
import { softHsm } from "./softhsm.ts";

/** The median of five rounds, in µs per call. */
async function time(count: number, work: (i: number) => unknown): Promise<number> {
  const rounds: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < count; i += 1) {
      const answer = work(round * count + i);
      if (answer instanceof Promise) await answer;
    }
    rounds.push(Number(process.hrtime.bigint() - start) / 1000 / count);
  }
  // The first one warms up.
  return rounds.slice(1).sort((a, b) => a - b)[2]!;
}

const P256 = derOid("1.2.840.10045.3.1.7");

test.skipIf(!peer("softhsm2"))(
  "signing takes at most 0.6 and a durable private object 0.2 of SoftHSM's time",
  async () => {
    const r = await rig();
    const { app, session } = r;
    const hsm = softHsm(folder());
    const token = { CKA_TOKEN: true };
    const ec = await generatePair(r, "CKM_EC_KEY_PAIR_GEN", { CKA_EC_PARAMS: P256 }, token);
    const rsa = await generatePair(r, "CKM_RSA_PKCS_KEY_PAIR_GEN", { CKA_MODULUS_BITS: 2048 }, token);
    const own = template({ CKA_SIGN: true, ...token });
    const [, theirEc] = hsm.generatePair(0x1040, template({ CKA_EC_PARAMS: P256 }), own);
    const size = template({ CKA_MODULUS_BITS: 2048, CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1) });
    const [, theirRsa] = hsm.generatePair(0, size, own);
    const data = new Uint8Array(32).fill(9);
    const sign = (how: "CKM_ECDSA" | "CKM_SHA256_RSA_PKCS", key: number | bigint) => () => {
      void app.call("C_SignInit", { session, mechanism: mechanism(how), key });
      return app.call("C_Sign", { session, data, room: 256 });
    };
    const object = (i: number) =>
      template({
        CKA_CLASS: 4,
        CKA_KEY_TYPE: 0x10,
        CKA_TOKEN: true,
        CKA_PRIVATE: true,
        CKA_SENSITIVE: true,
        CKA_LABEL: `object ${i}`,
        CKA_VALUE: data,
      });
    const rows = [
      [
        "ECDSA P-256",
        0.6,
        await time(1000, sign("CKM_ECDSA", ec.privateKey)),
        await time(1000, () => hsm.sign(0x1041, theirEc, data)),
      ],
      [
        "RSA-2048",
        0.6,
        await time(200, sign("CKM_SHA256_RSA_PKCS", rsa.privateKey)),
        await time(200, () => hsm.sign(0x40, theirRsa, data)),
      ],
      [
        "durable private object",
        0.2,
        await time(100, (i) => app.call("C_CreateObject", { session, template: object(i) })),
        await time(20, (i) => hsm.create(object(i))),
      ],
    ] as const;
    for (const [what, most, ours, theirs] of rows) {
      console.info(`${what}: ${ours.toFixed(1)} µs, SoftHSM ${theirs.toFixed(1)} µs, ${(ours / theirs).toFixed(2)}`);
      expect(ours / theirs, what).toBeLessThanOrEqual(most);
    }
  },
);
