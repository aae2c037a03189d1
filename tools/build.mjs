// Builds the library (one file per module, tsc) and the command (bundled, esbuild) into dist/.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { makeBytecode } from "./bytecode.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
rmSync("dist", { recursive: true, force: true });

const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
  stdio: "inherit",
});
if (tsc.status !== 0) process.exit(tsc.status ?? 1);

// Programs of their own: the command, and what runs in another thread or process. See host/entry.ts.
const options = {
  outdir: "dist/bin",
  bundle: true,
  // One file each, whose modules run when they are first needed: 15 ms less for a plan than ESM in chunks.
  format: "cjs",
  platform: "node",
  target: "node20.19",
  // require() in its place: Node's loader of ESM is not woken up.
  supported: { "dynamic-import": false },
  // Native packages stay outside; everything else in one place starts several times faster.
  external: ["koffi", "@photostructure/sqlite"],
  define: { "import.meta.url": "__url" },
  banner: { js: 'const __url = require("node:url").pathToFileURL(__filename).href;' },
  // Less to read; names stay, for traces.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: "none",
  logLevel: "warning",
};
await build({
  ...options,
  entryPoints: {
    command: "src/cli/main.ts",
    "module-thread": "src/modules/thread-main.ts",
    "module-process": "src/modules/process-main.ts",
    "serve-thread": "src/serving/worker-main.ts",
  },
});
const name = createHash("sha256").update(readFileSync("dist/bin/command.js")).digest("hex").slice(0, 16);
await build({
  ...options,
  entryPoints: { keywright: "src/cli/start.ts" },
  define: { ...options.define, BUILD: JSON.stringify(name) },
});
writeFileSync("dist/bin/package.json", '{ "type": "commonjs" }\n');
chmodSync("dist/bin/keywright.js", 0o755);
makeBytecode("dist/bin/keywright.js", `dist/bin/command-${name}-${process.version}-${process.arch}.cache`);
