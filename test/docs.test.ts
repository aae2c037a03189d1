/** The examples of the docs are compiled and run. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { transform } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
// Inside the package, so that `keywright` is found by its own name.
const folder = mkdtempSync(join(root, "dist", "examples-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const examples = readdirSync(join(root, "docs"))
  .filter((name) => name.endsWith(".md"))
  .flatMap((name) => {
    const text = readFileSync(join(root, "docs", name), "utf8");
    const blocks = Array.from(text.matchAll(/```ts\n([\s\S]*?)```/g)).filter(([, code]) =>
      code!.includes('from "keywright'),
    );
    return blocks.map(([, code], i) => ({
      name: `${name} ${i + 1}`,
      code: code!,
    }));
  });

beforeAll(() => {
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules", "keywright"));
  for (const [name, pin] of [
    ["user.pin", "1234-user"],
    ["so.pin", "so-12345678"],
  ] as const) {
    writeFileSync(join(folder, name), pin, { mode: 0o600 });
  }
  writeFileSync(
    join(folder, "keys.yaml"),
    "tokens: { demo: { module: softtoken, store: demo.db, label: demo, pin: { file: user.pin }, soPin: { file: so.pin } } }\nkeys: { k: { token: demo, id: 1, type: Ed25519 } }\n",
  );
  const words = [
    "token",
    "init",
    "--label",
    "demo",
    "--store",
    "demo.db",
    "--so-pin",
    "file:so.pin",
    "--pin",
    "file:user.pin",
    "--state",
    "state",
  ];
  execFileSync(process.execPath, [join(root, "dist/bin/keywright.js"), ...words], { cwd: folder });
});

describe("the examples", () => {
  test("everything that the package exports stands in one of them", async () => {
    const code = examples.map((example) => example.code).join("\n");
    const missing = Object.keys(await import("../src/index.ts")).filter(
      (name) => !new RegExp(`\\b${name}\\b`).test(code),
    );
    expect(missing).toEqual([]);
  });

  test("there are some, and they compile", { timeout: 120_000 }, () => {
    expect(examples.length).toBeGreaterThan(5);
    for (const [i, { code }] of examples.entries()) writeFileSync(join(folder, `example-${i}.ts`), code);
    const compilerOptions = {
      target: "es2023",
      lib: ["es2023", "esnext.disposable"],
      module: "nodenext",
      types: ["node"],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    };
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
    const { status, stdout } = spawnSync(
      process.execPath,
      [join(root, "node_modules/typescript/bin/tsc"), "-p", folder],
      { encoding: "utf8" },
    );
    expect(stdout).toBe("");
    expect(status).toBe(0);
  });

  test.each(examples)("$name runs", async ({ code }) => {
    // Node 20 has no `await using`.
    const { code: script } = await transform(code, { loader: "ts", target: "node20", format: "esm" });
    const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });
});
