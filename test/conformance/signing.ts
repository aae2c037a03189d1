import { constants, createHash, createHmac, verify } from "node:crypto";
import { expect } from "vitest";
import { concat, fromHex, utf8 } from "../../src/codec/bytes.ts";
import type { Mechanism, Ulong } from "../../src/cryptoki/port.ts";
import type { MechanismName } from "../../src/spec/mechanisms.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { CKG_MGF } from "../../src/spec/objects.ts";
import { type Ability, bytesOf, type CurveName, type KeyPair, type Kit, mechanism, refuses } from "./kit.ts";
import type { Can } from "./suite.ts";

const DATA = utf8("what is signed, in one part or in several");
const SHA256 = new Uint8Array(createHash("sha256").update(DATA).digest());
/** DigestInfo of SHA-256, which CKM_RSA_PKCS signs as it is. */
const DIGEST_INFO = concat(fromHex("3031300d060960864801650304020105000420")!, SHA256);
const PSS = { hashAlg: CKM.CKM_SHA256[0], mgf: CKG_MGF.CKG_MGF1_SHA256[0], saltLength: 32 };

interface Row {
  readonly mechanism: MechanismName;
  readonly what: string;
  readonly needs: readonly Ability[];
  readonly parameter?: typeof PSS;
  /** What the mechanism is given; the hash of DATA where it does not hash itself. */
  readonly input: Uint8Array;
  readonly pair: (kit: Kit, session: Ulong) => Promise<KeyPair>;
  readonly check: { readonly hash: string | null; readonly dsaEncoding?: "ieee-p1363"; readonly pss?: true };
  readonly parts: boolean;
}

const RSA = {
  needs: ["CKM_RSA_PKCS_KEY_PAIR_GEN"],
  pair: (kit: Kit, session: Ulong) => kit.rsa(session, "sign"),
} as const;
const raw = { dsaEncoding: "ieee-p1363" } as const;

function ecdsa(curve: CurveName, hash: "sha256" | "sha384" | "sha512", name: MechanismName, input: Uint8Array): Row {
  return {
    mechanism: name,
    what: `${name} with ${curve}`,
    needs: ["CKM_EC_KEY_PAIR_GEN", ...(curve === "P-521" ? (["the curve P-521"] as const) : [])],
    input,
    pair: (kit, session) => kit.ec(session, curve),
    check: { hash, ...raw },
    parts: name !== "CKM_ECDSA",
  };
}

const digest = (hash: string) => new Uint8Array(createHash(hash).update(DATA).digest());

const ROWS: readonly Row[] = [
  {
    ...RSA,
    mechanism: "CKM_RSA_PKCS",
    what: "CKM_RSA_PKCS",
    input: DIGEST_INFO,
    check: { hash: "sha256" },
    parts: false,
  },
  {
    ...RSA,
    mechanism: "CKM_SHA256_RSA_PKCS",
    what: "CKM_SHA256_RSA_PKCS",
    input: DATA,
    check: { hash: "sha256" },
    parts: true,
  },
  {
    ...RSA,
    mechanism: "CKM_SHA512_RSA_PKCS",
    what: "CKM_SHA512_RSA_PKCS",
    input: DATA,
    check: { hash: "sha512" },
    parts: true,
  },
  {
    ...RSA,
    mechanism: "CKM_RSA_PKCS_PSS",
    what: "CKM_RSA_PKCS_PSS",
    parameter: PSS,
    input: SHA256,
    check: { hash: "sha256", pss: true },
    parts: false,
  },
  {
    ...RSA,
    mechanism: "CKM_SHA256_RSA_PKCS_PSS",
    what: "CKM_SHA256_RSA_PKCS_PSS",
    parameter: PSS,
    input: DATA,
    check: { hash: "sha256", pss: true },
    parts: true,
  },
  ecdsa("P-256", "sha256", "CKM_ECDSA", SHA256),
  ecdsa("P-384", "sha384", "CKM_ECDSA", digest("sha384")),
  ecdsa("P-521", "sha512", "CKM_ECDSA", digest("sha512")),
  ecdsa("P-256", "sha256", "CKM_ECDSA_SHA256", DATA),
  {
    mechanism: "CKM_EDDSA",
    what: "CKM_EDDSA with Ed25519",
    needs: ["CKM_EC_EDWARDS_KEY_PAIR_GEN"],
    input: DATA,
    pair: (kit, session) => kit.ed25519(session),
    check: { hash: null },
    parts: false,
  },
];

async function isValid(kit: Kit, session: Ulong, pair: KeyPair, row: Row, signature: Uint8Array): Promise<boolean> {
  const key = await kit.exported(session, pair.publicKey);
  const { hash, dsaEncoding, pss } = row.check;
  const padding = pss ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: PSS.saltLength } : {};
  return verify(hash, DATA, { key, ...(dsaEncoding ? { dsaEncoding } : {}), ...padding }, signature);
}

