/** Bad input: each is an error that says what to do, and nothing is lost. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { Cryptoki } from "../../src/cryptoki/port.ts";
import type { Token } from "../../src/cryptoki/token.ts";
import { FAMILIES } from "../../src/families/families.ts";
import type { Step } from "../../src/lifecycle/plan/steps.ts";
import { certificateTemplate } from "../../src/lifecycle/templates.ts";
import { readCertificate } from "../../src/x509/read.ts";
import { templatesOfTest } from "../support/templates.ts";
import { World } from "../support/world.ts";

const TOKEN = "{ module: softtoken, store: store/token.db, label: demo }";
const KEY =
  "  k: { token: demo, id: 1, type: EC:secp256r1, certificate: { subject: CN=k, publish: [{ path: k.pem }] } }\n";

function world(keys = KEY, token = TOKEN): World {
  const made = new World({ token, keys });
  onTestFinished(() => made.remove());
  return made;
}

async function refusal(w: World): Promise<Extract<Step, { action: "refuse" }>> {
  const [step] = (await w.plan()).steps;
  if (step?.action !== "refuse") throw new Error(`not refused: ${JSON.stringify(step)}`);
  return step;
}

/** Runs something in the world's token as its user. */
async function inToken<T>(w: World, use: (token: Token) => Promise<T>): Promise<T> {
  const { tokens } = await w.declaration();
  const module = await w.surroundings().open(tokens.demo!);
  try {
    return await use(await module.token({ label: "demo" }));
  } finally {
    await module.close();
  }
}

