/**
 * B1 to B19: what went wrong with nixPKCS, and here does not. Each test shows the situation, and that nothing is lost,
 * locked, leaked or doubled.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import type { Args, Cryptoki, FunctionName } from "../../src/cryptoki/port.ts";
import { FaultInjector } from "../../src/layers/faults.ts";
import { DeclarationError } from "../../src/lifecycle/declaration.ts";
import type { Step } from "../../src/lifecycle/plan/steps.ts";
import { CKU } from "../../src/spec/objects.ts";
import { readCertificates } from "../../src/x509/read.ts";
import { World } from "../support/world.ts";

const TOKEN = "{ module: softtoken, store: store/token.db, label: demo }";
const key = (name: string, id: number, more: string, about = "") =>
  `  ${name}: { token: demo, id: ${id}, type: EC:secp256r1${about}, certificate: { subject: CN=${name}, ${more} } }\n`;

function world(keys: string, token: string = TOKEN): World {
  const made = new World({ token, keys });
  onTestFinished(() => made.remove());
  return made;
}

/** Remembers every call of some functions. */
function recorder(...names: FunctionName[]): { layer: (inner: Cryptoki) => Cryptoki; calls: Args<FunctionName>[] } {
  const calls: Args<FunctionName>[] = [];
  return {
    calls,
    layer: (inner) => ({
      call: (fn, args) => {
        // Buffers are wiped after use: what is kept has to be a copy.
        if (names.includes(fn)) calls.push(structuredClone(args));
        return inner.call(fn, args);
      },
    }),
  };
}

const HOOK = '#!/bin/sh\ncat > "hook-$2.pem"\n[ "$2" != old ] || exit 7\n';

