/** keywright serve, as its clients see it. Needs dist. */
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { Cryptoki } from "../../src/cryptoki/port.ts";
import { openModule } from "../../src/index.ts";
import { openProvider } from "../../src/modules/index.ts";
import { CKA } from "../../src/spec/attributes.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { hasCompiler, odd } from "../support/odd.ts";
import { peer } from "../support/peers.ts";
import { CLIENT, type Programs, rsaAndEc, USER_PIN } from "../support/programs.ts";

const hasPeers = peer("opensc") && peer("p11-kit-client");

describe.skipIf(!hasPeers)("keywright serve", () => {
  let programs: Programs;
  beforeAll(async () => {
    programs = await rsaAndEc();
  });
  afterAll(() => programs.end());

  const pkcs11Tool = (env: NodeJS.ProcessEnv, ...words: string[]) =>
    programs.run(["pkcs11-tool", "--module", CLIENT, ...words], { env });

  async function application(address: string): Promise<Cryptoki> {
    const provider = openProvider({ module: address });
    onTestFinished(async () => provider.close());
    const p11 = await provider.open();
    await p11.call("C_Initialize", { args: {} });
    return p11;
  }

  test("with --unlock no PIN passes the socket, in either direction, and the key works", async () => {
    const { server, env } = await programs.serve(["demo", "--unlock"]);
    const real = env.P11_KIT_SERVER_ADDRESS.slice("unix:path=".length);
    const seen: Buffer[] = [];
    const between = createServer((client) => {
      const upstream = createConnection(real);
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as [Socket, Socket][]) {
        from.on("data", (chunk: Buffer) => {
          seen.push(chunk);
          to.write(chunk);
        });
        from.on("close", () => to.destroy());
        from.on("error", () => undefined);
      }
    });
    await new Promise<void>((done) => between.listen(programs.path("run/between"), done));
    onTestFinished(() => void between.close());
    programs.write("data", "hello");
    const through = { P11_KIT_SERVER_ADDRESS: `unix:path=${programs.path("run/between")}` };
    const signed = await pkcs11Tool(through, "-l", "-s", "-m", "ECDSA-SHA1", "--id", "02", "-i", "data", "-o", "sig");
    expect(signed.code).toBe(0);
    expect(statSync(programs.path("sig")).size).toBe(64);
    const frames = Buffer.concat(seen);
    expect(frames.length).toBeGreaterThan(1000);
    expect(frames.includes("hello")).toBe(true);
    expect(frames.includes(USER_PIN)).toBe(false);
    await server.stop();
    expect(server.said).not.toContain(USER_PIN);
  });

  test("the folder and the socket are their owner's alone; a live socket is refused, a stale one replaced", async () => {
    const { server } = await programs.serve(["demo"]);
    expect(statSync(programs.path("run")).mode & 0o777).toBe(0o700);
    expect(statSync(programs.path("run/s")).mode & 0o777).toBe(0o600);
    const second = await programs.keywright(["serve", "demo", "--socket", programs.path("run/s")]).end();
    expect([second.code, second.err]).toEqual([1, expect.stringContaining("another server listens on")]);
    await server.kill("SIGKILL");
    expect(existsSync(programs.path("run/s"))).toBe(true);
    const third = await programs.serve(["demo"]);
    const ended = await third.server.stop();
    expect(ended.code).toBe(143);
    expect(existsSync(programs.path("run/s"))).toBe(false);
  });

  test("a call under way is answered after SIGTERM", async () => {
    const { server, env } = await programs.serve(["demo", "--workers", "1"]);
    const p11 = await application(env.P11_KIT_SERVER_ADDRESS);
    const [slot] = (await p11.call("C_GetSlotList", { tokenPresent: true })).slots;
    const { session } = await p11.call("C_OpenSession", { slot: slot!, flags: 6 });
    // scrypt takes a while, and not as long as the server waits.
    const login = p11.call("C_Login", { session, userType: 1, pin: Buffer.from(USER_PIN) });
    await delay(20);
    const ended = server.stop();
    expect(await login).toEqual({});
    expect((await ended).code).toBe(143);
    await expect(p11.call("C_GetInfo", {})).rejects.toThrow(/cannot connect|CKR_DEVICE_REMOVED/);
  });

  test("one client's login opens nothing to another, whichever thread serves it", async () => {
    const { server, env } = await programs.serve(["demo", "--workers", "2"]);
    const clients = await Promise.all(Array.from({ length: 4 }, () => application(env.P11_KIT_SERVER_ADDRESS)));
    const sessions = await Promise.all(clients.map((p11) => p11.call("C_OpenSession", { slot: 1, flags: 4 })));
    await clients[0]!.call("C_Login", { session: sessions[0]!.session, userType: 1, pin: Buffer.from(USER_PIN) });
    const found = [];
    for (const [i, p11] of clients.entries()) {
      const { session } = sessions[i]!;
      await p11.call("C_FindObjectsInit", { session, template: [{ type: CKA.CKA_CLASS[0], value: 3 }] });
      found.push((await p11.call("C_FindObjects", { session, max: 10 })).objects.length);
    }
    expect(found).toEqual([2, 0, 0, 0]);
    await server.stop();
  });

  test("clients that go before they read, and frames of code 0, cost no other connection and no descriptor", async () => {
    const { server, env } = await programs.serve(["demo", "--workers", "1"]);
    const path = env.P11_KIT_SERVER_ADDRESS.slice("unix:path=".length);
    const bystander = await application(env.P11_KIT_SERVER_ADDRESS);
    const descriptors = () => readdirSync(`/proc/${server.pid}/fd`).length;
    const begin = Buffer.from(
      "00000000100000000600000042636c69656e74000000010000000561797961790100000029505249564154452d474e4f4d452d4b455952494e472d504b435331312d50524f544f434f4c2d562d3100010000000100",
      "hex",
    );
    const ask = Buffer.from("000000110000000600000008636c69656e740000000300000000", "hex");
    const rude = async (...parts: Buffer[]) => {
      const socket = createConnection(path);
      socket.on("error", () => undefined);
      socket.write(Buffer.concat(parts));
      await delay(Math.random() * 10);
      socket.destroy();
    };
    await rude(begin, ask);
    const before = descriptors();
    for (let i = 0; i < 60; i += 1) await rude(begin, ask, ...(i % 2 === 0 ? [Buffer.alloc(16)] : [ask, ask]));
    expect((await bystander.call("C_GetInfo", {})).info.manufacturerID).toBe("Keywright");
    await server.until(() => descriptors() <= before);
    expect(server.said).not.toContain("a thread of the server ended");
    await server.stop();
  });

  test("a module that is not there is told at the start, and so is a token", async () => {
    const missing = await programs.keywright(["serve", "--module", "/nowhere/lib.so"]).end();
    expect([missing.code, missing.err]).toEqual([1, expect.stringContaining("/nowhere/lib.so")]);
    const { server } = await programs.serve(["pkcs11:token=nope", "--store", "demo.db"]);
    expect(server.said).toContain("no token matches pkcs11:token=nope now");
    await server.stop();
  });

  test("the variable for each shell, and JSON", async () => {
    const said = async (...words: string[]) => {
      const running = programs.keywright(["serve", "demo", "--socket", programs.path("run/it's"), ...words]);
      await running.until(() => running.said.includes("\n"));
      return (await running.stop()).out;
    };
    const path = `unix:path=${programs.path("run/it")}`;
    expect(await said()).toBe(`P11_KIT_SERVER_ADDRESS='${path}'\\''s'; export P11_KIT_SERVER_ADDRESS;\n`);
    expect(await said("--shell", "csh")).toBe(`setenv P11_KIT_SERVER_ADDRESS '${path}'\\''s';\n`);
    expect(await said("--shell", "fish")).toBe(`set -gx P11_KIT_SERVER_ADDRESS '${path}\\'s';\n`);
    const json = JSON.parse(await said("--json")) as Record<string, unknown>;
    expect(json).toMatchObject({
      schema: "keywright/serve/1",
      environment: { P11_KIT_SERVER_ADDRESS: `${path}'s` },
      pid: expect.any(Number),
      tokens: ["pkcs11:token=demo"],
    });
    const wrong = await programs.keywright(["serve", "demo", "--shell", "tcsh"]).end();
    expect([wrong.code, wrong.err]).toEqual([64, expect.stringContaining("--shell takes sh, csh, fish, not")]);
  });

  test("on standard input and output: a module like any other; at its end the command ends", async () => {
    const words = [process.execPath, "dist/bin/keywright.js", "serve", "--stdio", "demo"].join(" ");
    const file = `--file ${programs.path("keys.yaml")} --state ${programs.state}`;
    const module = await openModule(`|${words} ${file}`, { state: programs.state });
    const token = await module.token({ label: "demo" });
    const labels = await token.withSession({ user: "USER", pin: Pin.from(USER_PIN) }, async (session) => {
      const all: unknown[] = [];
      for await (const object of session.find({ CKA_CLASS: "CKO_PRIVATE_KEY" })) {
        all.push((await object.get("CKA_LABEL")).CKA_LABEL);
      }
      return all;
    });
    expect(labels.sort()).toEqual(["ec", "rsa"]);
    await module.close();
    const idle = programs.keywright(["serve", "--stdio", "demo"]);
    expect((await idle.end()).code).toBe(0);
  });

  test("where a key is named, clients see that key alone and change nothing", async () => {
    const { server, env } = await programs.serve([
      "pkcs11:token=demo;object=ec",
      "--store",
      "demo.db",
      "--unlock",
      "--pin",
      "file:user.pin",
    ]);
    const { out } = await pkcs11Tool(env, "-l", "-O");
    expect(out.match(/label: +\w+/g)?.every((label) => label.endsWith("ec"))).toBe(true);
    const gone = await pkcs11Tool(env, "-l", "--delete-object", "--type", "privkey", "--id", "02");
    expect(gone.code).not.toBe(0);
    const other = await pkcs11Tool(env, "-l", "-s", "-m", "SHA256-RSA-PKCS", "--id", "01", "-i", "keys.yaml");
    expect(other.code).not.toBe(0);
    expect(server.said).toContain("readOnly (the keys that were named: clients.anyone)");
    await server.stop();
  });

  test("a policy: what it does not allow is refused, and told; a key that is not there is refused at the start", async () => {
    programs.write(
      "policy.yaml",
      "clients: { me: { anyone: true, keys: [ { label: rsa, operations: [sign], mechanisms: [CKM_RSA_PKCS] } ] } }\n",
    );
    const { server, env } = await programs.serve(["demo", "--unlock", "--policy", "policy.yaml"]);
    programs.write("digest", "0123456789abcdef");
    expect((await pkcs11Tool(env, "-l", "-s", "-m", "RSA-PKCS", "--id", "01", "-i", "digest", "-o", "sig")).code).toBe(
      0,
    );
    expect((await pkcs11Tool(env, "-l", "-s", "-m", "SHA256-RSA-PKCS", "--id", "01", "-i", "digest")).code).not.toBe(0);
    expect(server.said).toContain("policy.yaml: clients.me.keys.0");
    await server.stop();
    programs.write(
      "policy.yaml",
      "clients:\n  me:\n    anyone: true\n    keys:\n      - { label: rsb, operations: [sign] }\n",
    );
    const wrong = await programs.keywright(["serve", "demo", "--unlock", "--policy", "policy.yaml"]).end();
    expect(wrong.code).toBe(1);
    expect(wrong.err).toContain('the token has no key of label "rsb"');
    expect(wrong.err).toContain("did you mean rsa?");
    programs.write("policy.yaml", "clients: { me: { anyone: true, keyz: [] } }\n");
    const unknown = await programs.keywright(["serve", "demo", "--policy", "policy.yaml"]).end();
    expect([unknown.code, unknown.err]).toEqual([1, expect.stringContaining("keys")]);
  });

  test("every signal that asks it to end leaves no socket", async () => {
    for (const [signal, code] of Object.entries({ SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 })) {
      const { server } = await programs.serve(["demo"]);
      const ended = await server.stop(signal as NodeJS.Signals);
      expect([ended.code, ended.signal, existsSync(programs.path("run/s"))]).toEqual([code, null, false]);
    }
  });

  test("the audit log has each use, and its checkpoint is signed", async () => {
    const words = ["demo", "--unlock", "--audit", "audit.jsonl", "--audit-key", "ec"];
    const { server, env } = await programs.serve(words);
    programs.write("digest", "0123456789abcdef");
    for (let i = 0; i < 3; i += 1)
      await pkcs11Tool(env, "-l", "-s", "-m", "RSA-PKCS", "--id", "01", "-i", "digest", "-o", "sig");
    await server.stop();
    const lines = readFileSync(programs.path("audit.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.filter((line) => line.function === "C_Sign")).toHaveLength(3);
    expect(lines[2]).toMatchObject({
      client: { uid: process.getuid?.(), program: expect.stringContaining("pkcs11-tool") },
    });
    const verified = await programs.keywright(["audit", "verify", "audit.jsonl", "--key", "ec"]).end();
    expect([verified.code, verified.out]).toEqual([
      0,
      expect.stringContaining("are as they were written, by the signature"),
    ]);
    expect(server.said).toMatch(/checkpoint of the audit log: \S+ \d+:[0-9a-f]{64}/);
  });

  test("a person's no is a refusal, and a yes holds as long as was said", async () => {
    programs.write("ask", '#!/bin/sh\ncat >> asked\ntest "$KEYWRIGHT_KEY_LABEL" = rsa\n', 0o755);
    const words = ["demo", "--unlock", "--confirm-command", programs.path("ask"), "--confirm-seconds", "60"];
    const { server, env } = await programs.serve(words);
    programs.write("digest", "0123456789abcdef");
    const p11 = await application(env.P11_KIT_SERVER_ADDRESS);
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: 4 });
    await p11.call("C_Login", { session, userType: 1, pin: null });
    const key = async (id: number) => {
      const template = [
        { type: CKA.CKA_CLASS[0], value: 3 },
        { type: CKA.CKA_ID[0], value: Uint8Array.of(id) },
      ];
      await p11.call("C_FindObjectsInit", { session, template });
      const [found] = (await p11.call("C_FindObjects", { session, max: 1 })).objects;
      await p11.call("C_FindObjectsFinal", { session });
      return found!;
    };
    const sign = async (id: number, type: number) => {
      await p11.call("C_SignInit", { session, mechanism: { type }, key: await key(id) });
      return p11.call("C_Sign", { session, data: new Uint8Array(20), room: 512 });
    };
    for (let i = 0; i < 3; i += 1) await sign(1, CKM.CKM_RSA_PKCS[0]);
    await expect(sign(2, CKM.CKM_ECDSA[0])).rejects.toThrow("CKR_FUNCTION_REJECTED");
    expect(readFileSync(programs.path("asked"), "utf8").match(/wants to sign: the key "rsa"/g)).toHaveLength(1);
    await server.until(() => server.said.includes("the person who was asked did not allow to sign"));
    await server.stop();
  });

  test.skipIf(!hasCompiler)("a library that crashes or hangs costs its own connection alone", async () => {
    const library = odd();
    onTestFinished(() => library.remove());
    const token = `{ module: ${library.path}, label: odd, reserved: odd, timeoutMs: 1000 }`;
    programs.write("odd.yaml", `tokens: { odd: ${token} }\nkeys: {}\n`);
    const { server, env } = await programs.serve(["odd", "--file", "odd.yaml", "--workers", "1", "--uninitialised"]);
    const [one, other] = [await application(env.P11_KIT_SERVER_ADDRESS), await application(env.P11_KIT_SERVER_ADDRESS)];
    const open = async (p11: Cryptoki) => (await p11.call("C_OpenSession", { slot: 1, flags: 4 })).session;
    const [crashes, hangs] = [await open(one), await open(other)];
    const gone = { message: expect.stringMatching(/CKR_DEVICE_REMOVED|CKR_DEVICE_ERROR/) as string };
    const error = (call: unknown) => Promise.resolve(call).catch((reason: unknown) => reason);
    const hung = error(other.call("C_GenerateRandom", { session: hangs, length: 8 }));
    expect(await error(one.call("C_SeedRandom", { session: crashes, seed: Uint8Array.of(1) }))).toMatchObject(gone);
    expect(await hung).toMatchObject(gone);
    // The server lives, and so do both connections.
    for (const p11 of [one, other, await application(env.P11_KIT_SERVER_ADDRESS)]) {
      expect((await p11.call("C_GetSessionInfo", { session: await open(p11) })).info.slotID).toBe(1);
    }
    await server.stop();
  });
});

