/** A process that is killed while it logs in: the next one knows of the login, and sends no PIN that may be wrong. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { Cryptoki } from "../../src/cryptoki/port.ts";
import type { Token } from "../../src/cryptoki/token.ts";
import { openGuarded } from "../../src/modules/guarded.ts";
import type { ModuleReference } from "../../src/modules/index.ts";
import { PinMemory } from "../../src/pins/memory.ts";
import { flagNames, TOKEN_FLAGS } from "../../src/spec/flags.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";

const folder = mkdtempSync(join(tmpdir(), "keywright-killed-"));
const hsm = softHsm();
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  hsm.remove();
});

interface Subject {
  name: string;
  isHere: boolean;
  reference: ModuleReference;
  /** It counts the PINs that it refused. */
  counts: boolean;
}

const TOKENS: Subject[] = [
  {
    name: "the built-in token",
    isHere: true,
    reference: { module: "softtoken", store: join(folder, "store.db"), scryptCost: 10 },
    counts: true,
  },
  {
    name: "SoftHSM2",
    isHere: peer("softhsm2"),
    reference: { module: hsm.path, environment: hsm.environment },
    counts: false,
  },
];

describe.each(TOKENS)("$name", ({ name, isHere, reference, counts }) => {
  const state = join(folder, name);
  const memory = new PinMemory(state);

  async function within<T>(attended: boolean, layer: (inner: Cryptoki) => Cryptoki, use: (token: Token) => Promise<T>) {
    const module = await Module.open(openGuarded(reference, { memory, attended: () => attended }, layer));
    try {
      return await use(await module.token({ label: "killed" }));
    } finally {
      await module.close();
    }
  }

  /** A login, and whether its PIN was sent. */
  async function login(pin: string, attended = false): Promise<{ sent: boolean; said: string }> {
    let sent = false;
    const watch = (inner: Cryptoki): Cryptoki => ({
      call: (fn, args) => {
        sent ||= fn === "C_Login";
        return inner.call(fn, args);
      },
    });
    try {
      await within(attended, watch, (token) => token.withSession({ user: "USER", pin: Pin.from(pin) }, async () => {}));
      return { sent, said: "in" };
    } catch (error) {
      if (!(error instanceof CryptokiError)) throw error;
      return { sent, said: [error.message, ...error.hints].join("\n") };
    }
  }

  function killed(pin: string, when: "before" | "during" | "after"): void {
    const child = join(import.meta.dirname, "kill.child.mjs");
    const { signal, stderr } = spawnSync(process.execPath, [child, JSON.stringify(reference), state, pin, when], {
      encoding: "utf8",
    });
    expect([stderr, signal]).toEqual(["", "SIGKILL"]);
  }

  const pinFlags = () =>
    within(
      false,
      (inner) => inner,
      async ({ info }) => flagNames(Number(info.flags), TOKEN_FLAGS).filter((flag) => /_PIN_(?!INIT)/.test(flag)),
    );

  beforeAll(async () => {
    if (!isHere) return;
    const module = await Module.open(openGuarded(reference, { memory }));
    const blank = (await module.tokens()).find((token) => !token.has("CKF_TOKEN_INITIALIZED"))!;
    await blank.initialise("killed", Pin.from("so-12345678"));
    await blank.initialisePin(Pin.from("so-12345678"), Pin.from("1234-user"));
    await module.close();
  });

  test.skipIf(!isHere)("a wrong PIN is not sent a second time, and a person's login ends the doubt", async () => {
    killed("9999-wrong", "after");
    const flags = await pinFlags();
    expect(flags).toEqual(["CKF_USER_PIN_COUNT_LOW"]);
    for (let i = 0; i < 2; i += 1) {
      const { sent, said } = await login("9999-wrong");
      expect(sent).toBe(false);
      expect(said).toMatch(/not sent: a login with the user PIN of killed on .* was never answered/);
      expect(said).toContain("if you know it to be right: keywright pin forget killed");
    }
    expect(await pinFlags()).toEqual(flags);
    // A person's own mistake says nothing of the PIN that the programs have.
    expect((await login("8888-wrong", true)).sent).toBe(true);
    expect(await login("9999-wrong")).toMatchObject({ sent: false });
    expect(await login("1234-user", true)).toEqual({ sent: true, said: "in" });
    expect(await login("1234-user")).toEqual({ sent: true, said: "in" });
    expect(await pinFlags()).toEqual([]);
  });

  test.skipIf(!isHere).each(["before", "after"] as const)(
    "a right PIN is sent again by the next run when the process was killed %s the call",
    async (when) => {
      killed("1234-user", when);
      expect(await login("1234-user")).toEqual({ sent: true, said: "in" });
      expect(await memory.tokens()).toEqual([]);
    },
  );

  test.skipIf(!isHere)("a PIN that never reached the token is sent by the next run, and refused once", async () => {
    killed("7777-wrong", "before");
    expect(await pinFlags()).toEqual([]);
    expect(await login("7777-wrong")).toMatchObject({ sent: true });
    expect(await login("7777-wrong")).toMatchObject({ sent: false });
    await login("1234-user", true);
  });

  test.skipIf(!isHere)("nothing of the PIN is noted before it is sent", async () => {
    killed("1234-user", "before");
    const [token] = JSON.parse(readFileSync(join(state, "pins.json"), "utf8")).tokens;
    const refused = counts ? { refused: 0 } : {};
    expect(token.roles.USER).toEqual({ refused: [], unattended: 0, pending: { at: expect.any(String), ...refused } });
    await login("1234-user");
  });

  if (!counts) return;
  test("a PIN that a process was killed over before the token had looked at it was not refused, although its try is gone", async () => {
    killed("1234-user", "during");
    expect(await pinFlags()).toEqual(["CKF_USER_PIN_COUNT_LOW"]);
    expect(await login("1234-user")).toEqual({ sent: true, said: "in" });
    expect(await pinFlags()).toEqual([]);
  });
});
