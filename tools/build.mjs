// Builds the library (one file per module, tsc) and the command (bundled, esbuild) into dist/.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
rmSync("dist", { recursive: true, force: true });

const tsc = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
  stdio: "inherit",
});
if (tsc.status !== 0) process.exit(tsc.status ?? 1);

// Programs of their own: the command, and what runs in another thread or process. See host/entry.ts.
const entries = {
  keywright: "src/cli/main.ts",
  "module-thread": "src/modules/thread-main.ts",
  "module-process": "src/modules/process-main.ts",
};
await build({
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, file]) => existsSync(file))),
  outdir: "dist/bin",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  // Native packages stay outside; everything else in one place starts several times faster.
  external: ["koffi", "@photostructure/sqlite"],
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
  legalComments: "none",
  logLevel: "warning",
});
if (existsSync("dist/bin/keywright.js")) chmodSync("dist/bin/keywright.js", 0o755);
