/** Programs' calls through p11-kit-client.so: our server against p11-kit's, how many clients bear each other, memory. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { memoryOf, residentOf } from "./processes.ts";
import { Server, tokenWords } from "./servers.ts";
import { addKeys, builtIn, softHsm } from "./stores.ts";
import { addedRow, type Figure, median, type Pairs, type Row, ratioRow } from "./table.ts";
import { inTurn, Worker, type WorkerSettings } from "./workers.ts";

const ROUNDS = 31;

const OPERATIONS = [
  ["info", "C_GetSessionInfo"],
  ["ecdsa", "sign ECDSA P-256"],
  ["rsa", "sign RSA-2048"],
] as const;

const GOALS: Readonly<Record<string, number>> = { info: 1.8, ecdsa: 0.6 };

/** Tokens and programs of a run. */
export interface Wire {
  readonly folder: string;
  /** The built command. */
  readonly command: string;
  /** The compiled driver.c. */
  readonly driver: string;
  readonly soft: WorkerSettings;
  readonly hsm: WorkerSettings;
}

export async function prepareWire(folder: string, command: string, driver: string): Promise<Wire> {
  const soft = await addKeys(await builtIn(join(folder, "wire-soft"), "soft"));
  const hsm = await addKeys(softHsm(join(folder, "wire-hsm"), "hsm"));
  return { folder, command, driver, soft, hsm };
}

async function stopAll(all: readonly { stop(): Promise<unknown> }[]): Promise<void> {
  for (const one of all) await one.stop();
}

/** One client, and nobody else. */
export async function measureRoundTrips({ folder, command, driver, soft, hsm }: Wire): Promise<Row[]> {
  const servers = [
    await Server.ofPkit(folder, hsm),
    await Server.ofKeywright(folder, command, soft),
    await Server.ofKeywright(folder, command, hsm),
  ];
  const workers: Worker[] = [];
  for (const server of servers) workers.push(await Worker.driver(driver, server.client));
  const rows: Row[] = [];
  for (const [what, name] of OPERATIONS) {
    const [ours, ourHsm] = (await inTurn(what, ROUNDS, workers, { warm: true })) as [Pairs, Pairs];
    rows.push(ratioRow(`${name}, built-in token`, "p11-kit, SoftHSM2", ours, GOALS[what]));
    rows.push(ratioRow(`${name}, SoftHSM2`, "p11-kit, SoftHSM2", ourHsm));
  }
  await stopAll(workers);
  await stopAll(servers);
  return rows;
}

const CONNECTIONS = 32;
const [CROWD_ROUNDS, CROWD_MS] = [7, 1000];
/** 0.8 of the signatures in the same time. */
const CROWD_GOAL = 1 / 0.8;

/** So many processes with a connection each, which sign at once. */
export async function measureCrowds({ folder, command, driver, soft, hsm }: Wire): Promise<Row[]> {
  const rows: Row[] = [];
  const theirs = await Server.ofPkit(folder, hsm);
  const theirCrowd = await crowd(driver, theirs);
  for (const [name, token, options, goal] of [
    ["built-in token", soft, [], CROWD_GOAL],
    ["built-in token, one worker", soft, ["--workers", "1"], CROWD_GOAL],
    ["SoftHSM2", hsm, [], undefined],
  ] as const) {
    const ours = await Server.ofKeywright(folder, command, token, options);
    const ourCrowd = await crowd(driver, ours);
    const pairs = { ours: [] as number[], theirs: [] as number[] };
    await together(ourCrowd);
    for (let round = 0; round < CROWD_ROUNDS; round += 1) {
      const order = round % 2 === 0 ? (["ours", "theirs"] as const) : (["theirs", "ours"] as const);
      for (const who of order) pairs[who].push(await together(who === "ours" ? ourCrowd : theirCrowd));
    }
    rows.push(
      ratioRow(`ECDSA P-256, ${CONNECTIONS} clients, each signature, ${name}`, "p11-kit, SoftHSM2", pairs, goal),
    );
    await stopAll([...ourCrowd, ours]);
  }
  await stopAll([...theirCrowd, theirs]);
  return rows;
}

async function crowd(driver: string, server: Server): Promise<Worker[]> {
  const workers: Worker[] = [];
  for (let i = 0; i < CONNECTIONS; i += 1) workers.push(await Worker.driver(driver, server.client));
  return workers;
}

/** All sign for a while. @returns the time for each signature of all, in ns */
async function together(workers: readonly Worker[]): Promise<number> {
  const counts = await Promise.all(workers.map((worker) => worker.ask("during:ecdsa", CROWD_MS)));
  const perSecond = counts.reduce((sum, [count, took]) => sum + (count! * 1e9) / took!, 0);
  return 1e9 / perSecond;
}

