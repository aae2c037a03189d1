/** Sessions that are lost: what goes on by itself, what does not, and how many PINs that costs. Needs dist. */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { ecdsa, mechanism } from "../../src/cryptoki/mechanisms.ts";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { FunctionName } from "../../src/cryptoki/port.ts";
import { SessionLostError } from "../../src/cryptoki/session/lost.ts";
import { openProvider } from "../../src/modules/index.ts";
import { peer } from "../support/peers.ts";
import { count, crashed, loggedIn, losses, pair, restartable, SO_PIN, thrown, USER_PIN } from "./losses.ts";

const ends: (() => unknown)[] = [];
const later = (end: () => unknown) => ends.push(end);
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const data = new TextEncoder().encode("what is signed");
const digest = createHash("sha256").update(data).digest();
const user = { user: "USER", write: true, pin: () => Pin.from(USER_PIN) } as const;

describe.each(losses)("$name:", ({ open }) => {
  test("reading, finding, signing, verifying and digesting go on, at the price of one login", async () => {
    const opened = await open(later);
    const token = await opened.module.token({ label: "conformance" });
    await token.withSession(user, async (session) => {
      const { publicKey, privateKey } = await pair(session, "www");
      const found = await session.findOne({ CKA_CLASS: "CKO_PUBLIC_KEY", CKA_LABEL: "www" });
      await session.sign(privateKey, ecdsa(), digest);
      const uses: [string, () => Promise<unknown>][] = [
        ["sign", () => session.sign(privateKey, ecdsa(), digest)],
        ["get", async () => (await found.get("CKA_LABEL")).CKA_LABEL],
        ["find", async () => (await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY" })).uri()],
        ["random", () => session.random(4)],
        ["digest", () => session.digest(mechanism("CKM_SHA256"), [data.subarray(0, 3), data.subarray(3)])],
      ];
      for (const [name, use] of uses) {
        await opened.lose();
        opened.sent.length = 0;
        await use();
        expect([name, count(opened, "C_Login")]).toEqual([name, 1]);
        const signature = await session.sign(privateKey, ecdsa(), digest);
        expect(await session.verify(publicKey, ecdsa(), digest, signature)).toBe(true);
        expect(await session.verify(found, ecdsa(), digest, signature)).toBe(true);
        expect([name, count(opened, "C_Login")]).toEqual([name, 1]);
      }
    });
  });

  test("what makes, changes or destroys is not done twice, and says that the session can be used again", async () => {
    const opened = await open(later);
    const token = await opened.module.token({ label: "conformance" });
    await token.withSession(user, async (session) => {
      const note = { CKA_CLASS: "CKO_DATA", CKA_TOKEN: true, CKA_LABEL: "note", CKA_VALUE: data } as const;
      const before = await session.create(note);
      const calls: [FunctionName, () => Promise<unknown>][] = [
        ["C_CreateObject", () => session.create({ ...note, CKA_LABEL: "other" })],
        ["C_SetAttributeValue", () => before.set({ CKA_VALUE: Uint8Array.of(1) })],
        ["C_GenerateKeyPair", () => pair(session, "made")],
        ["C_DestroyObject", () => before.destroy()],
      ];
      for (const [fn, call] of calls) {
        await opened.lose();
        opened.sent.length = 0;
        const error = await thrown(call());
        expect(error).toBeInstanceOf(SessionLostError);
        expect(error).toMatchObject({ isUsable: true });
        expect(error.message).toMatch(new RegExp(`^${fn}: CKR_.*; whether it was done is not known$`));
        expect(count(opened, fn)).toBeLessThanOrEqual(1);
        expect((await before.get("CKA_LABEL")).CKA_LABEL).toBe("note");
      }
      await before.destroy();
    });
  });
});

const open = ({ attended = false } = {}) => restartable(later, attended);

describe("several sessions", () => {
  test.each(losses)("each goes on with objects of its own: $name", async ({ open: lost }) => {
    const opened = await lost(later);
    const token = await opened.module.token({ label: "conformance" });
    await token.withSession(user, (first) =>
      token.withSession(user, async (second) => {
        const [one, other] = [await pair(first, "one"), await pair(second, "other")];
        await first.sign(one.privateKey, ecdsa(), digest);
        await second.sign(other.privateKey, ecdsa(), digest);
        await opened.lose();
        opened.sent.length = 0;
        // The key of one that is still lost: in the other one its handle may be another object's.
        const lent = await second.sign(one.privateKey, ecdsa(), digest);
        expect(await second.verify(one.publicKey, ecdsa(), digest, lent)).toBe(true);
        for (let i = 0; i < 2; i += 1) {
          const [ofOne, ofOther] = [
            await first.sign(one.privateKey, ecdsa(), digest),
            await second.sign(other.privateKey, ecdsa(), digest),
          ];
          expect(await first.verify(one.publicKey, ecdsa(), digest, ofOne)).toBe(true);
          expect(await second.verify(other.publicKey, ecdsa(), digest, ofOther)).toBe(true);
        }
        expect(count(opened, "C_Login")).toBe(1);
      }),
    );
    expect(count(opened, "C_Logout")).toBe(1);
  });

  test.skipIf(!peer("softhsm2"))("a token that comes back in another slot is the same token", async () => {
    const opened = await crashed.open(later);
    const [blank] = (await opened.module.tokens()).filter((one) => !one.has("CKF_TOKEN_INITIALIZED"));
    await blank!.initialise("mover", Pin.from(SO_PIN));
    await blank!.initialisePin(Pin.from(SO_PIN), Pin.from(USER_PIN));
    const token = await opened.module.token({ label: "mover" });
    const { slot } = token;
    await token.withSession(user, async (session) => {
      const { privateKey } = await pair(session, "www");
      await opened.lose();
      expect(await session.sign(privateKey, ecdsa(), digest)).toHaveLength(64);
      expect(token.slot).not.toBe(slot);
      expect(await opened.module.token({ label: "mover" })).toBe(token);
    });
  });
});

describe("what is under way", () => {
  test("many calls at once make the session anew once", async () => {
    const opened = await open();
    await opened.token.withSession(user, async (session) => {
      const { publicKey, privateKey } = await pair(session, "www");
      await session.sign(privateKey, ecdsa(), digest);
      await opened.lose();
      opened.sent.length = 0;
      const signatures = await Promise.all(Array.from({ length: 20 }, () => session.sign(privateKey, ecdsa(), digest)));
      for (const one of signatures) expect(await session.verify(publicKey, ecdsa(), digest, one)).toBe(true);
      expect([count(opened, "C_GetSlotList"), count(opened, "C_Login")]).toEqual([1, 1]);
    });
    expect(count(opened, "C_Logout")).toBe(1);
  });

  test("data that was read from a stream is not signed without it; one that was not begun is", async () => {
    const opened = await open();
    await opened.token.withSession(user, async (session) => {
      let mustLose = true;
      async function* stream() {
        yield data.subarray(0, 4);
        if (mustLose) await opened.lose();
        yield data.subarray(4);
      }
      const sha = mechanism("CKM_SHA256");
      const error = await thrown(session.digest(sha, stream()));
      expect(error).toMatchObject({ isUsable: true });
      expect(error.message).toContain("those that were read are gone: give it again");
      mustLose = false;
      await opened.lose();
      expect(Buffer.from(await session.digest(sha, stream()))).toEqual(digest);
    });
  });

  test("a search that told objects already is not begun again by itself", async () => {
    const opened = await open();
    await opened.token.withSession(user, async (session) => {
      await pair(session, "www");
      const search = async () => {
        for await (const _ of session.find({ CKA_LABEL: "www" })) await opened.lose();
      };
      expect((await thrown(search())).message).toContain("a search was under way, and is to be begun again");
      expect(await session.findOne({ CKA_LABEL: "www", CKA_CLASS: "CKO_PRIVATE_KEY" })).toBeDefined();
    });
  });

  test("nothing is made anew when withSession ends, and nobody stays logged in", async () => {
    const opened = await open();
    // A session that stays open would keep the login.
    await opened.token.withSession({}, async (onlooker) => {
      for (const ms of [0, 1, 2, 3, 4, 6, 8, 12, 16]) {
        let late: Promise<unknown> | undefined;
        await opened.token.withSession(user, async (session) => {
          await opened.lose();
          await onlooker.random(1);
          late = session.random(4).catch((error: unknown) => error);
          if (ms > 0) await delay(ms);
        });
        await late;
        expect([ms, await loggedIn(opened.token)]).toEqual([ms, false]);
      }
    });
  });

  test("a login that would come after the logout is not sent", async () => {
    const opened = await open();
    await opened.token.withSession({}, async (onlooker) => {
      let late: Promise<unknown> | undefined;
      await opened.token.withSession(user, async (session) => {
        await opened.lose();
        await onlooker.random(1);
        // Its new session is there when the old one has logged out.
        let isLeft: () => void = () => undefined;
        const left = new Promise<void>((resolve) => {
          isLeft = resolve;
        });
        const isOpening = new Promise<void>((resolve) => {
          opened.hold = (fn) => {
            if (fn === "C_Logout") setTimeout(isLeft, 20);
            if (fn !== "C_OpenSession") return undefined;
            resolve();
            return left;
          };
        });
        late = session.random(4).catch((error: unknown) => error);
        await isOpening;
        opened.sent.length = 0;
      });
      expect(String(await late)).toContain("withSession has ended");
      expect(count(opened, "C_Login")).toBe(0);
      expect(await loggedIn(opened.token)).toBe(false);
    });
  });
});

describe("where it cannot be", () => {
  test("a daemon that is down is said, and the session goes on once it is up", async () => {
    const opened = await open();
    await opened.token.withSession(user, async (session) => {
      await opened.server.stop();
      for (let i = 0; i < 2; i += 1) {
        const error = await thrown(session.random(4));
        expect(error).toMatchObject({ isUsable: false });
        expect(error.message).toMatch(/the session with pkcs11:.* cannot be made anew: .*cannot connect/);
      }
      await opened.server.start();
      expect(await session.random(4)).toHaveLength(4);
    });
    expect(await loggedIn(opened.token)).toBe(false);
  });

  test("another token in its place is not taken for it", async () => {
    const opened = await open();
    await opened.token.withSession(user, async (session) => {
      await opened.server.stop();
      await opened.server.start();
      const elsewhere = await Module.open(openProvider({ module: opened.server.address }));
      later(() => elsewhere.close());
      await (await elsewhere.token({ label: "conformance" })).initialise("other", Pin.from(SO_PIN));
      opened.sent.length = 0;
      const error = await thrown(session.random(4));
      expect(error.message).toMatch(/cannot be made anew: pkcs11:.*token=conformance.* is not there/);
      expect((error as SessionLostError).hints.join()).toContain("token=other");
      expect(count(opened, "C_OpenSession") + count(opened, "C_Login")).toBe(0);
      // The slot has another Token, which knows nothing of the login of the first.
      expect(await opened.module.token({ label: "other" })).not.toBe(opened.token);
    });
  });

  test("until something fails it costs no call", async () => {
    const opened = await open();
    await opened.token.withSession(user, (session) => pair(session, "www"));
    const calls = [];
    for (const reconnect of [true, false]) {
      opened.sent.length = 0;
      await opened.token.withSession({ ...user, reconnect }, async (session) => {
        const key = await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY" });
        await Promise.all([1, 2, 3].map(() => session.sign(key, ecdsa(), digest)));
        await key.get("CKA_LABEL");
      });
      calls.push(opened.sent.map(({ fn }) => fn));
    }
    expect(calls[0]).toEqual(calls[1]);
  });

  test("reconnect: false leaves the module's own errors", async () => {
    const opened = await open();
    await opened.token.withSession({ ...user, reconnect: false }, async (session) => {
      await opened.lose();
      opened.sent.length = 0;
      for (let i = 0; i < 2; i += 1) expect(await thrown(session.random(4))).toMatchObject({ code: "ERR_CRYPTOKI" });
      expect(count(opened, "C_OpenSession")).toBe(0);
    });
  });
});
