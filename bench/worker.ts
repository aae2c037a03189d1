/**
 * One way to a token, in a process of its own: worker WAY, with the settings as JSON. Says "ready", then reads lines
 * "OPERATION COUNT" and answers each with the nanoseconds that COUNT of them took.
 */
import { createInterface } from "node:readline";
import { isPromise } from "../src/cryptoki/awaitable.ts";
import { type GetReady, graphene, pkcs11js } from "./others.ts";
import { comfortable, port } from "./ours.ts";
import type { WayName, WorkerSettings } from "./workers.ts";

const WAYS: Record<WayName, GetReady> = {
  direct: port("direct"),
  thread: port("thread"),
  process: port("process"),
  "built-in": port("direct"),
  comfortable,
  pkcs11js,
  graphene,
};

const [name, settings] = process.argv.slice(2) as [WayName, string];
const { operations, close } = await WAYS[name](JSON.parse(settings) as WorkerSettings);
process.stdout.write("ready\n");
// Counts on over all rounds, so that what is made has a name of its own.
let made = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const [what, count] = line.split(" ") as [string, string];
  const operation = operations[what];
  if (operation === undefined) throw new Error(`${name} cannot ${what}`);
  const start = process.hrtime.bigint();
  for (let i = 0; i < Number(count); i += 1) {
    const answer = operation(made);
    made += 1;
    if (isPromise(answer)) await answer;
  }
  process.stdout.write(`${process.hrtime.bigint() - start}\n`);
}
await close();