async function moduleVerifies(
  kit: Kit,
  session: Ulong,
  how: Mechanism,
  key: Ulong,
  data: Uint8Array,
  signature: Uint8Array,
) {
  await kit.call("C_VerifyInit", { session, mechanism: how, key });
  await kit.call("C_Verify", { session, data, signature });
}

export function signing(can: Can): void {
  for (const row of ROWS) {
    const how = mechanism(row.mechanism, row.parameter);

    can([row.mechanism, ...row.needs], `${row.what}: OpenSSL accepts the signature, and so does the module`, (kit) =>
      kit.user(async (session) => {
        const pair = await row.pair(kit, session);
        const signature = await kit.sign(session, pair.privateKey, how, row.input);
        expect(await isValid(kit, session, pair, row, signature)).toBe(true);
        await moduleVerifies(kit, session, how, pair.publicKey, row.input, signature);
        const other = Uint8Array.from(signature, (byte, i) => (i === signature.length - 1 ? byte ^ 1 : byte));
        const refused = () => moduleVerifies(kit, session, how, pair.publicKey, row.input, other);
        await refuses(refused, "CKR_SIGNATURE_INVALID");
      }),
    );

    if (row.parts) {
      can([row.mechanism, ...row.needs, "C_SignUpdate"], `${row.what}: in several parts`, (kit) =>
        kit.user(async (session) => {
          const pair = await row.pair(kit, session);
          await kit.call("C_SignInit", { session, mechanism: how, key: pair.privateKey });
          await kit.call("C_SignUpdate", { session, data: DATA.subarray(0, 5) });
          await kit.call("C_SignUpdate", { session, data: DATA.subarray(5) });
          const signature = bytesOf(await kit.call("C_SignFinal", { session, room: 1024 }));
          expect(await isValid(kit, session, pair, row, signature)).toBe(true);
          await kit.call("C_VerifyInit", { session, mechanism: how, key: pair.publicKey });
          await kit.call("C_VerifyUpdate", { session, data: DATA.subarray(0, 9) });
          await kit.call("C_VerifyUpdate", { session, data: DATA.subarray(9) });
          await kit.call("C_VerifyFinal", { session, signature });
        }),
      );
    }
  }

  can(
    ["CKM_ECDSA", "a size query leaves the operation active"],
    "a room too small for a signature leaves the operation active",
    (kit) =>
      kit.user(async (session) => {
        const { privateKey: key } = await kit.ec(session, "P-256");
        await kit.call("C_SignInit", { session, mechanism: mechanism("CKM_ECDSA"), key });
        // A module may say more than it will need.
        const { needed } = (await kit.call("C_Sign", { session, data: SHA256, room: null })).output as {
          needed: number;
        };
        expect(needed).toBeGreaterThanOrEqual(64);
        const { output } = await kit.call("C_Sign", { session, data: SHA256, room: 63 });
        expect(output).toHaveProperty("needed");
        expect(bytesOf(await kit.call("C_Sign", { session, data: SHA256, room: needed }))).toHaveLength(64);
      }),
  );

  can(["CKM_ECDSA", "what a key may do has its own return value"], "a key that may not sign does not", (kit) =>
    kit.user(async (session) => {
      const { privateKey: key } = await kit.ec(session, "P-256", { CKA_SIGN: false });
      const begin = () => kit.call("C_SignInit", { session, mechanism: mechanism("CKM_ECDSA"), key });
      await refuses(begin, "CKR_KEY_FUNCTION_NOT_PERMITTED");
    }),
  );

  can(
    ["CKM_ECDSA", "CKM_SHA256_RSA_PKCS", "key types are checked"],
    "a mechanism for another type of key is refused",
    (kit) =>
      kit.user(async (session) => {
        const { privateKey: key } = await kit.ec(session, "P-256");
        const begin = () => kit.call("C_SignInit", { session, mechanism: mechanism("CKM_SHA256_RSA_PKCS"), key });
        await refuses(begin, "CKR_KEY_TYPE_INCONSISTENT");
      }),
  );

  for (const [name, hash] of [
    ["CKM_SHA_1_HMAC", "sha1"],
    ["CKM_SHA256_HMAC", "sha256"],
    ["CKM_SHA512_HMAC", "sha512"],
  ] as const) {
    can([name, "importing a secret key"], `${name} is the HMAC that OpenSSL makes`, (kit) =>
      kit.user(async (session) => {
        const value = new Uint8Array(64).map((_, i) => i + 1);
        const key = await kit.secret(session, "CKK_GENERIC_SECRET", value, { CKA_SIGN: true, CKA_VERIFY: true });
        const expected = new Uint8Array(createHmac(hash, value).update(DATA).digest());
        expect(await kit.sign(session, key, mechanism(name), DATA)).toEqual(expected);
        await moduleVerifies(kit, session, mechanism(name), key, DATA, expected);
      }),
    );
  }
}
