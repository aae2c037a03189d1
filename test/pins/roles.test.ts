/** Whose PIN it is: the SO's is never given as the user's. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { Pin } from "../../src/cryptoki/pin.ts";
import { attendedBy, declaredPins, type PinContext, pinFor, type TokenPins, withPins } from "../../src/pins/roles.ts";
import { type PinSource, readPin } from "../../src/pins/sources.ts";

let tokens = 0;

function bench(files: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "keywright-roles-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 });
  const asked: string[] = [];
  const answers: Record<string, string> = {};
  const name = `token-${++tokens}`;
  const context: PinContext = {
    name,
    folder,
    read: (source, purpose) =>
      readPin(source, {
        folder,
        purpose,
        prompt: (question) => {
          asked.push(question);
          return Promise.resolve(Buffer.from(answers[question.includes("SO") ? "so" : "user"]!));
        },
      }),
  };
  const text = (pin: Pin) => pin.use((bytes) => Buffer.from(bytes).toString());
  return {
    folder,
    asked,
    answers,
    user: (pins: TokenPins, use?: "first" | "new") => pinFor(pins, "USER", context, use)!().then(text),
    so: (pins: TokenPins, use?: "first" | "new") => pinFor(pins, "SO", context, use)!().then(text),
  };
}

const SAME = "is the same as its SO PIN";

describe("the user PIN is refused", () => {
  test("when it has the bytes of an SO PIN that can be read, wherever the two come from", async () => {
    const b = bench({ "so.pin": "so-1\n", copy: "so-1", other: "user" });
    process.env.KEYWRIGHT_TEST_SO = "so-1";
    for (const soPin of [{ file: "so.pin" }, { env: "KEYWRIGHT_TEST_SO" }] as PinSource[]) {
      // A variable is gone from the environment once read, and still compared the next time.
      for (const pin of [{ file: "copy" }, { command: ["cat", "copy"] }, { file: "copy" }] as PinSource[]) {
        await expect(b.user({ pin, soPin })).rejects.toThrow(SAME);
      }
      await expect(b.user({ pin: Pin.from("so-1"), soPin })).rejects.toThrow(SAME);
      expect(await b.user({ pin: { file: "other" }, soPin })).toBe("user");
    }
  });

  test("when it comes from the SO PIN's own source, before that is read", async () => {
    const b = bench({ "so.pin": "so-1" });
    symlinkSync("so.pin", join(b.folder, "link"));
    const pairs: [PinSource, PinSource][] = [
      [{ file: "./link" }, { file: "so.pin" }],
      [{ env: "KEYWRIGHT_TEST_UNSET" }, { env: "KEYWRIGHT_TEST_UNSET" }],
      [{ command: ["touch", "ran"] }, { command: ["touch", "ran"] }],
      [{ fd: 99 }, { fd: 99 }],
    ];
    for (const [pin, soPin] of pairs) await expect(b.user({ pin, soPin })).rejects.toThrow(/same as its SO PIN \(both/);
  });

  test("when a person typed it, or a command gave it, as the SO's before in this run", async () => {
    for (const soPin of [{ prompt: true }, { command: ["cat", "so.pin"] }] as PinSource[]) {
      const b = bench({ "so.pin": "so-1" });
      b.answers.so = "so-1";
      b.answers.user = "so-1";
      const pins = { pin: { prompt: true } as const, soPin };
      // Nobody is asked for the SO PIN only to compare.
      expect(await b.user(pins)).toBe("so-1");
      expect(b.asked).toHaveLength(1);
      await b.so(pins);
      await expect(b.user(pins)).rejects.toThrow(SAME);
      b.answers.user = "user";
      expect(await b.user(pins)).toBe("user");
    }
  });

  test("when it is to be set; and the SO's new one when it is the user's", async () => {
    const b = bench({ "so.pin": "so-1", "user.pin": "user" });
    for (const pin of [{ command: ["cat", "so.pin"] }, { file: "so.pin" }] as PinSource[]) {
      const refused = await b.user({ pin, soPin: { file: "so.pin" } }, "new").catch((error: unknown) => error as Error);
      expect(refused).toMatchObject({
        message: expect.stringMatching(/^the new user PIN of .* is the same as its SO PIN/),
        hints: [expect.stringContaining("choose another new PIN")],
      });
    }
    const next = { pin: { file: "user.pin" }, soPin: { command: ["cat", "user.pin"] } };
    await expect(b.so(next, "new")).rejects.toThrow("the new SO PIN of");
  });
});

test("an SO PIN that is kept elsewhere in daily life keeps the user out of nothing", async () => {
  const b = bench({ "user.pin": "user" });
  expect(await b.user({ pin: { file: "user.pin" }, soPin: { file: "/media/safe/so.pin" } })).toBe("user");
});

test("two prompts are two questions", async () => {
  const b = bench();
  Object.assign(b.answers, { so: "so-1", user: "user" });
  const pins = { pin: { prompt: true }, soPin: { prompt: true } } as const;
  expect([await b.so(pins), await b.user(pins)]).toEqual(["so-1", "user"]);
});

test("a login is attended when its own PIN is typed, whatever the other role's source is", () => {
  const roles = (pins: TokenPins) => (["USER", "SO"] as const).map(attendedBy(pins));
  const [prompt, file] = [{ prompt: true } as const, { file: "pin" }];
  expect(roles({ pin: prompt, soPin: file })).toEqual([true, false]);
  expect(roles({ pin: file, soPin: prompt })).toEqual([false, true]);
  expect(roles({ pin: Pin.from("1234") })).toEqual([false, false]);
  expect(roles({})).toEqual([false, false]);
});

test("a declared URI's pin-source is the user's source, unless one is declared beside it", () => {
  const uri = "pkcs11:token=demo?pin-source=file:/etc/pin";
  expect(declaredPins({ uri }).pin).toEqual({ file: "/etc/pin" });
  expect(declaredPins({ uri, pin: { env: "PIN" } }).pin).toEqual({ env: "PIN" });
});

test("two PINs are wiped after their use, also when it fails", async () => {
  const [one, two] = [Pin.from("1"), Pin.from("2")];
  const use = () => Promise.reject(new Error("no"));
  await expect(withPins([() => Promise.resolve(one), () => Promise.resolve(two)], use)).rejects.toThrow("no");
  expect([one.wiped, two.wiped]).toEqual([true, true]);
});
