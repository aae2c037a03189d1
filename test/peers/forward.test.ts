/** keywright forward, through OpenSSH's own server, to programs on the other side. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { peer } from "../support/peers.ts";
import { CLIENT, type Programs, type Running, rsaAndEc, USER_PIN } from "../support/programs.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";

const isHere = peer("sshd") && peer("ssh-keygen") && peer("opensc") && peer("p11-kit-client");

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");

describe.skipIf(!isHere)("keywright forward", () => {
  let programs: Programs;
  let sshd: Sshd;
  let forwards: Running[] = [];
  /** Where p11-kit's client looks on the other side. */
  let socket: string;
  beforeAll(async () => {
    programs = await rsaAndEc();
    mkdirSync(programs.path("far"), { mode: 0o700 });
    socket = programs.path("far/p11-kit/pkcs11");
    sshd = await startSshd(programs, `SetEnv XDG_RUNTIME_DIR=${programs.path("far")}`);
    await programs.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "id"]);
    sshd.authorise(programs.read("id.pub"));
    // Who is asked says yes, unless there is a no, and keeps the question.
    const [asked, no] = [programs.path("asked"), programs.path("no")];
    programs.write("confirm", `#!/bin/sh\necho "$KEYWRIGHT_QUESTION" >> ${asked}\ntest ! -e ${no}\n`, 0o700);
  });
  afterEach(async () => {
    for (const running of forwards) if (running.isRunning) await running.stop();
    forwards = [];
  });
  afterAll(() => programs.end());

  /** ssh's words for the connection itself, which no key of the token makes. */
  const words = () => [...sshd.words, "-i", programs.path("id")];
  function start(token: string, ...more: string[]): Running {
    const running = programs.keywright([
      ...["forward", sshd.destination, "--verbose", "--token", token, ...more],
      ...words().map((word) => `--ssh=${word}`),
    ]);
    forwards.push(running);
    return running;
  }
  async function forward(token = "demo", ...more: string[]): Promise<Running> {
    const running = start(token, "--confirm-command", programs.path("confirm"), ...more);
    await running.until(() => /tokens are served on .*\n.*\n/.test(running.said));
    return running;
  }
  /** Runs a line of shell on the other side. */
  const there = (line: string) => programs.run(["ssh", ...words(), sshd.destination, line]);
  /** Leaves a socket that nobody listens at. */
  async function leaveDead(path: string): Promise<void> {
    const code = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("there"))`;
    const dead = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
    await once(dead.stdout, "data");
    dead.kill("SIGKILL");
    await once(dead, "exit");
  }
  /** The ssh that a command has the connection by. */
  function connectionOf({ pid }: Running): number {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number);
    return children.find((child) => readFileSync(`/proc/${child}/comm`, "utf8") === "ssh\n")!;
  }

  test("programs on the other side find the token, and need no PIN", async () => {
    const running = await forward();
    expect(running.said).toBe(
      `keywright: tokens are served on ${sshd.destination} at ${socket}\n` +
        "keywright: programs there that load p11-kit-client.so find them\n",
    );
    programs.write("data", "what is signed\n");
    const tool = `pkcs11-tool --module ${CLIENT} --login`;
    expect((await there(`${tool} --list-objects`)).out.match(/label: +\w+/g)).toHaveLength(6);
    const folder = programs.folder;
    await there(`${tool} --sign --id 01 --mechanism SHA256-RSA-PKCS -i ${folder}/data -o ${folder}/sig`);
    const { out: key } = await programs.run(["openssl", "x509", "-in", "rsa.pem", "-noout", "-pubkey"]);
    programs.write("rsa.pub", key);
    const verified = await programs.run([
      "openssl",
      "dgst",
      "-sha256",
      "-verify",
      "rsa.pub",
      "-signature",
      "sig",
      "data",
    ]);
    expect(verified.out).toBe("Verified OK\n");

    const { said } = await there(`PIN=${USER_PIN} ${tool} --pin env:PIN --list-objects`);
    expect(said).toMatch(/C_Login failed: rv = .*\(0x200\)/);
    expect(running.said).toContain("a PIN was sent, which went nowhere");
  });

  test("ssh there goes on with a key that is here", async () => {
    await forward();
    const keys = (await there(`ssh-keygen -D ${CLIENT}`)).out;
    sshd.authorise(programs.read("id.pub") + keys);
    const before = sshd.server.said.length;
    const again = ["ssh", "-o", "IdentityFile=none", ...sshd.words, "-I", CLIENT, sshd.destination];
    expect((await there(`${again.join(" ")} echo further`)).out).toBe("further\n");
    expect(sshd.server.said.slice(before)).toMatch(/ssh2: ED25519[\s\S]*ssh2: RSA/);
  });

  test("somebody here is asked before a key is used there, and a no is a refusal", async () => {
    const running = await forward("ec");
    programs.write("asked", "");
    programs.write("digest", "0123456789abcdef0123456789abcdef");
    const sign = `pkcs11-tool --module ${CLIENT} --login --sign --id 02 --mechanism ECDSA -i ${programs.folder}/digest`;
    expect((await there(`${sign} | wc -c`)).out).toBe("64\n");
    expect(programs.read("asked")).toMatch(/^[^\n]*sign[^\n]*ec[^\n]*\n$/i);
    programs.write("no", "");
    try {
      expect((await there(sign)).said).toMatch(/C_Sign(Init)? failed: rv = .*\(0x200\)/);
    } finally {
      rmSync(programs.path("no"));
    }
    expect(programs.read("asked").match(/\n/g)).toHaveLength(2);
    await running.stop();
    const [log] = readdirSync(programs.path("state/audit"));
    const lines = programs
      .read(`state/audit/${log}`)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const uses = lines
      .filter(({ mechanism }) => mechanism === "CKM_ECDSA")
      .map(({ type, keys }) => [type, keys[0].label]);
    expect(new Set(uses.map(String))).toEqual(new Set(["use,ec", "refusal,ec"]));
  });

  test("where a key is named, nothing else is there", async () => {
    await forward("ec");
    const { out } = await there(`pkcs11-tool --module ${CLIENT} --login --list-objects`);
    expect(out.match(/label: +\w+/g)!.map((line) => line.replace(/.* /, ""))).toEqual(["ec", "ec", "ec"]);
    const made = `pkcs11-tool --module ${CLIENT} --login --keypairgen --key-type EC:secp256r1 --id 09`;
    expect((await there(made)).said).toMatch(/C_GenerateKeyPair failed: rv = .*\(0x1b\)/);
  });

  test("with nobody who could be asked, it does not begin", async () => {
    const { code, err } = await start("demo").end();
    expect([code, err.split("\n")[0]]).toEqual([64, "keywright: error: nobody can be asked here before a key is used"]);
    expect(existsSync(socket)).toBe(false);
  });

  test("after SIGTERM there is no socket left, here or there", async () => {
    const running = await forward();
    expect(lstatSync(socket).isSocket()).toBe(true);
    expect((lstatSync(socket).mode & 0o777).toString(8)).toBe("600");
    expect(readdirSync(programs.path("run"), { recursive: true })).toContainEqual(expect.stringMatching(/\/pkcs11$/));
    expect((await running.stop()).code).toBe(143);
    expect(readdirSync(programs.path("far/p11-kit"))).toEqual([]);
    expect(readdirSync(programs.path("run"))).toEqual([]);
  });

  test("a socket that a dead server left there is replaced", async () => {
    mkdirSync(programs.path("far/p11-kit"), { recursive: true, mode: 0o700 });
    await leaveDead(socket);
    expect(existsSync(socket)).toBe(true);
    await forward();
    expect((await there(`pkcs11-tool --module ${CLIENT} --list-slots`)).out).toMatch(/token label +: demo\n/);
  });

  test("a live one is refused, and goes on", async () => {
    await forward();
    const { code, err } = await start("demo", "--no-confirm", "--no-audit").end();
    expect([code, err]).toEqual([
      1,
      `keywright: error: another server listens on ${sshd.destination} at ${socket}\n` +
        "keywright: hint: end it there, or name another path with --remote-socket\n",
    ]);
    expect((await there(`pkcs11-tool --module ${CLIENT} --list-slots`)).out).toMatch(/token label +: demo\n/);
  });

  test("at a path that is named, the variable to set there is told", async () => {
    const path = programs.path("far/named");
    const running = await forward("demo", "--remote-socket", path);
    const line = /for programs there: (.*)\n/.exec(running.said)![1]!;
    expect(line).toBe(`P11_KIT_SERVER_ADDRESS='unix:path=${path}'; export P11_KIT_SERVER_ADDRESS;`);
    expect((await there(`${line} pkcs11-tool --module ${CLIENT} --list-slots`)).out).toMatch(/token label +: demo\n/);
    await running.stop();
    expect(existsSync(path)).toBe(false);
  });

  describe.skipIf(!peer("expect"))("at a terminal", () => {
    /** Plays a person to whom ssh is to ask for a passphrase; the words are expect's. */
    async function play(...dialogue: string[]): Promise<{ out: string; before: string; after: string; code: string }> {
      await programs.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", "locked"], { input: "y\n" });
      sshd.authorise(programs.read("id.pub") + programs.read("locked.pub"));
      const ssh = [...sshd.words, "-i", "locked"].map((word) => `--ssh=${word}`).join(" ");
      const command = `${process.execPath} ${COMMAND} forward ${sshd.destination} --token demo --no-confirm ${ssh}`;
      programs.write(
        "around",
        `trap : INT\nstty -a > before\n${command} --state ${programs.state}\necho $? > code\nstty -a > after\n`,
      );
      const script = ["set timeout 20", "spawn -noecho sh around", ...dialogue, "expect eof"].join("\n");
      const { out } = await programs.run(["expect", "-"], { input: script });
      return { out, before: programs.read("before"), after: programs.read("after"), code: programs.read("code") };
    }
    const CTRL_C = 'send -- "\\003"';

    test("ssh asks, and after Ctrl-C there is no socket left, and no word of a new connection", async () => {
      const { out, before, after, code } = await play(
        'expect -ex "Enter passphrase for key"',
        'send -- "a passphrase\\r"',
        'expect -ex "p11-kit-client.so find them"',
        CTRL_C,
      );
      expect(out).toContain("find them");
      expect([code, out.match(/connect|error/g)]).toEqual(["130\n", null]);
      expect(after).toBe(before);
      expect(readdirSync(programs.path("far/p11-kit"))).toEqual([]);
      expect(readdirSync(programs.path("run"))).toEqual([]);
    });

    test("Ctrl-C where ssh asks ends the command, and leaves the terminal as it was", async () => {
      const { out, before, after, code } = await play('expect -ex "Enter passphrase for key"', CTRL_C);
      expect(out).toContain("Enter passphrase");
      expect([code, out.match(/connect|error/g)]).toEqual(["130\n", null]);
      expect(after).toBe(before);
      expect(readdirSync(programs.path("run"))).toEqual([]);
    });
  });

  test("a connection that is killed is made again, and is as good", async () => {
    const running = await forward();
    process.kill(connectionOf(running), "SIGKILL");
    await running.until(() => running.said.includes(`connected to ${sshd.destination} again\n`));
    expect((await there(`pkcs11-tool --module ${CLIENT} --list-slots`)).out).toMatch(/token label +: demo\n/);
    await running.stop();
    expect(readdirSync(programs.path("far/p11-kit"))).toEqual([]);
  });

  test("ended while there is no connection, it leaves no socket either", async () => {
    const running = await forward();
    process.kill(connectionOf(running), "SIGKILL");
    await running.until(() => running.said.includes("connecting again in"));
    expect(existsSync(socket)).toBe(true);
    expect((await running.stop()).code).toBe(143);
    expect(readdirSync(programs.path("far/p11-kit"))).toEqual([]);
  });

  test("the connection ends with a command that is killed", async () => {
    const running = await forward();
    const connection = connectionOf(running);
    await running.stop("SIGKILL");
    await sshd.server.until(() => !existsSync(`/proc/${connection}`));
    for (const left of readdirSync(programs.path("run"))) rmSync(programs.path(`run/${left}`), { recursive: true });
    await forward();
  });

  test("ssh stays in the foreground, whatever ControlPersist says", async () => {
    const running = await forward("demo", "--ssh=-oControlPersist=10m");
    expect((await there(`pkcs11-tool --module ${CLIENT} --list-slots`)).out).toMatch(/token label +: demo\n/);
    expect(running.said).not.toContain("ended");
    expect((await running.stop()).code).toBe(143);
    expect(existsSync(socket)).toBe(false);
  });

  test("a path with odd characters is taken as it is", async () => {
    const path = programs.path("far/a b'\"%h+:\\$x[1]*é");
    const running = await forward("demo", "--remote-socket", path);
    expect(readdirSync(programs.path("far"))).toContain("a b'\"%h+:\\$x[1]*é");
    const line = /for programs there: (.*)\n/.exec(running.said)![1]!;
    expect((await there(`${line} pkcs11-tool --module ${CLIENT} --list-slots`)).out).toMatch(/token label +: demo\n/);
    const second = await start("demo", "--no-confirm", "--no-audit", "--remote-socket", path).end();
    expect(second.err).toContain(`another server listens on ${sshd.destination} at ${path}\n`);
    await running.stop();
    expect(existsSync(path)).toBe(false);
  });

  test("a live socket is no other one whose path is like it", async () => {
    await forward("demo", "--no-audit", "--remote-socket", programs.path("far/likely"));
    const path = programs.path("far/like.y");
    await leaveDead(path);
    await forward("demo", "--no-audit", "--remote-socket", path);
  });

  test.each([
    ["a\nb", "is no absolute path"],
    ["/tmp/a\nb", "has a control character"],
    ["/tmp/$" + "{HOME}", 'has "${" in it, which ssh replaces'],
    [`/${"é".repeat(54)}`, "is longer than a socket's path can be (107 bytes)"],
  ])("the path %j is refused before anything is done", async (path, why) => {
    const before = sshd.server.said;
    const { code, err } = await start("demo", "--no-confirm", "--no-audit", "--remote-socket", path).end();
    expect([code, err.split("\n")[0]]).toEqual([
      64,
      `keywright: error: --remote-socket: ${JSON.stringify(path)} ${why}`,
    ]);
    expect(sshd.server.said).toBe(before);
  });
});
