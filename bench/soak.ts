/**
 * A server under mixed traffic from 16 clients, of which some are killed in the middle of a call; at the end nothing that
 * was acknowledged is lost, nothing has leaked, and no client failed that was not killed. Arguments: the project's folder,
 * the compiled driver.c, then `--minutes N` and `--softhsm`. Run with: npm run soak:wire
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { openModule, Pin } from "../src/index.ts";
import { descriptorsOf, familyOf, residentOf, threadsOf } from "./processes.ts";
import { CLIENT_LIBRARY, Server } from "./servers.ts";
import { addKeys, builtIn, PIN, softHsm } from "./stores.ts";
import { median } from "./table.ts";

const [root, driver, ...options] = process.argv.slice(2) as [string, string, ...string[]];
const minutes = Number(options[options.indexOf("--minutes") + 1] ?? 10) || 10;
const isSoftHsm = options.includes("--softhsm");
const folder = mkdtempSync(join(tmpdir(), "keywright-soak-"));
process.env.KEYWRIGHT_LOCKS = join(folder, "locks");
const MB = 2 ** 20;
const KEPT = 20 * MB;
/** CK_UNAVAILABLE_INFORMATION. */
const UNTOLD = 2 ** 64 - 1;
/** How long the server gets to be done with the clients that are gone, in s. */
const SETTLE_S = 30;
/** What a program ends with that SIGTERM ended, and that closed what it had. */
const ENDED = 128 + constants.signals.SIGTERM;

/**
 * What SoftHSM2 answers now and then where other processes log in to the same token, loaded by programs themselves too: it
 * reads its files while another writes them. And pkcs11-tool asks it for what it has just ended.
 */
const OF_SOFTHSM = /\b0x5\b|CKR_GENERAL_ERROR|no token|No slots|CKR_TOKEN_NOT_RECOGNIZED|C_SignUpdate failed/;

/** What was said of each object last: `+` that it is there, `-` that it is gone, with `?` that this may be. */
const objects = new Map<string, string>();
const faults: string[] = [];
const counts = { runs: 0, killed: 0, acknowledged: 0, ofSoftHsm: 0 };
let isOver = false;

/** Of each thing that clients of the soak do, one that is begun. */
type Begin = (server: Server, name: string) => ChildProcess;

