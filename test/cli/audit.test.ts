/** `keywright audit verify`, over a log whose checkpoints a key in the built-in token signed. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { checkpointSigner } from "../../src/cli/checkpoints.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import { openModule } from "../../src/index.ts";
import { AuditLog, type Witnessed } from "../../src/layers/audit/log.ts";

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");

async function bench(type: string) {
  const folder = mkdtempSync(join(tmpdir(), "keywright-audit-cli-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "user.pin"), "1234-user", { mode: 0o600 });
  writeFileSync(join(folder, "so.pin"), "so-12345678", { mode: 0o600 });
  const store = ["--store", "demo.db", "--state", "state"];
  const run = (...words: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...words, "--state", "state"], {
      cwd: folder,
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };
  const words = (...all: string[]) => execFileSync(process.execPath, [COMMAND, ...all, ...store], { cwd: folder });
  words("token", "init", "--label", "demo", "--so-pin", "file:so.pin", "--pin", "file:user.pin");
  words("key", "generate", "--type", type, "--id", "9", "--label", "audit", "--pin", "file:user.pin");
  words("key", "export", "pkcs11:object=audit", "--out", "audit.pem");
  const path = join(folder, "audit.jsonl");
  const told: Witnessed[] = [];
  const module = await openModule("softtoken", { store: join(folder, "demo.db") });
  const token = await module.onlyToken();
  await token.withSession({ user: "USER", pin: Pin.from("1234-user") }, async (session) => {
    const key = await session.findOne({ CKA_LABEL: "audit", CKA_CLASS: "CKO_PRIVATE_KEY" });
    const signer = await checkpointSigner(session, key);
    const log = await AuditLog.open({ path, signer, checkpointEvery: 2, witness: (one) => void told.push(one) });
    for (let i = 0; i < 3; i += 1) {
      await log.append({ type: "use", client: {}, function: "C_Sign", keys: [], result: "CKR_OK", ms: 1 });
    }
    await log.close();
  });
  await module.close();
  return { folder, path, told, run };
}

test.each(["EC:P-256", "Ed25519", "RSA:2048"])(
  "a log of a key of type %s is proven by file, URI and witness",
  async (type) => {
    const { run, told } = await bench(type);
    const proven = /^proven: lines 1 to 6 are as they were written, by the signature of 20/m;
    const byFile = run("audit", "verify", "audit.jsonl", "--key", "audit.pem");
    expect([byFile.status, byFile.stderr]).toEqual([0, ""]);
    expect(byFile.stdout).toMatch(proven);
    const byUri = run(
      "audit",
      "verify",
      "audit.jsonl",
      "--key",
      "pkcs11:token=demo;object=audit",
      "--store",
      "demo.db",
    );
    expect([byUri.status, byUri.stderr]).toEqual([0, ""]);
    expect(byUri.stdout).toMatch(proven);
    const { n, hash } = told.at(-1)!;
    expect(run("audit", "verify", "audit.jsonl", "--witness", `${n}:${hash}`).stdout).toContain(
      "proven: lines 1 to 6 are as they were written, by a witness",
    );
  },
);

test("what is changed, cut off, of another key or without any is told as what it is", async () => {
  const { run, path, told, folder } = await bench("EC:P-256");
  const without = run("audit", "verify", "audit.jsonl");
  expect([without.status, without.stdout]).toEqual([
    0,
    expect.stringContaining("proven: nothing; neither a key nor a witness was given; the chain holds together, but"),
  ]);
  const text = readFileSync(path, "utf8");
  writeFileSync(path, text.replace('"ms":1', '"ms":2'));
  const changed = run("audit", "verify", "audit.jsonl", "--key", "audit.pem");
  expect(changed.status).toBe(1);
  expect(changed.stdout).toContain("fault: audit.jsonl:3: line 3 does not follow the line before it (2)");
  expect(changed.stdout).toMatch(/^proven: lines 3 to 6 are/m);
  writeFileSync(path, `${text.split("\n").slice(0, 4).join("\n")}\n`);
  const cut = run("audit", "verify", "audit.jsonl", "--key", "audit.pem");
  expect([cut.status, cut.stdout]).toEqual([
    0,
    expect.stringContaining("not proven: that nothing came after line 4; a later checkpoint at a witness would tell"),
  ]);
  const { n, hash } = told.at(-1)!;
  expect(run("audit", "verify", "audit.jsonl", "--witness", `${n}:${hash}`)).toMatchObject({
    status: 1,
    stdout: expect.stringContaining("line 6, which a witness was told of, is not there: the log was cut off"),
  });
  execFileSync("openssl", ["genpkey", "-algorithm", "ed25519", "-out", "other.key"], { cwd: folder });
  execFileSync("openssl", ["pkey", "-in", "other.key", "-pubout", "-out", "other.pem"], { cwd: folder });
  const other = run("audit", "verify", "audit.jsonl", "--key", "other.pem");
  expect([other.status, other.stdout]).toEqual([1, expect.stringContaining("is not by the key that was given")]);
  expect(run("audit", "verify", "audit.jsonl", "--key", "user.pin")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("user.pin holds no public key"),
  });
  expect(run("audit", "verify", "audit.jsonl", "--witness", "7").status).toBe(64);
});