describe.skipIf(!hasPeers)("keywright trace", () => {
  let programs: Programs;
  beforeAll(async () => {
    programs = await rsaAndEc();
    programs.write("digest", "0123456789abcdef");
  });
  afterAll(() => programs.end());

  const sign = [
    "pkcs11-tool",
    "--module",
    CLIENT,
    "-l",
    "-s",
    "-m",
    "RSA-PKCS",
    "--id",
    "01",
    "-i",
    "digest",
    "-o",
    "sig",
  ];
  const trace = (...words: string[]) => programs.keywright(["trace", "--token", "demo", ...words, "--", ...sign]).end();

  test("every call in a line with its names, and a summary; no secret, and never a PIN", async () => {
    const { code, err } = await trace();
    expect(code).toBe(0);
    expect(err).toContain("C_FindObjectsInit(session 1, {CKA_CLASS=CKO_PRIVATE_KEY, CKA_ID=0x01}) = CKR_OK");
    expect(err).toMatch(/C_SignInit\(session 1, CKM_RSA_PKCS, key \d+ \(private key\)\) = CKR_OK/);
    expect(err).toContain("data [16 bytes]");
    expect(err).toMatch(/^FUNCTION +CALLS +TOTAL MS +SLOWEST MS +ERRORS$/m);
    expect(err).toMatch(/^C_Sign +1 /m);
    expect(err).not.toContain(USER_PIN);
  });

  test("secrets where they are asked for, to a file, as JSON; PINs not even then", async () => {
    await trace("--show-secrets", "--json", "--out", "trace.json");
    expect(statSync(programs.path("trace.json")).mode & 0o777).toBe(0o600);
    const lines = programs
      .read("trace.json")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const signed = lines.find((line) => line.function === "C_Sign");
    expect(signed).toMatchObject({
      arguments: { data: { length: 16, hex: Buffer.from("0123456789abcdef").toString("hex") } },
      result: "CKR_OK",
    });
    expect(lines.at(-1)).toMatchObject({ schema: "keywright/trace/1", functions: expect.any(Array) });
    expect(programs.read("trace.json")).not.toContain(USER_PIN);
    programs.write("by-itself.yaml", programs.read("keys.yaml").replace(/, pin: \{[^}]*\}/, ""));
    const itself = ["pkcs11-tool", "--module", CLIENT, "-l", "--pin", USER_PIN, "-O"];
    const own = await programs
      .keywright([
        "trace",
        "--file",
        "by-itself.yaml",
        "--no-unlock",
        "--show-secrets",
        "--token",
        "demo",
        "--",
        ...itself,
      ])
      .end();
    expect(own.err).toContain("C_Login(session 1, userType CKU_USER, pin");
    expect(own.err).not.toContain(USER_PIN);
    expect(own.err).not.toContain(Buffer.from(USER_PIN).toString("hex"));
  });

  test("a file that is there is ours alone before a line is in it; another user's is refused", async () => {
    programs.write("old.trace", "what was there before\n".repeat(10_000));
    chmodSync(programs.path("old.trace"), 0o666);
    symlinkSync("old.trace", programs.path("link.trace"));
    const { code } = await trace("--out", "link.trace");
    expect(code).toBe(0);
    expect(statSync(programs.path("old.trace")).mode & 0o777).toBe(0o600);
    expect(programs.read("old.trace")).not.toContain("before");
    expect(programs.read("old.trace")).toContain("C_SignInit");
    if (process.getuid?.() !== 0) return;
    programs.write("other.trace", "theirs");
    chownSync(programs.path("other.trace"), 65534, 65534);
    const refused = await trace("--out", "other.trace");
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("found owner 65534, expected owner 0")]);
    expect(programs.read("other.trace")).toBe("theirs");
  });

  test.runIf(existsSync("/dev/full"))("a disk that is full is told once; the program goes on to its end", async () => {
    const words = [...sign.slice(0, -1), "sig-full"];
    const ran = await programs.keywright(["trace", "--token", "demo", "--out", "/dev/full", "--", ...words]).end();
    expect(ran.code).toBe(1);
    expect(ran.err.match(/^keywright: .*$/gm)).toEqual([
      "keywright: error: the trace in /dev/full ends here: the disk is full (ENOSPC)",
    ]);
    expect(statSync(programs.path("sig-full")).size).toBe(256);
    expect(readdirSync(programs.path("run")).filter((name) => name.startsWith("exec-"))).toEqual([]);
  });
});
