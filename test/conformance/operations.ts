import { createHash } from "node:crypto";
import { expect } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { bytesOf, mechanism, refuses } from "./kit.ts";
import type { Can } from "./suite.ts";

const HASHES = { CKM_SHA_1: "sha1", CKM_SHA256: "sha256", CKM_SHA384: "sha384", CKM_SHA512: "sha512" } as const;

export function operations(can: Can): void {
  for (const [name, hash] of Object.entries(HASHES) as [keyof typeof HASHES, string][]) {
    can([name], `${name} hashes in one part and in several`, (kit) =>
      kit.user(async (session) => {
        const data = utf8("some data of two parts");
        const expected = new Uint8Array(createHash(hash).update(data).digest());
        await kit.call("C_DigestInit", { session, mechanism: mechanism(name) });
        expect(bytesOf(await kit.call("C_Digest", { session, data, room: 64 }))).toEqual(expected);
        await kit.call("C_DigestInit", { session, mechanism: mechanism(name) });
        await kit.call("C_DigestUpdate", { session, data: data.subarray(0, 7) });
        await kit.call("C_DigestUpdate", { session, data: data.subarray(7) });
        expect(bytesOf(await kit.call("C_DigestFinal", { session, room: 64 }))).toEqual(expected);
      }),
    );
  }

  can(["a size query leaves the operation active"], "asking for the size leaves the operation active", (kit) =>
    kit.user(async (session) => {
      const data = utf8("data");
      await kit.call("C_DigestInit", { session, mechanism: mechanism("CKM_SHA256") });
      expect((await kit.call("C_Digest", { session, data, room: null })).output).toEqual({ needed: 32 });
      const digest = bytesOf(await kit.call("C_Digest", { session, data, room: 32 }));
      expect(digest).toEqual(new Uint8Array(createHash("sha256").update(data).digest()));
      await refuses(() => kit.call("C_Digest", { session, data, room: 32 }), "CKR_OPERATION_NOT_INITIALIZED");
    }),
  );

  can(["a room too small is noticed"], "a room that is too small leaves the operation active", (kit) =>
    kit.user(async (session) => {
      const data = utf8("data");
      await kit.call("C_DigestInit", { session, mechanism: mechanism("CKM_SHA256") });
      expect((await kit.call("C_Digest", { session, data, room: 31 })).output).toEqual({ needed: 32 });
      expect(bytesOf(await kit.call("C_Digest", { session, data, room: 32 }))).toHaveLength(32);
    }),
  );

  can([], "an operation that was not begun cannot go on", (kit) =>
    kit.user(async (session) => {
      const data = utf8("data");
      const nothing = "CKR_OPERATION_NOT_INITIALIZED";
      await refuses(() => kit.call("C_Sign", { session, data, room: 512 }), nothing);
      await refuses(() => kit.call("C_SignUpdate", { session, data }), nothing);
      await refuses(() => kit.call("C_Verify", { session, data, signature: data }), nothing);
      await refuses(() => kit.call("C_Encrypt", { session, data, room: 512 }), nothing);
      await refuses(() => kit.call("C_Decrypt", { session, data, room: 512 }), nothing);
      await refuses(() => kit.call("C_DigestFinal", { session, room: 64 }), nothing);
    }),
  );

  can(["a search is an operation"], "a search that was not begun finds nothing, and one is begun once", (kit) =>
    kit.user(async (session) => {
      await refuses(() => kit.call("C_FindObjects", { session, max: 1 }), "CKR_OPERATION_NOT_INITIALIZED");
      await kit.call("C_FindObjectsInit", { session, template: [] });
      await refuses(() => kit.call("C_FindObjectsInit", { session, template: [] }), "CKR_OPERATION_ACTIVE");
      await kit.call("C_FindObjectsFinal", { session });
      await kit.call("C_FindObjectsInit", { session, template: [] });
    }),
  );

  can(
    ["an operation that is active"],
    "an operation cannot be begun twice in a session, but in another session",
    (kit) =>
      kit.user(async (session) => {
        const sha256 = mechanism("CKM_SHA256");
        await kit.call("C_DigestInit", { session, mechanism: sha256 });
        await refuses(() => kit.call("C_DigestInit", { session, mechanism: sha256 }), "CKR_OPERATION_ACTIVE");
        await kit.call("C_DigestInit", { session: await kit.open(), mechanism: sha256 });
        await kit.call("C_FindObjectsInit", { session: await kit.open(), template: [] });
      }),
  );

  can(["C_GenerateRandom"], "random bytes differ from each other", (kit) =>
    kit.user(async (session) => {
      const { random: one } = await kit.call("C_GenerateRandom", { session, length: 32 });
      const { random: two } = await kit.call("C_GenerateRandom", { session, length: 32 });
      expect(one).toHaveLength(32);
      expect(one).not.toEqual(two);
    }),
  );

  can([], "a key that does not exist cannot be used", (kit) =>
    kit.user(async (session) => {
      const begin = () => kit.call("C_SignInit", { session, mechanism: mechanism("CKM_ECDSA"), key: 99_999_999 });
      await refuses(begin, "CKR_KEY_HANDLE_INVALID", "CKR_OBJECT_HANDLE_INVALID");
    }),
  );
}
