/** Workers: processes that each keep one way to a token open, and are asked in turn. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Pairs } from "./table.ts";

export type WayName = "direct" | "thread" | "process" | "built-in" | "comfortable" | "pkcs11js" | "graphene";

export interface WorkerSettings {
  /** The path of a library, or `softtoken`. */
  readonly module: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly store?: string;
  readonly label: string;
  readonly pin: string;
  /** The state folder of the comfortable API. */
  readonly state: string;
  /** Whether the token holds the keys `ec` and `rsa`, to sign with. */
  readonly signs?: boolean;
  /** How many objects there are to find, called `object 0` and on. */
  readonly objects?: number;
}

/** How long one round of an operation takes about, in ns. */
const ROUND = 20e6;

/** How many rounds go before those that count, about a second: by then V8 has compiled what is run often. */
const WARMING = 50;

export class Worker {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  private constructor(program: string, args: readonly string[], environment: Readonly<Record<string, string>>) {
    this.#child = spawn(program, args, {
      env: { ...process.env, ...environment },
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#reader = createInterface({ input: this.#child.stdout! });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** A way of this library, or of another for Node. */
  static async start(way: WayName, settings: WorkerSettings): Promise<Worker> {
    const program = join(import.meta.dirname, "worker.js");
    const worker = new Worker(process.execPath, [program, way, JSON.stringify(settings)], settings.environment ?? {});
    await worker.#line();
    return worker;
  }

  /**
   * The driver in C.
   * @param within a command that runs it, and leaves it its standard input and output
   */
  static async driver(
    program: string,
    { module, label, pin, environment }: WorkerSettings,
    within: readonly string[] = [],
  ): Promise<Worker> {
    const [first, ...rest] = [...within, program, module, label, pin];
    const worker = new Worker(first!, rest, environment ?? {});
    await worker.#line();
    return worker;
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`a worker ended: ${this.#child.spawnargs.join(" ")}`);
    return value;
  }

  /** Runs an operation `count` times. @returns the time of one, in ns */
  async time(what: string, count: number): Promise<number> {
    const [took] = await this.ask(what, count);
    return took! / count;
  }

  /** What a line is answered with: numbers. */
  async ask(what: string, count: number): Promise<number[]> {
    this.#child.stdin!.write(`${what} ${count}\n`);
    return (await this.#line()).split(" ").map(Number);
  }

  /** How often an operation fits into one round. */
  async calibrate(what: string): Promise<number> {
    const first = await this.time(what, 1);
    const few = await this.time(what, Math.max(1, Math.min(200, Math.floor(ROUND / first))));
    return Math.max(1, Math.min(50_000, Math.floor(ROUND / few)));
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin!.end();
    await ended;
    this.#reader.close();
  }
}

/**
 * Runs an operation on every worker in turn, n rounds, every other round in the opposite order.
 * @param count how many make a round; as many as fit into one if absent
 * @param warm whether rounds go before that do not count: of an operation that leaves nothing behind
 * @returns for each worker but the first, its times beside the first one's, in ns
 */
export async function inTurn(
  what: string,
  n: number,
  workers: readonly Worker[],
  { count, warm = false }: { count?: number | undefined; warm?: boolean | undefined } = {},
): Promise<Pairs[]> {
  const counts: number[] = [];
  for (const worker of workers) {
    const fitting = count ?? (await worker.calibrate(what));
    if (warm) await worker.time(what, WARMING * fitting);
    counts.push(fitting);
  }
  const times = workers.map((): number[] => []);
  for (let round = 0; round < n; round += 1) {
    const order = workers.map((_, i) => (round % 2 === 0 ? i : workers.length - 1 - i));
    for (const i of order) times[i]!.push(await workers[i]!.time(what, counts[i]!));
  }
  return times.slice(1).map((ours) => ({ ours, theirs: times[0]! }));
}
