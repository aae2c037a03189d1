/** The built-in token against SoftHSM2, both through the port, both on the event loop. */
import { join } from "node:path";
import { addKeys, builtIn, softHsm } from "./stores.ts";
import { type Pairs, type Row, ratioRow } from "./table.ts";
import { inTurn, Worker, type WorkerSettings } from "./workers.ts";

interface Operation {
  readonly what: string;
  readonly name: string;
  readonly rounds: number;
  /** How many make a round; as many as fit if absent. */
  readonly count?: number;
  readonly goal?: number;
  /** Whether it leaves nothing behind, so that it can be run to warm up. */
  readonly warm?: true;
}

const OPERATIONS: readonly Operation[] = [
  { what: "ecdsa", name: "sign ECDSA P-256", rounds: 31, goal: 0.6, warm: true },
  { what: "rsa", name: "sign RSA-2048", rounds: 31, goal: 0.6, warm: true },
  { what: "create", name: "create a private object", rounds: 31, goal: 0.2 },
  { what: "generate-ec", name: "generate EC P-256", rounds: 31 },
  // A prime is found by luck: many, to even it out.
  { what: "generate-rsa", name: "generate RSA-2048", rounds: 15, count: 4 },
];

const SOFTHSM_SIZES = [100, 1_000, 10_000];
const LARGE = 100_000;
const FIND_GOAL = 2;

export async function measureTokens(folder: string): Promise<Row[]> {
  const workers = [
    await Worker.start("direct", await addKeys(softHsm(join(folder, "softhsm"), "measured"))),
    await Worker.start("built-in", await addKeys(await builtIn(join(folder, "built-in"), "measured"))),
  ];
  const rows: Row[] = [];
  for (const { what, name, rounds, count, goal, warm } of OPERATIONS) {
    const [pairs] = await inTurn(what, rounds, workers, { count, warm });
    rows.push(ratioRow(`built-in: ${name}`, "SoftHSM2", pairs!, goal));
  }
  for (const worker of workers) await worker.stop();
  for (const size of SOFTHSM_SIZES) rows.push(await measureFind(folder, size));
  return rows;
}

async function measureFind(folder: string, size: number): Promise<Row> {
  const theirs = await filled("direct", softHsm(join(folder, `softhsm-${size}`), "measured"), size);
  const ours = await filled("built-in", await builtIn(join(folder, `built-in-${size}`), "measured"), size);
  const [pairs] = await inTurn("find", 21, [theirs, ours]);
  await Promise.all([theirs.stop(), ours.stop()]);
  return ratioRow(`built-in: find one label among ${size}`, "SoftHSM2", pairs!);
}

/** Finding among 100 000, beside finding among 100: ours only. */
export async function measureLargeFind(folder: string): Promise<Row> {
  const few = await filled("built-in", await builtIn(join(folder, "few"), "measured"), 100);
  const many = await filled("built-in", await builtIn(join(folder, "many"), "measured"), LARGE);
  const [pairs] = (await inTurn("find", 31, [few, many])) as [Pairs];
  await Promise.all([few.stop(), many.stop()]);
  return ratioRow(`built-in: find one label among ${LARGE}`, "among 100", pairs, FIND_GOAL);
}

/** A worker on a token with so many objects. */
async function filled(way: "direct" | "built-in", settings: WorkerSettings, objects: number): Promise<Worker> {
  const worker = await Worker.start(way, { ...settings, objects });
  await worker.time("create", objects);
  return worker;
}