describe("nixPKCS's faults", () => {
  test("B1: a hook that returns 7 on `old` vetoes", async () => {
    const w = world(key("k", 1, "hook: ./hook"));
    w.write("hook", HOOK, 0o755);
    await w.applied();
    const before = await w.objects();
    expect(await w.applied({ rotate: ["k"] })).toEqual(["k failed: the hook hook of k (old) ended with exit code 7"]);
    expect(await w.objects()).toEqual(before);
  });

  test("B2: one failed read is not taken for absence, whatever retireOld says", async () => {
    const w = world(key("k", 1, "validity: 90d", ", retireOld: destroy"));
    await w.applied();
    const before = await w.observe();
    for (const fn of ["C_GetAttributeValue", "C_FindObjects", "C_FindObjectsInit"] as const) {
      for (let at = 0; at < 3; at += 1) {
        const injector = new FaultInjector({ at, when: "before", rv: "CKR_DEVICE_ERROR", only: [fn] });
        w.layer = injector.layer;
        const results = await w.applied();
        if (injector.fired !== undefined) expect(results).toEqual(["k refused"]);
      }
    }
    w.layer = undefined;
    expect((await w.observe()).tokens).toEqual(before.tokens);
  });

  test("B3: a wrong PIN costs one try however many keys there are, and the next run none", async () => {
    const w = world(key("a", 1, "validity: 90d") + key("b", 2, "validity: 90d", ", retireOld: destroy"));
    await w.applied();
    w.write("user.pin", "wrong\n");
    const logins = recorder("C_Login");
    w.layer = logins.layer;
    expect(await w.applied()).toEqual(["a refused", "b refused"]);
    expect(logins.calls).toHaveLength(1);
    for (let i = 0; i < 5; i += 1) await w.applied();
    expect(logins.calls).toHaveLength(1);
    // The right one is sent, and clears what is remembered.
    w.write("user.pin", "1234-user\n");
    expect(await w.applied()).toEqual(["a kept", "b kept"]);
    // Other wrong ones are sent while there are tries to spare, and the last try is never spent.
    for (let i = 0; i < 12; i += 1) {
      w.write("user.pin", `wrong-${i}\n`);
      expect(await w.applied()).toEqual(["a refused", "b refused"]);
    }
    // One PIN in 4096 looks like another one; the token itself tells how many tries are left.
    await w.forgetPins();
    w.write("user.pin", "1234-user\n");
    expect((await w.plan()).steps[0]).toMatchObject({ reason: expect.stringContaining("it would be the last try") });
    // That is a person's to spend.
    w.attended = true;
    expect(await w.applied()).toEqual(["a kept", "b kept"]);
  });

  test("B4: the SO PIN is never sent as the user's", async () => {
    const logins = recorder("C_Login");
    const w = world(key("k", 1, "validity: 90d"));
    w.layer = logins.layer;
    await w.applied();
    await w.applied({ rotate: ["k"] });
    const said = (logins.calls as Args<"C_Login">[]).map(
      ({ userType, pin }) => `${userType === CKU.CKU_SO[0] ? "SO" : "USER"} ${Buffer.from(pin ?? []).toString()}`,
    );
    expect(new Set(said)).toEqual(new Set(["SO so-12345678", "USER 1234-user"]));
    // Nor when somebody declares it in the place of the user PIN.
    w.write("user.pin", "so-12345678\n");
    const sent = logins.calls.length;
    expect((await w.plan()).steps[0]).toMatchObject({
      action: "refuse",
      pin: true,
      reason: expect.stringContaining("the same as its SO PIN"),
    });
    expect(logins.calls).toHaveLength(sent);
  });

  test("B5: six renewals leave one key under the identity, and the hook gets the new certificate each time", async () => {
    const w = world(
      key("k", 1, "validity: 90d, renewBefore: 30d, renewKey: true, hook: ./hook, publish: [{ path: k.pem }]"),
    );
    w.write("hook", "#!/bin/sh\ncat > hook.pem\n", 0o755);
    await w.applied();
    for (let i = 0; i < 6; i += 1) {
      w.now = new Date(w.now.getTime() + 61 * 86_400_000);
      await w.applied();
      expect(w.read("hook.pem")).toBe(w.read("k.pem"));
      expect(readCertificates(readFileSync(w.path("hook.pem")))[0]!.notBefore.getTime()).toBe(
        w.now.getTime() - 300_000,
      );
    }
    const objects = await w.objects();
    expect(objects.filter((object) => object.endsWith(" 01 k"))).toHaveLength(3);
    expect(new Set(objects).size).toBe(objects.length);
  });

  test("B6: retireOld: destroy destroys last; a failure in between leaves the old key, and the public key goes too", async () => {
    const w = world(key("k", 1, "validity: 90d", ", retireOld: destroy"));
    await w.applied();
    const before = await w.objects();
    const injector = new FaultInjector({ at: 0, when: "before", rv: "CKR_DEVICE_MEMORY", only: ["C_GenerateKeyPair"] });
    w.layer = injector.layer;
    expect(await w.applied({ rotate: ["k"] })).toEqual([expect.stringContaining("CKR_DEVICE_MEMORY")]);
    w.layer = undefined;
    expect(await w.objects()).toEqual(before);
    await w.applied({ rotate: ["k"] });
    await w.applied();
    expect(await w.objects()).toEqual(["certificate 01 k", "private 01 k", "public 01 k"]);
  });

  test("B7: a key that was made and not certified is certified, not doubled", async () => {
    const w = world(key("k", 1, "validity: 90d"));
    const injector = new FaultInjector({ at: 0, when: "before", rv: "CKR_DEVICE_ERROR", only: ["C_CreateObject"] });
    w.layer = injector.layer;
    await w.applied();
    w.layer = undefined;
    expect(await w.objects()).toEqual(["private 01 k", "public 01 k"]);
    expect(await w.steps()).toEqual(["adopt k"]);
    await w.applied();
    expect(await w.objects()).toEqual(["certificate 01 k", "private 01 k", "public 01 k"]);
  });

  test("B8: a missing token is seen although the module has others, and softFail covers it", async () => {
    const w = world(key("k", 1, "validity: 90d"));
    await w.applied();
    const other = (soft: string) =>
      w.write(
        "keys.yaml",
        `tokens: { demo: { module: softtoken, store: store/token.db, label: nope } }\nkeys:\n${key("k", 1, "validity: 90d", soft)}`,
      );
    other("");
    expect((await w.plan()).steps[0]).toMatchObject({
      action: "refuse",
      reason: expect.stringContaining("no token is pkcs11:token=nope"),
    });
    other(", softFail: true");
    expect(await w.applied()).toEqual(["k skipped"]);
  });

  test("B9: a token whose initialisation failed half-way is finished by the next run", async () => {
    const w = world(key("k", 1, "validity: 90d"));
    const injector = new FaultInjector({ at: 0, when: "before", rv: "CKR_DEVICE_ERROR", only: ["C_InitPIN"] });
    w.layer = injector.layer;
    await expect(w.applied()).rejects.toThrow("C_InitPIN");
    w.layer = undefined;
    expect(await w.applied()).toEqual(["k done"]);
  });

  test("B10, B11: PIN files are read and never written; a newline is no part of the PIN", async () => {
    const w = world(key("k", 1, "validity: 90d"));
    const before = ["user.pin", "so.pin"].map((name) => [
      w.read(name),
      statSync(w.path(name)).mtimeMs,
      statSync(w.path(name)).mode,
    ]);
    await w.applied();
    expect(
      ["user.pin", "so.pin"].map((name) => [w.read(name), statSync(w.path(name)).mtimeMs, statSync(w.path(name)).mode]),
    ).toEqual(before);
    w.write("user.pin", "1234-user", 0o600);
    expect(await w.applied()).toEqual(["k kept"]);
    w.write("user.pin", "1234-user\r\n", 0o600);
    expect(await w.applied()).toEqual(["k kept"]);
  });

  test("B12: no PIN is in a child's command line or environment", async () => {
    const w = world(key("k", 1, "hook: ./hook"));
    w.write(
      "hook",
      '#!/bin/sh\ntr "\\0" "\\n" < /proc/self/environ > seen\nfor p in $$ $PPID; do tr "\\0" " " < /proc/$p/cmdline >> seen; done\nenv >> seen\n',
      0o755,
    );
    process.env.KEYWRIGHT_TEST_SECRET = "1234-user";
    onTestFinished(() => {
      delete process.env.KEYWRIGHT_TEST_SECRET;
    });
    await w.applied();
    expect(w.read("seen")).toContain("KEYWRIGHT_KEY=k");
    expect(w.read("seen")).not.toContain("1234-user");
    expect(w.read("seen")).not.toContain("so-12345678");
  });

  test("B13: a hook's background process keeps nobody waiting", async () => {
    const w = world(key("k", 1, "hook: ./hook, publish: [{ path: k.pem }]"));
    w.write("hook", "#!/bin/sh\nsleep 20 &\n", 0o755);
    const began = Date.now();
    await w.applied();
    rmSync(w.path("k.pem"));
    await w.applied();
    expect(Date.now() - began).toBeLessThan(15_000);
    spawn("pkill", ["-f", "sleep 20"]);
  });

  test("B14: usage and extensions come as declared, and an id beyond 2^53 keeps every bit", async () => {
    const w = world(
      '  k: { token: demo, id: 9223372036854775807, type: EC:secp256r1, usage: [derive, sign], certificate: { subject: CN=k, extensions: [ "keyUsage=critical,digitalSignature" ] } }\n',
    );
    await w.applied();
    expect(await w.objects()).toEqual([
      "certificate 7fffffffffffffff k",
      "private 7fffffffffffffff k",
      "public 7fffffffffffffff k",
    ]);
    const seen = (await w.observe()).tokens.demo;
    if (seen?.state !== "present") throw new Error("not there");
    expect(seen.objects.find((object) => object.class === "private")?.flags).toMatchObject({
      CKA_SIGN: true,
      CKA_DERIVE: true,
    });
    expect(await w.steps()).toEqual(["keep k"]);
  });

  test("B15: a published file is whole or untouched, written only when it differs, and a failure is one", async () => {
    const w = world(key("k", 1, "publish: [{ path: out/k.pem }]"));
    // A file stands where the folder is to be: seen before anything is made.
    w.write("out", "");
    expect((await w.plan()).steps.at(-1)).toMatchObject({
      action: "refuse",
      reason: expect.stringMatching(/^out\/k\.pem cannot be written: .*a part of the path is not a folder/),
    });
    rmSync(w.path("out"));
    // It comes to stand there while the plan is carried out.
    const begin = (step: Step) => {
      if (step.action === "publish") w.write("out", "");
    };
    expect(await w.applied({ progress: { begin, end: () => undefined } })).toEqual([
      expect.stringMatching(/^k failed: cannot make the folder .*out: .*not a folder/),
    ]);
    rmSync(w.path("out"));
    w.write("out/other", "");
    await w.applied();
    const { mtimeMs } = statSync(w.path("out/k.pem"));
    await w.applied();
    expect(statSync(w.path("out/k.pem")).mtimeMs).toBe(mtimeMs);
    expect(readdirSync(w.path("out")).sort()).toEqual(["k.pem", "other"]);
  });

  test("B16: an unknown usage, a section that does not exist and a field of the wrong place are errors", async () => {
    for (const [keys, fault] of [
      ["  k: { token: demo, id: 1, type: Ed25519, usage: [encrypt] }\n", "a usage is one of"],
      [key("k", 1, "extensions: [v3_ca, v3_other]"), '"v3_other" is not an extension'],
      ["  k: { token: demo, id: 1, type: Ed25519, loginAsUser: true }\n", 'no field "loginAsUser"'],
    ] as const) {
      const error = await world(keys)
        .declaration()
        .catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(DeclarationError);
      expect(String((error as DeclarationError).message)).toContain(fault);
    }
  });

  test("B17: a hook may lie where its caller can write", async () => {
    const w = world(key("k", 1, "hook: ./hook"));
    w.write("hook", "#!/bin/sh\n: > ran\n", 0o777);
    expect(await w.applied()).toEqual(["k done"]);
    expect(existsSync(w.path("ran"))).toBe(true);
  });

  test("B18: Ed25519 signs its own certificate, X25519 gets one from an issuer, RSA signs with PSS", async () => {
    const w = world(
      "  ca: { token: demo, id: 1, type: Ed25519, certificate: { subject: CN=ca, validity: 10y, extensions: [v3_ca] } }\n" +
        "  dh: { token: demo, id: 2, type: X25519, certificate: { subject: CN=dh, issuer: ca } }\n" +
        "  pss: { token: demo, id: 3, type: RSA:2048, certificate: { subject: CN=pss, pss: true, digest: SHA-512 } }\n",
    );
    expect(await w.applied()).toEqual(["ca done", "dh done", "pss done"]);
    expect(await w.steps()).toEqual(["keep ca", "keep dh", "keep pss"]);
  });

  test("B19: renewing keeps the key unless renewKey is declared", async () => {
    const w = world(key("k", 1, "validity: 90d, renewBefore: 30d, publish: [{ path: k.pem }]"));
    await w.applied();
    const before = readCertificates(readFileSync(w.path("k.pem")))[0]!;
    w.now = new Date("2027-02-01T00:00:00Z");
    await w.applied();
    const renewed = readCertificates(readFileSync(w.path("k.pem")))[0]!;
    expect(renewed.serial).not.toBe(before.serial);
    expect(Buffer.compare(renewed.spki, before.spki)).toBe(0);
  });
});

test("an error of the port is told with its function, its return value and what to do", () => {
  const error = new CryptokiError("C_Login", "CKR_PIN_LOCKED", "token demo");
  expect(error.message).toBe("C_Login: CKR_PIN_LOCKED, the PIN is locked: token demo");
  expect(error.hints).toEqual(["unlock it with the SO PIN: keywright pin unblock"]);
});
