/** Objects of sessions that were made anew: found again by what they are, or lost. Needs dist. */
import { createHash } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { ecdsa, mechanism, rsaPkcs1 } from "../../src/cryptoki/mechanisms.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import { ObjectLostError } from "../../src/cryptoki/session/lost.ts";
import type { TokenObject } from "../../src/cryptoki/session/objects.ts";
import type { Session } from "../../src/cryptoki/session/session.ts";
import { losses, pair, restartable, thrown, USER_PIN } from "./losses.ts";

const ends: (() => unknown)[] = [];
const later = (end: () => unknown) => ends.push(end);
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const data = new TextEncoder().encode("what is signed");
const digest = createHash("sha256").update(data).digest();
const user = { user: "USER", write: true, pin: () => Pin.from(USER_PIN) } as const;

describe("objects", () => {
  test("those of the session end with it, and say so", async () => {
    const opened = await restartable(later);
    await opened.token.withSession(user, async (session) => {
      const { privateKey } = await pair(session, "short", false);
      const found = await session.findOne({ CKA_LABEL: "short", CKA_CLASS: "CKO_PUBLIC_KEY" });
      await found.get("CKA_TOKEN");
      await opened.lose();
      for (const object of [privateKey, found]) {
        const error = await thrown(session.sign(object, ecdsa(), digest));
        expect(error).toBeInstanceOf(ObjectLostError);
        expect(error.message).toContain("it was in the session alone (CKA_TOKEN false)");
      }
    });
  });

  test.each(["the built-in token", "SoftHSM2"])(
    "another key that took the name of one is not taken for it (%s)",
    async (name) => {
      const loss = losses.find((one) =>
        one.name.includes(name === "SoftHSM2" ? "library (SoftHSM2)" : "stops and starts"),
      );
      if (loss === undefined) return;
      const opened = await loss.open(later);
      const token = await opened.module.token({ label: "conformance" });
      const rsa = (session: Session) =>
        session.generateKeyPair(
          mechanism("CKM_RSA_PKCS_KEY_PAIR_GEN"),
          { CKA_TOKEN: true, CKA_MODULUS_BITS: 2048, CKA_PUBLIC_EXPONENT: Uint8Array.of(1, 0, 1), CKA_LABEL: "ca" },
          { CKA_TOKEN: true, CKA_PRIVATE: true, CKA_SIGN: true, CKA_LABEL: "ca" },
        );
      await token.withSession(user, async (session) => {
        const key = (await rsa(session)).privateKey;
        await session.sign(key, rsaPkcs1("SHA-256"), data);
        for await (const object of session.find({ CKA_LABEL: "ca" })) await object.destroy();
        await rsa(session);
        await opened.lose();
        const error = await thrown(session.sign(key, rsaPkcs1("SHA-256"), data));
        expect(error).toBeInstanceOf(ObjectLostError);
        expect(error.message).toMatch(/object=ca.* is lost: the token has none like it any more/);
      });
    },
  );

  test("two that nothing tells apart are not guessed at, and one of which nothing was read is lost", async () => {
    const opened = await restartable(later);
    await opened.token.withSession(user, async (session) => {
      const note = { CKA_CLASS: "CKO_DATA", CKA_TOKEN: true, CKA_LABEL: "twin", CKA_VALUE: data } as const;
      const first = await session.create(note);
      await session.create(note);
      const seen: TokenObject[] = [];
      for await (const object of session.find({})) seen.push(object);
      await opened.lose();
      expect((await thrown(first.get("CKA_VALUE"))).message).toContain("is lost: 2 are like it");
      expect((await thrown(seen[0]!.get("CKA_VALUE"))).message).toContain("nothing was read that tells it from others");
    });
  });

  test("a change of its own label does not lose it", async () => {
    const opened = await restartable(later);
    await opened.token.withSession(user, async (session) => {
      await pair(session, "old");
      const key = await session.findOne({ CKA_LABEL: "old", CKA_CLASS: "CKO_PRIVATE_KEY" });
      await key.set({ CKA_LABEL: "new" });
      await opened.lose();
      expect(await session.sign(key, ecdsa(), digest)).toHaveLength(64);
    });
  });

  test("a handle from before is refused: it may be another object's", async () => {
    const opened = await restartable(later);
    await opened.token.withSession(user, async (session) => {
      const { handle } = (await pair(session, "www")).publicKey;
      expect((await session.object(handle).get("CKA_LABEL")).CKA_LABEL).toBe("www");
      await opened.lose();
      await session.random(1);
      expect(() => session.object(handle)).toThrow(ObjectLostError);
    });
  });
});