describe("modules and tokens", () => {
  test("an unknown module: the modules of this machine are listed", async () => {
    const step = await refusal(world(KEY, "{ module: /usr/lib/libnope.so, label: demo }"));
    expect(step.reason).toContain("module /usr/lib/libnope.so: there is no such file");
    expect(step.hints.join()).toMatch(/PKCS#11 module/);
  });

  test("a library that is no module", async () => {
    const w = world(KEY, "{ module: ./lib.so, label: demo }");
    w.write("lib.so", "not a library");
    const step = await refusal(new World({ token: `{ module: ${w.path("lib.so")}, label: demo }`, keys: KEY }));
    expect(step.reason).toContain("lib.so");
  });

  test("two tokens of one label: both are named, and neither is touched", async () => {
    const w = world();
    await w.applied();
    await inToken(w, async (token) => {
      const blank = (await token.module.tokens()).find((one) => !one.has("CKF_TOKEN_INITIALIZED"))!;
      await blank.initialise("demo", Pin.from("so-12345678"));
    });
    const step = await refusal(w);
    expect(step.reason).toBe("2 tokens are pkcs11:token=demo");
    expect(step.hints.filter((hint) => hint.includes("serial="))).toHaveLength(2);
  });

  test("a store that was truncated, and one of a newer version: nothing is written", async () => {
    const w = world();
    await w.applied();
    const path = w.path("store/token.db");
    const whole = readFileSync(path);
    truncateSync(path, 2000);
    expect((await refusal(w)).reason).toContain("token.db");
    expect(readFileSync(path)).toHaveLength(2000);
    truncateSync(path, 0);
    expect(await refusal(w)).toMatchObject({
      reason: expect.stringContaining("token.db: the store file is empty: it was truncated"),
      hints: expect.arrayContaining([expect.stringContaining("keywright token restore")]),
    });
    expect(readFileSync(path)).toHaveLength(0);
    const newer = Buffer.from(whole);
    // user_version of SQLite's header (offset 60).
    newer.writeUInt32BE(99, 60);
    writeFileSync(path, newer);
    expect((await refusal(w)).reason).toMatch(/token\.db.*99/);
    expect(readFileSync(path).equals(newer)).toBe(true);
    writeFileSync(path, whole);
    expect(await w.steps()).toEqual(["keep k"]);
  });
});

describe("PINs", () => {
  test("a missing, an unreadable, an empty and an open PIN file", async () => {
    const w = world();
    await w.applied();
    const declare = (pin: string) =>
      w.write(
        "keys.yaml",
        `tokens: { demo: { module: softtoken, store: store/token.db, label: demo, pin: { file: ${pin} } } }\nkeys:\n${KEY}`,
      );
    declare("nowhere");
    expect(await refusal(w)).toMatchObject({
      pin: true,
      reason: expect.stringContaining("nowhere: it does not exist"),
    });
    w.write("empty", "\n", 0o600);
    declare("empty");
    expect((await refusal(w)).reason).toContain("is empty");
    declare(".");
    expect((await refusal(w)).reason).toContain("folder");
    // The folder keeps others out, so an open file in it is no harm; in an open folder it is.
    chmodSync(w.path("user.pin"), 0o644);
    declare("user.pin");
    expect(await w.steps()).toEqual(["keep k"]);
    chmodSync(w.folder, 0o755);
    expect((await refusal(w)).reason).toContain("everybody on this machine can read");
  });

  test.each([
    ["user.pin", "the user PIN of demo"],
    ["so.pin", "the SO PIN of demo"],
  ])("no %s for a token that is to be made: the plan says so, and nothing is initialised", async (name, what) => {
    const w = world();
    const pin = w.read(name);
    rmSync(w.path(name));
    expect(await refusal(w)).toMatchObject({
      pin: true,
      reason: expect.stringMatching(new RegExp(`no PIN for ${what}: .*${name}: it does not exist`)),
    });
    w.write(name, pin, 0o644);
    chmodSync(w.folder, 0o755);
    expect((await refusal(w)).reason).toContain("everybody on this machine can read");
    chmodSync(w.path(name), 0o600);
    expect(await w.steps()).toEqual(["initialise demo", "generate k", "issue k", "publish k"]);
  });

  test("PINs that the token will not take, or one for both roles: the token is not initialised", async () => {
    const w = world();
    const called: string[] = [];
    w.layer = (inner: Cryptoki): Cryptoki => ({
      call: (fn, args) => {
        called.push(fn);
        return inner.call(fn, args);
      },
    });
    w.write("user.pin", "12", 0o600);
    await expect(w.applied()).rejects.toThrow("the user PIN of demo has 2 bytes, and the token takes 4 to ");
    w.write("user.pin", "so-12345678", 0o600);
    await expect(w.applied()).rejects.toThrow("the same as its SO PIN");
    expect(called).not.toContain("C_InitToken");
    w.write("user.pin", "1234-user", 0o600);
    expect(await w.applied()).toEqual(["k done"]);
  });

  test("a locked PIN: nothing is sent, and the way out is named", async () => {
    const w = world();
    await w.applied();
    w.attended = true;
    await inToken(w, async (token) => {
      for (let i = 0; i < 10; i += 1) {
        await token
          .withSession({ user: "USER", pin: Pin.from(`wrong-${i}`) }, () => Promise.resolve())
          .catch(() => undefined);
        await w.forgetPins();
      }
    });
    w.attended = false;
    const logins: unknown[] = [];
    w.layer = (inner: Cryptoki): Cryptoki => ({
      call: (fn, args) => {
        if (fn === "C_Login") logins.push(args);
        return inner.call(fn, args);
      },
    });
    const step = await refusal(w);
    expect(step).toMatchObject({ pin: true, reason: expect.stringContaining("CKR_PIN_LOCKED") });
    expect(step.hints.join()).toContain("keywright pin unblock");
    expect(logins).toEqual([]);
  });
});

describe("keys and certificates", () => {
  test("two private keys with one id and nothing to tell them apart: refused, and both are kept", async () => {
    const w = world("  k: { token: demo, id: 1, type: EC:secp256r1 }\n");
    await w.applied();
    await inToken(w, (token) =>
      token.withSession({ user: "USER", pin: Pin.from("1234-user"), write: true }, async (session) => {
        const { mechanism, publicKey, privateKey } = templatesOfTest("01", "k");
        await session.generateKeyPair(mechanism, publicKey, privateKey);
      }),
    );
    const step = await refusal(w);
    expect(step.reason).toContain("2 private keys have its id");
    expect((await w.objects()).filter((object) => object === "private 01 k")).toHaveLength(2);
  });

  test("a certificate that belongs to another key: refused, and kept", async () => {
    const other = world();
    await other.applied();
    const stranger = readFileSync(other.path("k.pem"), "utf8");
    const w = world("  k: { token: demo, id: 1, type: EC:secp256r1 }\n");
    await w.applied();
    await inToken(w, (token) =>
      token.withSession({ user: "USER", pin: Pin.from("1234-user"), write: true }, async (session) => {
        const der = Buffer.from(stranger.split("\n").slice(1, -2).join(""), "base64");
        await session.create(certificateTemplate(readCertificate(der), { id: "01", label: "k" }, FAMILIES[0]!));
      }),
    );
    w.declare(KEY);
    expect((await refusal(w)).reason).toContain("the certificate with its id belongs to another key");
    expect((await w.objects()).filter((object) => object.startsWith("certificate"))).toHaveLength(1);
  });

  test("a private key that is gone while its public key is there: refused, not made anew", async () => {
    const w = world();
    await w.applied();
    await inToken(w, (token) =>
      token.withSession({ user: "USER", pin: Pin.from("1234-user"), write: true }, async (session) => {
        await (await session.findOne({ CKA_CLASS: "CKO_PRIVATE_KEY" })).destroy();
      }),
    );
    expect((await refusal(w)).reason).toContain("its private key is not in the token");
  });
});

describe("the machine", () => {
  test.skipIf(process.getuid?.() !== 0)(
    "a disk that is full: the old file stays whole, and the next run writes the new one",
    async () => {
      const w = world(KEY.replace("k.pem", "small/k.pem"));
      mkdirSync(w.path("small"));
      const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=8k", "tmpfs", w.path("small")]);
      if (mounted.status !== 0) return expect(mounted.stderr.toString()).toContain("permission denied");
      onTestFinished(() => void spawnSync("umount", [w.path("small")]));
      w.write("small/filler", "x".repeat(8192));
      expect(await w.applied()).toEqual([
        expect.stringMatching(/^k failed: cannot write .*small\/k\.pem: the disk is full/),
      ]);
      w.write("small/filler", "");
      expect(await w.applied()).toEqual(["k done"]);
      expect(w.read("small/k.pem")).toContain("END CERTIFICATE");
    },
  );

  const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");
  const start = (w: World, ...words: string[]) => {
    const child = spawn(process.execPath, [COMMAND, ...words, "--state", w.path("state")], {
      cwd: w.folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.stdout.resume();
    return { child, done: once(child, "exit").then(([code]) => ({ code: code as number | null, said })) };
  };

  test("two applies at once: one does it, the other finds it done or its plan stale; nothing is doubled", async () => {
    const w = world(KEY + KEY.replaceAll("k:", "m:").replace("id: 1", "id: 2").replace("k.pem", "m.pem"));
    await Promise.all([start(w, "apply", "--yes").done, start(w, "apply", "--yes").done]).then((ends) => {
      const codes = ends.map(({ code }) => code).sort();
      expect(codes[0], ends.map(({ said }) => said).join("\n")).toBe(0);
      expect([0, 3]).toContain(codes[1]);
    });
    expect(await w.objects()).toHaveLength(6);
  });

  test("Ctrl-C at any point: the command ends soon, and the next apply completes the state", {
    timeout: 120_000,
  }, async () => {
    for (let i = 0; i < 8; i += 1) {
      const w = world(KEY.replace("EC:secp256r1", "RSA:3072"));
      const { child, done } = start(w, "apply", "--yes");
      await sleep(60 + i * 120);
      const began = Date.now();
      child.kill("SIGINT");
      const { code } = await done;
      expect(Date.now() - began).toBeLessThan(4000);
      // null: the signal came before the command had begun.
      expect([0, 130, null]).toContain(code);
      expect((await start(w, "apply", "--yes").done).code).toBe(0);
      expect(await w.objects()).toEqual(["certificate 01 k", "private 01 k", "public 01 k"]);
    }
  });
});
