/** Where results go: files that are there, files that are new, and what is no file. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { publicKeySsh, X509Error } from "../../src/doors/x509.ts";
import { TranscriptFolder } from "../support/transcript.ts";

const FILES = [
  { name: "user.pin", mode: 0o600, text: "1234-user\n" },
  { name: "so.pin", mode: 0o600, text: "so-12345678\n" },
];
const NOBODY = 65534;
const isRoot = process.geteuid?.() === 0;

let folder: TranscriptFolder;
const at = (name: string) => join(folder.path, name);
const bits = (name: string) => (statSync(at(name)).mode & 0o7777).toString(8);

beforeAll(() => {
  folder = new TranscriptFolder(FILES);
  const { code } = folder.run(
    "keywright token init --label demo --so-pin file:so.pin --pin file:user.pin && keywright key generate --pin file:user.pin --type EC:P-256 --id 1 --label k",
  );
  expect(code).toBe(0);
  return () => folder.remove();
});

describe("--out", () => {
  test("a new file obeys the umask; random bytes are for their owner alone", () => {
    const sign = "keywright sign pkcs11:object=k --pin file:user.pin --in user.pin";
    expect(folder.run(`umask 077; ${sign} --out private.sig`)).toEqual({ out: "", err: "", code: 0 });
    expect(folder.run(`umask 022; ${sign} --out public.sig`).code).toBe(0);
    expect(folder.run("umask 0; keywright random --bytes 8 --out r").code).toBe(0);
    expect([bits("private.sig"), bits("public.sig"), bits("r")]).toEqual(["600", "644", "600"]);
    expect(readFileSync(at("r"))).toHaveLength(8);
    expect(folder.run("ls -A | grep tmp").out).toBe("");
  });

  test("a file that is there keeps its mode, and its other name", () => {
    writeFileSync(at("old"), "longer than what comes");
    chmodSync(at("old"), 0o640);
    expect(folder.run("keywright random --bytes 8 --out old").code).toBe(0);
    expect(bits("old")).toBe("640");
    expect(readFileSync(at("old"))).toHaveLength(8);
    linkSync(at("old"), at("twin"));
    expect(folder.run("keywright random --bytes 4 --out old").code).toBe(0);
    expect(readFileSync(at("twin"))).toHaveLength(4);
  });

  test.skipIf(!isRoot)("a file of another user stays that user's", () => {
    writeFileSync(at("theirs"), "x", { mode: 0o600 });
    chownSync(at("theirs"), NOBODY, NOBODY);
    expect(folder.run("keywright random --bytes 4 --out theirs").code).toBe(0);
    const { uid, gid, size } = statSync(at("theirs"));
    expect({ uid, gid, size, mode: bits("theirs") }).toEqual({ uid: NOBODY, gid: NOBODY, size: 4, mode: "600" });
  });

  test("a symbolic link is followed, also one that leads to no file yet", () => {
    mkdirSync(at("elsewhere"));
    symlinkSync("elsewhere/file", at("link"));
    for (const length of [4, 8]) {
      expect(folder.run(`keywright random --bytes ${length} --out link`).code).toBe(0);
      expect(lstatSync(at("link")).isSymbolicLink()).toBe(true);
      expect(readFileSync(at("elsewhere/file"))).toHaveLength(length);
    }
    expect(bits("elsewhere/file")).toBe("600");
  });

  test("a FIFO gets the bytes, and stays one; waiting for its reader is ended by Ctrl-C", async () => {
    expect(folder.run("mkfifo pipe && (cat pipe > read & keywright random --bytes 8 --out pipe; wait)").code).toBe(0);
    expect(lstatSync(at("pipe")).isFIFO()).toBe(true);
    expect(readFileSync(at("read"))).toHaveLength(8);
    const store = join(folder.path, ".state");
    const waiting = spawn(at(".bin/keywright"), ["random", "--state", store, "--out", at("pipe"), "--debug"], {
      env: { ...process.env, KEYWRIGHT_LOCKS: at(".locks") },
    });
    onTestFinished(() => void waiting.kill("SIGKILL"));
    for await (const chunk of waiting.stderr) if (String(chunk).includes("C_GenerateRandom")) break;
    waiting.kill("SIGINT");
    const [code] = (await once(waiting, "exit")) as [number];
    expect(code).toBe(130);
  });

  test.skipIf(!isRoot)("a device gets the bytes, and stays one", (context) => {
    // As /dev/null is, in a folder of our own.
    if (spawnSync("mknod", [at("null"), "c", "1", "3"]).status !== 0) context.skip();
    expect(folder.run("keywright random --bytes 4 --out null")).toEqual({ out: "", err: "", code: 0 });
    expect(lstatSync(at("null")).isCharacterDevice()).toBe(true);
    expect(statSync(at("null")).rdev).toBe(0x103);
  });

  test("a folder, or a file in a folder that is not there, is told", () => {
    mkdirSync(at("there"), { recursive: true });
    expect(folder.run("keywright random --out there")).toMatchObject({
      code: 1,
      err: "keywright: error: cannot write there: it is a folder (EISDIR)\n",
    });
    expect(folder.run("keywright random --out nowhere/file")).toMatchObject({
      code: 1,
      err: "keywright: error: cannot write nowhere/file: it does not exist (ENOENT)\n",
    });
  });
});

describe("a label with line ends and escape sequences", () => {
  const label = "a\nssh-ed25519 AAAA x\u001b[2J";

  test("is one comment in authorized_keys, and one text in a JWK", () => {
    const made = folder.run(
      `keywright key generate --pin file:user.pin --type Ed25519 --id 2 --label "$(printf 'a\\nssh-ed25519 AAAA x\\033[2J')"`,
    );
    expect(made.code).toBe(0);
    const { out, code } = folder.run("keywright key export 'pkcs11:id=%02' --format ssh");
    expect(code).toBe(0);
    expect(out).toMatch(/^ssh-ed25519 AAAA\S+ a\\u000assh-ed25519 AAAA x\\u001b\[2J\n$/);
    const jwk = folder.run("keywright key export 'pkcs11:id=%02' --format jwk").out;
    expect(JSON.parse(jwk)).toMatchObject({ crv: "Ed25519", kid: label });
  });

  test("is refused by the library", () => {
    const spki = folder.run("keywright key export 'pkcs11:id=%02' --format der | base64 -w0").out;
    for (const comment of [label, "a\rb", "a\u0085b"]) {
      expect(() => publicKeySsh(Buffer.from(spki, "base64"), comment)).toThrow(X509Error);
    }
  });
});

test("token backup makes no folder: where a disk is not mounted, nothing is written", () => {
  const { err, code } = folder.run("keywright token backup media/usb/tokens.db");
  expect(code).toBe(1);
  expect(err).toBe(
    "keywright: error: ~/media/usb/tokens.db: there is no folder ~/media/usb\n" +
      "keywright: hint: make it, or mount what is to take the backup\n",
  );
  expect(existsSync(at("media"))).toBe(false);
});

test("--debug tells every call and its return value, and no PIN", () => {
  writeFileSync(at("wrong.pin"), "5678-wrong\n", { mode: 0o600 });
  const { err, code } = folder.run("keywright key list --pin file:wrong.pin --debug");
  expect(code).toBe(4);
  expect(err).toContain("keywright: debug: C_OpenSession: CKR_OK\n");
  expect(err).toContain("keywright: debug: C_Login: CKR_PIN_INCORRECT\n");
  expect(err).not.toContain("5678");
  expect(folder.run("keywright token show --debug").err).toContain("C_GetTokenInfo: CKR_OK");
});
