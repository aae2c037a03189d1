/** How many PINs it costs that sessions are lost, and who is logged in then. Needs dist. */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { ecdsa } from "../../src/cryptoki/mechanisms.ts";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import { openProvider } from "../../src/modules/index.ts";
import { count, loggedIn, pair, restartable, thrown, USER_PIN } from "./losses.ts";

const ends: (() => unknown)[] = [];
const later = (end: () => unknown) => ends.push(end);
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const data = new TextEncoder().encode("what is signed");
const digest = createHash("sha256").update(data).digest();
const user = { user: "USER", write: true, pin: () => Pin.from(USER_PIN) } as const;

const open = ({ attended = false } = {}) => restartable(later, attended);

describe("PINs", () => {
  test("one that was changed meanwhile costs one try, and no more in that session", async () => {
    const opened = await open({ attended: true });
    const failure = await opened.token.withSession(user, async (session) => {
      const { privateKey } = await pair(session, "www");
      await session.sign(privateKey, ecdsa(), digest);
      const elsewhere = await Module.open(openProvider({ module: opened.server.address }));
      later(() => elsewhere.close());
      const same = await elsewhere.token({ label: "conformance" });
      await same.changePin("USER", Pin.from(USER_PIN), Pin.from("another 5678"));
      await opened.lose();
      opened.sent.length = 0;
      const error = await thrown(session.sign(privateKey, ecdsa(), digest));
      expect(error).toMatchObject({ isUsable: false, cause: { function: "C_Login" } });
      expect(error.message).toMatch(/cannot be made anew: C_Login: CKR_PIN_INCORRECT/);
      for (let i = 0; i < 3; i += 1) {
        const again = await thrown(i === 1 ? session.random(1) : session.sign(privateKey, ecdsa(), digest));
        expect(again.message).toContain("no PIN was sent: a login failed since");
      }
      const logins = opened.sent.filter(({ fn }) => fn === "C_Login");
      expect(logins).toHaveLength(1);
      // Whoever logs in with the right one takes the lost session along.
      return opened.token.withSession({ user: "USER", pin: Pin.from("another 5678") }, () =>
        session.sign(privateKey, ecdsa(), digest),
      );
    });
    expect(failure).toHaveLength(64);
    expect(count(opened, "C_Login")).toBe(2);
    expect((await opened.token.refresh()).has("CKF_USER_PIN_COUNT_LOW")).toBe(false);
    expect(await loggedIn(opened.token)).toBe(false);
  });

  test("several sessions that are lost at once send a changed PIN once, not once each", async () => {
    const opened = await open();
    await opened.token.withSession(user, (first) =>
      opened.token.withSession(user, async (second) => {
        const elsewhere = await Module.open(openProvider({ module: opened.server.address }));
        later(() => elsewhere.close());
        const same = await elsewhere.token({ label: "conformance" });
        await same.changePin("USER", Pin.from(USER_PIN), Pin.from("another 5678"));
        await opened.lose();
        opened.sent.length = 0;
        await Promise.all([first, second, first, second].map((session) => thrown(session.random(1))));
        expect(count(opened, "C_Login")).toBe(1);
      }),
    );
  });

  test("none is sent where its supply gives none any more", async () => {
    const opened = await open();
    const pin = Pin.from(USER_PIN);
    await opened.token.withSession({ user: "USER", pin }, async (session) => {
      pin.wipe();
      await opened.lose();
      opened.sent.length = 0;
      expect((await thrown(session.random(1))).message).toMatch(/cannot be made anew: the PIN was used and wiped/);
      expect(count(opened, "C_Login")).toBe(0);
    });
  });

  test("none is sent that the token never compared: who shared a login of one that ended says so", async () => {
    const opened = await open();
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const first = opened.token.withSession(user, () => held);
    await delay(20);
    await opened.token.withSession({ user: "USER", pin: Pin.from("never compared") }, async (session) => {
      letGo();
      await first;
      await opened.lose();
      opened.sent.length = 0;
      expect((await thrown(session.random(1))).message).toContain("it shared the login of another");
      expect(count(opened, "C_Login")).toBe(0);
    });
  });

  test("sessions that share a login share the new one, and the last one logs out", async () => {
    const opened = await open();
    await opened.token.withSession(user, async (first) => {
      const { privateKey } = await pair(first, "www");
      await opened.token.withSession({ user: "USER" }, async (second) => {
        const same = await second.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY" });
        await opened.lose();
        opened.sent.length = 0;
        expect(await second.sign(same, ecdsa(), digest)).toHaveLength(64);
        expect(await first.sign(privateKey, ecdsa(), digest)).toHaveLength(64);
        expect(count(opened, "C_Login")).toBe(1);
      });
      expect(count(opened, "C_Logout")).toBe(0);
      expect(await first.sign(privateKey, ecdsa(), digest)).toHaveLength(64);
    });
    expect(count(opened, "C_Logout")).toBe(1);
    expect(await loggedIn(opened.token)).toBe(false);
  });

  test("the last one logs out also where it was another that was made anew", async () => {
    const opened = await open();
    await opened.token.withSession({}, async (onlooker) => {
      await opened.token.withSession(user, async () => {
        await opened.token.withSession({ user: "USER" }, async (second) => {
          await opened.lose();
          await second.random(1);
          await onlooker.random(1);
        });
        expect(await loggedIn(opened.token)).toBe(true);
      });
      expect(await loggedIn(opened.token)).toBe(false);
    });
  });
});