const ours: Begin = (server, name) => {
  const program = join(import.meta.dirname, "soak-client.js");
  const { label, pin } = server.client;
  const child = spawn(process.execPath, [program, server.address, label, pin, name], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  createInterface({ input: child.stdout! }).on("line", (line) => {
    const space = line.indexOf(" ");
    objects.set(line.slice(space + 1), line.slice(0, space));
    if (space === 1) counts.acknowledged += 1;
  });
  return child;
};

const C_ACTIONS = ["ecdsa", "rsa", "info", "login", "connect"];

/** Another action every quarter of a second. */
const throughLibrary: Begin = (server) => {
  const { module, label, pin } = server.client;
  const child = spawn(driver, [module, label, pin], {
    env: { ...process.env, ...server.environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin!.on("error", () => undefined);
  createInterface({ input: child.stdout! }).on("line", () => {
    child.stdin!.write(`during:${C_ACTIONS[Math.floor(Math.random() * C_ACTIONS.length)]} 250\n`);
  });
  return child;
};

const PROGRAMS = [
  ["pkcs11-tool", "--module", CLIENT_LIBRARY, "-O"],
  ["pkcs11-tool", "--module", CLIENT_LIBRARY, "--login", "--pin", "env:SOAK_PIN", "-O"],
  "pkcs11-tool --login --pin env:SOAK_PIN --sign -m ECDSA --label ec -i DATA -o /dev/null --module"
    .split(" ")
    .concat(CLIENT_LIBRARY),
  ["p11tool", "--provider", CLIENT_LIBRARY, "--list-tokens"],
] as const;

const program: Begin = (server) => {
  const [name, ...words] = PROGRAMS[Math.floor(Math.random() * PROGRAMS.length)]! as readonly string[];
  return spawn(
    name!,
    words.map((word) => (word === "DATA" ? join(folder, "data") : word)),
    { env: { ...process.env, ...server.environment, SOAK_PIN: PIN }, stdio: ["ignore", "ignore", "pipe"] },
  );
};

/** Runs one client after the other until it is over. */
async function keepRunning(begin: Begin, server: Server, name: string, lifeMs: number): Promise<void> {
  for (let run = 1; !isOver; run += 1) {
    const child = begin(server, `${name}.${run}`);
    counts.runs += 1;
    let said = "";
    child.stderr?.on("data", (chunk) => {
      said = `${said}${chunk}`.slice(-2000);
    });
    const kill = () => {
      if (child.exitCode === null && child.kill("SIGKILL")) counts.killed += 1;
    };
    const timer = setTimeout(kill, lifeMs * (0.1 + Math.random()));
    const end = setInterval(() => isOver && kill(), 100);
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    clearTimeout(timer);
    clearInterval(end);
    // The last of them may end by itself while it is being killed.
    if (signal === "SIGKILL" || code === 0) continue;
    if (isSoftHsm && OF_SOFTHSM.test(said)) counts.ofSoftHsm += 1;
    else faults.push(`${child.spawnargs.slice(0, 3).join(" ")} (${name}): ${code ?? signal}: ${said}`);
  }
}

interface Level {
  readonly descriptors: number;
  readonly threads: number;
  readonly processes: number;
}

function levelOf({ pid }: Server): Level {
  return { descriptors: descriptorsOf(pid), threads: threadsOf(pid), processes: familyOf(pid).length };
}

/** The level in the end. Logins of clients that were killed wait for their turn before they are over. */
async function settled(server: Server, before: Level): Promise<Level> {
  for (let waited = 0; waited < SETTLE_S && isAbove(levelOf(server), before); waited += 1) await sleep(1000);
  return levelOf(server);
}

function isAbove(level: Level, before: Level): boolean {
  return (["descriptors", "threads", "processes"] as const).some((what) => level[what] > before[what]);
}

/** What is there in the end, seen by a client of its own; and how many sessions the token says it has without that one's. */
async function look(server: Server, label: string): Promise<{ labels: Set<string>; sessions: unknown }> {
  const module = await openModule(server.address, { state: join(folder, "state") });
  const token = await module.token({ label });
  const sessions = token.info.sessionCount;
  const labels = await token.withSession({ user: "USER", pin: Pin.from(PIN) }, async (session) => {
    const found = new Set<string>();
    for await (const object of session.find({ CKA_CLASS: "CKO_DATA" })) {
      found.add((await object.get("CKA_LABEL")).CKA_LABEL ?? "");
    }
    return found;
  });
  await module.close();
  return { labels, sessions };
}

try {
  const token = await addKeys(
    await (isSoftHsm ? softHsm(join(folder, "token"), "soak") : builtIn(join(folder, "token"), "soak")),
  );
  writeFileSync(join(folder, "data"), Buffer.alloc(32, 9));
  const server = await Server.ofKeywright(folder, join(root, "dist/bin/keywright.js"), token, ["--verbose"]);
  // Several at once, so that every thread has opened by then what it keeps.
  await Promise.all(Array.from({ length: 8 }, () => look(server, token.label)));
  await sleep(2000);
  const before = levelOf(server);
  const ends = Date.now() + minutes * 60_000;
  const running = [
    ...Array.from({ length: 7 }, (_, i) => keepRunning(ours, server, `ours ${i}`, 20_000)),
    ...Array.from({ length: 5 }, (_, i) => keepRunning(throughLibrary, server, `library ${i}`, 10_000)),
    // Most of them end by themselves.
    ...Array.from({ length: 4 }, (_, i) => keepRunning(program, server, `program ${i}`, 2_000)),
  ];
  const resident: number[] = [];
  while (Date.now() < ends) {
    await sleep(Math.min(1000, Math.max(1, ends - Date.now())));
    resident.push(residentOf(server.pid));
  }
  isOver = true;
  await Promise.all(running);
  const after = await settled(server, before);
  const { labels, sessions } = await look(server, token.label);
  const status = await server.stop();
  report(before, after, { labels, sessions: Number(sessions), resident, status });
} finally {
  rmSync(folder, { recursive: true, force: true });
}

interface End {
  readonly labels: ReadonlySet<string>;
  readonly sessions: number;
  readonly resident: readonly number[];
  readonly status: number | null;
}

function report(before: Level, after: Level, { labels, sessions, resident, status }: End): void {
  const said = (sign: string) => [...objects].filter(([, last]) => last === sign).map(([label]) => label);
  const lost = said("+").filter((label) => !labels.has(label));
  const undead = said("-").filter((label) => labels.has(label));
  const third = median(resident.slice(resident.length >> 1, (resident.length * 3) >> 2));
  const last = median(resident.slice((resident.length * 3) >> 2));
  const level = ({ descriptors, threads, processes }: Level) =>
    `${descriptors} descriptors, ${threads} threads, ${processes} processes`;
  console.log(
    `${minutes} minutes, ${isSoftHsm ? "SoftHSM2" : "the built-in token"}: ${counts.runs} clients, ${counts.killed} killed`,
  );
  console.log(`objects: ${counts.acknowledged} makings and destructions acknowledged, ${labels.size} objects left`);
  if (isSoftHsm) console.log(`clients that failed by SoftHSM2's own doing: ${counts.ofSoftHsm}`);
  console.log(`server before: ${level(before)}; after: ${level(after)}`);
  console.log(
    `RSS: ${(resident[0]! / MB).toFixed(0)} MiB at first, ${(third / MB).toFixed(0)} in the third quarter, ${(last / MB).toFixed(0)} in the last`,
  );
  const failed = [
    [faults.length > 0, `clients that were not killed failed: ${faults.length}\n${faults.slice(0, 10).join("\n")}`],
    [lost.length > 0, `made, acknowledged and not there: ${lost.join(", ")}`],
    [undead.length > 0, `destroyed, acknowledged and there: ${undead.join(", ")}`],
    [isAbove(after, before), "descriptors, threads or processes are left"],
    [last - third > KEPT, "memory grows"],
    [sessions > 0 && sessions < UNTOLD, `the token has ${sessions} sessions left`],
    [counts.acknowledged === 0, "nothing was made"],
    [status !== ENDED, `the server ended with ${status}`],
  ] as const;
  for (const [isSo, what] of failed) if (isSo) console.log(`NOT met: ${what}`);
  if (failed.some(([isSo]) => isSo)) process.exitCode = 1;
  else console.log("nothing lost, nothing leaked, no client failed that was not killed");
}
