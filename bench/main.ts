/**
 * Measures, and prints one table of ratios. Arguments: the project's folder, the compiled driver.c, `usual`, `large` or
 * `wire`, and the other libraries that are here. Run with: npm run bench, npm run bench:large, npm run bench:wire
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measureCalls } from "./calls.ts";
import { measurePlan } from "./plans.ts";
import { measureStartup } from "./startup.ts";
import { type Figure, format, formatFigures, type Row } from "./table.ts";
import { measureLargeFind, measureTokens } from "./tokens.ts";
import { measureCrowds, measureGuards, measureMemory, measureRoundTrips, measureStalls, prepareWire } from "./wire.ts";
import type { WayName } from "./workers.ts";

type Size = "usual" | "large" | "wire";
const [root, driver, size, ...others] = process.argv.slice(2) as [string, string, Size, ...WayName[]];
const programs = { command: join(root, "dist/bin/keywright.js"), shell: join(root, "bench/shell.sh") };
const folder = mkdtempSync(join(tmpdir(), "keywright-bench-"));
// Runs of the command take their locks here, and not among those of this machine.
process.env.KEYWRIGHT_LOCKS = join(folder, "locks");
const rows: Row[] = [];
const figures: Figure[] = [];

async function section(name: string, measure: () => Row[] | Row | Promise<Row[] | Row>): Promise<void> {
  process.stderr.write(`${name} …\n`);
  rows.push(...[await measure()].flat());
}

async function measureWire(): Promise<void> {
  const wire = await prepareWire(folder, programs.command, driver);
  await section("round trips", () => measureRoundTrips(wire));
  await section("32 clients at once", () => measureCrowds(wire));
  await section("guards", () => measureGuards(wire));
  process.stderr.write("stalls …\n");
  figures.push(...(await measureStalls(wire)));
  process.stderr.write("memory …\n");
  figures.push(...(await measureMemory(wire)));
}

try {
  if (size === "wire") {
    await measureWire();
  } else if (size === "large") {
    await section("find among 100 000", () => measureLargeFind(folder));
    await section("plan of 1 000 keys", () => measurePlan(folder, programs, { keys: 1_000, rounds: 3, sample: 5 }));
  } else {
    await section("start-up", () => measureStartup(folder, programs.command));
    await section("calls", () => measureCalls(folder, driver, others));
    await section("tokens", () => measureTokens(folder));
    await section("plan of 1 key", () => measurePlan(folder, programs, { keys: 1, rounds: 11 }));
    await section("plan of 10 keys", () => measurePlan(folder, programs, { keys: 10, rounds: 5 }));
    await section("plan of 100 keys", () => measurePlan(folder, programs, { keys: 100, rounds: 3 }));
  }
  console.log(format(rows));
  if (figures.length > 0) console.log(`\n${formatFigures(figures)}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
