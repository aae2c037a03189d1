// npm run bench, bench:large, bench:wire, soak:wire: installs what is measured against, compiles the driver, bundles bench/ and runs it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const bench = join(root, "bench");
const size = process.argv[2] ?? "usual";

const PROGRAMS = ["cc", "softhsm2-util", "pkcs11-tool", "openssl", "jq", "flock", "p11-kit"];
const missing = PROGRAMS.filter((name) => spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0);
if (missing.length > 0) {
  console.error(`missing: ${missing.join(", ")}; npm run peers installs all but the C compiler`);
  process.exit(1);
}

/** Whether a program did it; what it said is shown when it did not. */
function did(program, args, env = process.env) {
  const done = spawnSync(program, args, { cwd: root, env, encoding: "utf8" });
  if (done.status !== 0)
    console.error(`${program} ${args.join(" ")}\n${done.stdout ?? ""}${done.stderr ?? done.error}`);
  return done.status === 0;
}

// pkcs11js is compiled here; Node's headers are Debian's, or those that belong to the node that runs this.
const headers = [join(process.execPath, "../.."), "/usr"].find((at) => existsSync(join(at, "include/node/node.h")));
const compiling = headers === undefined ? process.env : { ...process.env, npm_config_nodedir: headers };
const isAlone = size === "wire" || size === "soak";
const isInstalled = !isAlone && did("npm", ["ci", "--prefix", bench, "--ignore-scripts", "--no-audit", "--no-fund"]);
const isCompiled = isInstalled && did("npm", ["rebuild", "--prefix", bench, "pkcs11js"], compiling);
if (!isCompiled && !isAlone)
  console.error("no rows for pkcs11js and graphene-pk11: pkcs11js could not be installed or compiled, see above");

const out = join(bench, "dist");
mkdirSync(out, { recursive: true });
const driver = join(out, "driver");
if (!did("cc", ["-O2", "-I/usr/include/p11-kit-1", join(bench, "driver.c"), "-o", driver, "-ldl"])) process.exit(1);
await build({
  entryPoints: ["main.ts", "worker.ts", "soak.ts", "soak-client.ts"].map((name) => join(bench, name)),
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  packages: "external",
  logLevel: "warning",
});
const args =
  size === "soak"
    ? [join(out, "soak.js"), root, driver, ...process.argv.slice(3)]
    : [join(out, "main.js"), root, driver, size, ...(isCompiled ? ["pkcs11js", "graphene"] : [])];
process.exit(spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1);
