/** While `apply` runs, with hooks, a TPM and NSS: no PIN in a child's command line or environment, nor in any output or file. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { peer, peerPath } from "../support/peers.ts";
import { tpm2 } from "../support/tpm2.ts";

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");
const missing = !(["softhsm2", "tpm2", "swtpm", "nss"] as const).every(peer);

/** A process as others see it. */
interface Seen {
  readonly pid: number;
  readonly commandLine: string;
  readonly environment: string;
  readonly openFiles: readonly string[];
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    // It has ended meanwhile.
    return "";
  }
}

/** A process and everything that descends from it. */
function family(root: number): Seen[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    const status = /^PPid:\s+(\d+)$/m.exec(read(`/proc/${name}/status`));
    if (status !== null) parents.set(Number(name), Number(status[1]));
  }
  const descends = (pid: number | undefined): boolean =>
    pid !== undefined && (pid === root || descends(parents.get(pid)));
  return [...parents.keys()].filter(descends).map((pid) => ({
    pid,
    commandLine: read(`/proc/${pid}/cmdline`),
    environment: read(`/proc/${pid}/environ`),
    openFiles: openFiles(pid),
  }));
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    // It has ended meanwhile, or closed one.
    return [];
  }
}

async function watch(child: ChildProcess): Promise<{ seen: Seen[]; output: string; code: number | null }> {
  const seen: Seen[] = [];
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk) => (output += chunk));
  const ended = once(child, "close") as Promise<[number | null]>;
  let running = true;
  void ended.then(() => (running = false));
  while (running) {
    seen.push(...family(child.pid!));
    await delay(3);
  }
  return { seen, output, code: (await ended)[0] };
}

function files(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}

test.skipIf(missing)("no PIN is seen of apply while it runs, and none is left behind", async () => {
  const tpm = await tpm2();
  onTestFinished(() => tpm.remove());
  const folder = mkdtempSync(join(tmpdir(), "keywright-proc-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const write = (name: string, text: string, mode = 0o600) => {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), mode);
  };
  const names = ["soft", "soft-so", "hsm", "hsm-so", "tpm", "tpm-so", "nss"] as const;
  const pins = Object.fromEntries(names.map((name) => [name, randomBytes(12).toString("hex")])) as Record<
    (typeof names)[number],
    string
  >;
  for (const name of ["soft", "soft-so", "tpm", "tpm-so", "nss"] as const) write(`${name}.pin`, `${pins[name]}\n`);
  write("hook", '#!/bin/sh\nenv > "hook-$1.log"; cat >> "hook-$1.log"; sleep 0.2\n', 0o700);
  const key = (name: string) =>
    `  ${name}: { token: ${name}, id: 1, type: EC:secp256r1, certificate: { subject: CN=${name}, hook: ./hook, publish: [{ path: ${name}.crt }] } }`;
  write(
    "keys.yaml",
    [
      "tokens:",
      "  soft: { module: softtoken, label: soft, store: soft.db, pin: { file: soft.pin }, soPin: { file: soft-so.pin } }",
      `  hsm: { module: ${peerPath("softhsm2")}, label: hsm, store: hsm, pin: { env: HSM_PIN }, soPin: { env: HSM_SO_PIN } }`,
      `  tpm: { module: ${tpm.path}, label: tpm, store: tpm, environment: { TPM2_PKCS11_TCTI: "${tpm.tcti}" }, placement: process,`,
      "         pin: { command: [cat, tpm.pin] }, soPin: { command: [cat, tpm-so.pin] } }",
      `  nss: { module: ${peerPath("nss")}, label: nss, store: nss, pin: { fd: 3 } }`,
      "keys:",
      ...["soft", "hsm", "tpm", "nss"].map(key),
      "",
    ].join("\n"),
  );

  const child = spawn(process.execPath, [COMMAND, "apply", "--yes", "--debug", "--state", "state"], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      KEYWRIGHT_LOCKS: join(folder, "locks"),
      HSM_PIN: pins.hsm,
      HSM_SO_PIN: pins["hsm-so"],
    },
    stdio: ["ignore", "pipe", "pipe", openSync(join(folder, "nss.pin"), "r")],
  });
  const { seen, output, code } = await watch(child);
  expect(output).toContain("opening");
  expect({ code, output }).toMatchObject({ code: 0 });

  const commands = new Set(seen.map(({ commandLine }) => commandLine.replaceAll("\0", " ").trim()));
  const line = (pattern: RegExp) => expect.stringMatching(pattern);
  // What was looked at: the hooks, the module's own process, the command that gives the TPM's PINs.
  expect([...commands]).toEqual(expect.arrayContaining([line(/hook tpm new$/), line(/module-process/)]));
  const own = seen.find(({ pid }) => pid === child.pid)!.commandLine;
  const children = seen.filter(({ commandLine }) => commandLine !== own && commandLine !== "");
  expect(children.some((one) => one.openFiles.length > 0)).toBe(true);
  expect(children.filter((one) => one.openFiles.some((path) => path.endsWith("nss.pin")))).toEqual([]);
  for (const [name, pin] of Object.entries(pins)) {
    const shows = (text: string) => text.includes(pin);
    expect(
      seen.filter(({ commandLine }) => shows(commandLine)),
      name,
    ).toEqual([]);
    // Of the command itself /proc shows the environment that it was started with, whatever it has removed since; and a
    // child is the command, to the last byte, until it runs its own program.
    const others = name.startsWith("hsm") ? children : seen;
    expect(
      others.filter(({ environment }) => shows(environment)),
      name,
    ).toEqual([]);
    expect(shows(output), name).toBe(false);
    const left = files(folder).filter((path) => path !== join(folder, `${name}.pin`));
    expect(left.length).toBeGreaterThan(20);
    expect(
      left.filter((path) => shows(read(path))),
      name,
    ).toEqual([]);
  }
});