/** What a guard adds to each signature. */
export async function measureGuards({ folder, command, driver, soft }: Wire): Promise<Row[]> {
  const policy = join(folder, "policy.yaml");
  writeFileSync(
    policy,
    "clients: { all: { anyone: true, keys: [{ label: ec, operations: [sign] }, { label: rsa, operations: [sign] }] } }\n",
  );
  const audit = join(folder, "audit.jsonl");
  const named = [
    ["nothing", []],
    ["policy", ["--policy", policy]],
    ["audit", ["--audit", audit]],
  ] as const;
  const servers: Server[] = [];
  const workers: Worker[] = [];
  for (const [, options] of named) {
    const server = await Server.ofKeywright(folder, command, soft, options);
    servers.push(server);
    workers.push(await Worker.driver(driver, server.client));
  }
  const token = `pkcs11:token=${soft.label}`;
  const trace = ["trace", ...tokenWords(soft), "--token", token, "--out", join(folder, "trace.txt"), "--"];
  workers.push(
    await Worker.driver(driver, { ...servers[0]!.client, environment: {} }, [process.execPath, command, ...trace]),
  );
  const rows: Row[] = [];
  for (const [what, name] of [OPERATIONS[0], OPERATIONS[1]]) {
    const all = await inTurn(what, ROUNDS, workers, { warm: true });
    for (const [i, guard] of ["policy", "audit", "trace into a file"].entries()) {
      rows.push(addedRow(`${name}, ${guard}`, "served without", all[i]!));
    }
  }
  await stopAll(workers);
  await stopAll(servers);
  return rows;
}

const STALL_MS = 4000;

/** What one client's login, or key generation, costs another who only asks. */
export async function measureStalls({ folder, command, driver, soft }: Wire): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const threads of [1, 2]) {
    const server = await Server.ofKeywright(folder, command, soft, ["--workers", String(threads)]);
    const asking = await Worker.driver(driver, server.client);
    // With two threads it is on the other one.
    const other = await Worker.driver(driver, server.client);
    await asking.ask("slowest:info", 1000);
    for (const [name, what] of [
      ["nothing", undefined],
      ["logins", "login"],
      ["RSA-3072 generation", "generate"],
    ] as const) {
      const load = what === undefined ? undefined : other.ask(`during:${what}`, STALL_MS);
      const [slowest, rare, n] = await asking.ask("slowest:info", STALL_MS);
      const done = await load;
      figures.push({
        what: `C_GetSessionInfo while another client does ${name}, ${threads} worker${threads === 1 ? "" : "s"}`,
        figure: `worst ${ms(slowest!)}, 1 in 1000 ${ms(rare!)} (${n} calls${done === undefined ? "" : `, ${done[0]} of the other`})`,
        goal: "",
      });
    }
    await stopAll([asking, other, server]);
  }
  return figures;
}

function ms(ns: number): string {
  return `${(ns / 1e6).toFixed(ns < 1e7 ? 2 : 0)} ms`;
}

const IDLE = 16;
const MB = 2 ** 20;
const KEPT = 20;

/** What a connection that does nothing takes, and what is left of many calls and connections. */
export async function measureMemory({ folder, command, driver, soft, hsm }: Wire): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [name, server] of [
    ["built-in token", await Server.ofKeywright(folder, command, soft)],
    ["SoftHSM2, a process each", await Server.ofKeywright(folder, command, hsm)],
    ["p11-kit server, SoftHSM2", await Server.ofPkit(folder, hsm)],
  ] as const) {
    const first: Worker[] = [];
    for (let i = 0; i < 4; i += 1) first.push(await Worker.driver(driver, server.client));
    await sleep(1500);
    const before = memoryOf(server.pid);
    const more: Worker[] = [];
    for (let i = 0; i < IDLE; i += 1) more.push(await Worker.driver(driver, server.client));
    await sleep(1500);
    const each = (memoryOf(server.pid) - before) / IDLE;
    figures.push({
      what: `memory of an idle connection, logged in: ${name}`,
      figure: `${(each / MB).toFixed(2)} MiB`,
      goal: "",
    });
    await stopAll([...first, ...more, server]);
  }
  const server = await Server.ofKeywright(folder, command, soft);
  const worker = await Worker.driver(driver, server.client);
  for (const [what, count, warming, name] of [
    ["ecdsa", 50_000, 20_000, "100 000 calls (C_SignInit, C_Sign)"],
    ["connect", 10_000, 16_000, "10 000 connections, opened and closed"],
  ] as const) {
    await worker.time(what, warming);
    const before = await settled(server.pid);
    await worker.time(what, count);
    const more = (await settled(server.pid)) - before;
    figures.push({
      what: `RSS after ${name}`,
      figure: `${more < 0 ? "" : "+"}${(more / MB).toFixed(1)} MiB of ${(before / MB).toFixed(0)} MiB`,
      goal: `at most +${KEPT} MiB: ${more <= KEPT * MB ? "met" : "NOT met"}`,
    });
  }
  await stopAll([worker, server]);
  return figures;
}

/** The median of some looks, a while after. */
async function settled(pid: number): Promise<number> {
  const looks: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    await sleep(300);
    looks.push(residentOf(pid));
  }
  return median(looks);
}
