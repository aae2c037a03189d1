import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { tokenValue, tokenView } from "../../src/cli/views/token.ts";
import { openProvider } from "../../src/modules/index.ts";
import { peer } from "../support/peers.ts";
import { type Tpm2, tpm2 } from "../support/tpm2.ts";
import { World } from "../support/world.ts";
import { lifecycle } from "./suite.ts";

const same = (text: string) => text;
const PLAIN = { cell: same, bold: same, dim: same, red: same, green: same, yellow: same };

const declared = (tpm: Tpm2, label: string) =>
  `{ module: ${tpm.path}, label: ${label}, store: ${tpm.store}, environment: { TPM2_PKCS11_TCTI: "${tpm.tcti}" } }`;

describe.skipIf(!peer("tpm2") || !peer("swtpm") || !peer("openssl"))("with a store", () => {
  let tpm: Tpm2;
  let tokens = 0;
  beforeAll(async () => {
    tpm = await tpm2();
  });
  afterAll(() => tpm.remove());

  function world(keys: string): World {
    const made = new World({ token: declared(tpm, `token-${++tokens}`), keys });
    onTestFinished(() => made.remove());
    return made;
  }

  lifecycle({ name: "tpm2-pkcs11", declare: () => declared(tpm, `token-${++tokens}`) });

  test("RSA keys sign, though the library refuses templates that leave out a usage by name", async () => {
    const w = world("  rsa: { token: demo, id: 1, type: RSA:2048, certificate: { subject: CN=rsa } }\n");
    expect(await w.applied()).toEqual(["rsa done"]);
    expect(await w.steps()).toEqual(["keep rsa"]);
  });

  test("more keys than a TPM holds at once are made, used and destroyed in one run", async () => {
    const key = (name: string, id: number, more: string) =>
      `  ${name}: { token: demo, id: ${id}, type: EC:secp256r1, retireOld: destroy, certificate: { subject: CN=${name}, ${more} } }\n`;
    const names = ["a", "b", "c", "d"];
    const w = world(key("ca", 9, "extensions: [v3_ca]") + names.map((n, i) => key(n, i + 1, "issuer: ca")).join(""));
    expect(await w.applied()).toEqual(["ca done", ...names.map((name) => `${name} done`)]);
    expect(await w.applied({ rotate: names })).toEqual(["ca kept", ...names.map((name) => `${name} done`)]);
    expect(await w.objects()).toHaveLength(3 * 5);
    expect(await w.steps()).toEqual(["keep ca", ...names.map((name) => `keep ${name}`)]);
  });

  test("what a TPM cannot do is refused before it is tried, and what it can is said", async () => {
    const w = world(
      [
        "  big: { token: demo, id: 1, type: EC:secp521r1 }",
        "  ed: { token: demo, id: 2, type: Ed25519 }",
        "  dh: { token: demo, id: 3, type: EC:secp256r1, usage: [sign, derive] }\n",
      ].join("\n"),
    );
    const can = ["it can make: RSA:2048 to RSA:3072, EC:secp256r1, EC:secp384r1"];
    expect((await w.plan()).steps.slice(1)).toMatchObject([
      { action: "refuse", reason: "the token cannot make a key of type EC:secp521r1", hints: can },
      { action: "refuse", reason: "the token cannot make a key of type Ed25519", hints: can },
      {
        action: "refuse",
        reason: "tpm2-pkcs11 cannot make a key that can derive",
        hints: ["its keys can: sign, decrypt"],
      },
    ]);
  });

  test("a wrong PIN costs one try, and both refusals say that all tokens of the TPM share them", async () => {
    const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n");
    await w.applied();
    const sent: string[] = [];
    w.layer = (inner) => ({
      call(fn, args) {
        if (fn === "C_Login") sent.push(fn);
        return inner.call(fn, args);
      },
    });
    const shared = [expect.stringContaining("all tokens of one TPM share its lock-out counter")];
    for (const [pin, said] of [
      ["wrong", "CKR_PIN_INCORRECT, the PIN does not match: the user PIN of token-"],
      ["wrong", "not sent: token-"],
      ["1234-user", "how many tries are left is not known"],
    ] as const) {
      w.write("user.pin", `${pin}\n`, 0o600);
      expect((await w.plan()).steps[0]).toMatchObject({
        action: "refuse",
        pin: true,
        reason: expect.stringContaining(said),
        hints: expect.arrayContaining(shared),
      });
    }
    expect(sent).toHaveLength(1);
    w.attended = true;
    expect(await w.steps()).toEqual(["keep a"]);
    const { demo } = (await w.declaration()).tokens;
    const module = await w.surroundings().open(demo!);
    const [token] = await module.tokens();
    const shown = tokenView.human(tokenValue(token!, demo!.module), PLAIN);
    await module.close();
    expect(shown).toMatch(/^PIN tries +all tokens of one TPM share/m);
  });

  test("a token whose user PIN was never set is given one by the next run", async () => {
    const w = world("  a: { token: demo, id: 1, type: EC:secp256r1 }\n");
    w.layer = (inner) => ({
      call(fn, args) {
        if (fn === "C_InitPIN") throw new Error("the machine stopped");
        return inner.call(fn, args);
      },
    });
    await expect(w.applied()).rejects.toThrow("the machine stopped");
    w.layer = undefined;
    expect(await w.steps()).toEqual(["initialise demo", "generate a"]);
    expect(await w.applied()).toEqual(["a done"]);
  });
});

test.skipIf(!peer("tpm2") || !peer("swtpm"))(
  "processes that die without closing the module leave their sessions in the TPM: the error says so",
  async () => {
    const tpm = await tpm2();
    onTestFinished(() => tpm.remove());
    const w = new World({ token: declared(tpm, "demo"), keys: "  a: { token: demo, id: 1, type: EC:secp256r1 }\n" });
    onTestFinished(() => w.remove());
    await w.applied();
    const environment = { ...tpm.environment, TPM2_PKCS11_STORE: tpm.store };
    for (let i = 0; i < 3; i += 1) {
      const before = children();
      const provider = openProvider({ module: tpm.path, environment, placement: "process" });
      const p11 = await provider.open();
      await p11.call("C_Initialize", { args: {} });
      const { session } = await p11.call("C_OpenSession", { slot: 1, flags: 6 });
      await p11.call("C_Login", { session, userType: 1, pin: Buffer.from("1234-user") });
      for (const pid of children().filter((child) => !before.includes(child))) process.kill(pid, "SIGKILL");
      await provider.close();
    }
    expect((await w.plan()).steps).toMatchObject([
      {
        action: "refuse",
        reason: expect.stringContaining("CKR_GENERAL_ERROR"),
        hints: expect.arrayContaining([expect.stringContaining("tpm2_flushcontext")]),
        pin: false,
      },
    ]);
  },
);

/** The processes that this one has started. */
function children(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => parentOf(pid) === process.pid)
    .map(Number);
}

function parentOf(pid: string): number | undefined {
  try {
    // The second field, the program's name, is in parentheses and may hold anything.
    return Number(readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\)/s, "").trim().split(" ")[1]);
  } catch {
    return undefined;
  }
}
