/** What a command costs before it does anything, beside `node -e 0`. */
import { spawnSync } from "node:child_process";
import { scryptSync } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PIN, SO_PIN } from "./stores.ts";
import { differenceRow, type Row } from "./table.ts";

const ROUNDS = 41;

const DECLARATION = `tokens:
  demo: { module: softtoken, store: demo.db, label: demo, pin: { file: user.pin }, soPin: { file: so.pin } }
keys:
  ca:
    token: demo
    id: 1
    type: EC:P-384
    certificate: { subject: CN=CA, validity: 10y, extensions: [v3_ca], publish: [ { path: ca.crt } ] }
  www:
    token: demo
    id: 2
    type: EC:P-256
    certificate: { issuer: ca, subject: CN=www, validity: 90d, publish: [ { path: www.pem, what: fullchain } ] }
`;

/** Runs a program that must succeed. @returns how long it took, in ns */
export function timed(program: string, args: readonly string[], cwd: string, env = process.env): number {
  const start = process.hrtime.bigint();
  const done = spawnSync(program, args, { cwd, env, stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
  const took = Number(process.hrtime.bigint() - start);
  if (done.status !== 0) throw new Error(`${program} ${args.join(" ")}: ${done.error?.message ?? done.stderr}`);
  return took;
}

/** A folder with a declaration and the files of its PINs. */
export function declare(folder: string, declaration: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "keys.yaml"), declaration);
  writeFileSync(join(folder, "user.pin"), `${PIN}\n`, { mode: 0o600 });
  writeFileSync(join(folder, "so.pin"), `${SO_PIN}\n`, { mode: 0o600 });
}

/** @param command the built command */
export function measureStartup(folder: string, command: string): Row[] {
  const cwd = join(folder, "startup");
  declare(cwd, DECLARATION);
  const run = (...words: string[]) => timed(process.execPath, [command, ...words], cwd);
  run("apply", "--yes", "--state", "state");
  const rows = [
    { name: "--help", goal: 20, scrypt: false, words: ["--help"] },
    {
      name: "key list --public, built-in",
      goal: 45,
      scrypt: false,
      words: ["key", "list", "--public", "-m", "softtoken", "--store", "demo.db", "--state", "state"],
    },
    {
      name: "plan, nothing to do, built-in, less one scrypt",
      goal: 60,
      scrypt: true,
      words: ["plan", "--state", "state"],
    },
  ];
  return rows.map(({ name, goal, scrypt, words }) => {
    const pairs = { ours: [] as number[], theirs: [] as number[] };
    for (let round = 0; round < ROUNDS; round += 1) {
      pairs.theirs.push(timed(process.execPath, ["-e", "0"], cwd));
      pairs.ours.push(run(...words) - (scrypt ? oneScrypt() : 0));
    }
    return differenceRow(`start: ${name}`, "node -e 0", pairs, goal);
  });
}

/** What the built-in token's login takes on purpose, in ns. */
function oneScrypt(): number {
  const start = process.hrtime.bigint();
  scryptSync(PIN, "a salt of length", 32, { N: 2 ** 16, r: 8, p: 1, maxmem: 2 ** 27 });
  return Number(process.hrtime.bigint() - start);
}
