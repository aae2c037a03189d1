/** What a call costs on SoftHSM2: from C, through this library in each placement, and through others for Node. */
import { join } from "node:path";
import { addKeys, softHsm } from "./stores.ts";
import { type Row, ratioRow } from "./table.ts";
import { inTurn, type WayName, Worker } from "./workers.ts";

const OPERATIONS = [
  ["info", "C_GetSessionInfo"],
  ["ecdsa", "sign ECDSA P-256"],
  ["rsa", "sign RSA-2048"],
] as const;

const OURS: readonly WayName[] = ["direct", "thread", "process", "comfortable"];
const LIBRARY_GOAL = 1.1;

/**
 * @param driver the compiled driver.c
 * @param others which other libraries are here
 */
export async function measureCalls(folder: string, driver: string, others: readonly WayName[]): Promise<Row[]> {
  const settings = await addKeys(softHsm(join(folder, "calls"), "calls"));
  const ways = [...OURS, ...others];
  const workers = [await Worker.driver(driver, settings)];
  for (const way of ways) workers.push(await Worker.start(way, settings));
  const rows: Row[] = [];
  for (const [what, name] of OPERATIONS) {
    const pairs = await inTurn(what, 31, workers, { warm: true });
    for (const [i, way] of ways.entries()) {
      const goal = way === "direct" ? LIBRARY_GOAL : undefined;
      rows.push(ratioRow(`${name}, ${way}`, "from C", pairs[i]!, goal));
    }
  }
  for (const worker of workers) await worker.stop();
  return rows;
}
