/** The package as it is published: packed, unpacked in another folder, and used from there by its subpaths. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "keywright-package-"));
const installed = join(folder, "node_modules", "keywright");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Manifest {
  readonly exports: Readonly<Record<string, { readonly types?: string }>>;
  readonly dependencies: Readonly<Record<string, string>>;
}
const { exports, dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
const doors = Object.keys(exports)
  .filter((path) => exports[path]!.types !== undefined)
  .map((path) => path.replace(/^\./, "keywright"));

beforeAll(() => {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: root, stdio: ["ignore", "pipe", 2] });
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))!;
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, tarball), "-C", installed, "--strip-components=1"]);
  // There is no network: what it depends on is what is installed here.
  for (const name of [...Object.keys(dependencies), "@types/node"]) {
    mkdirSync(resolve(folder, "node_modules", name, ".."), { recursive: true });
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  }
});

function run(code: string): string {
  return execFileSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: folder,
    encoding: "utf8",
    stdio: "pipe",
  });
}

/** The names that the API report says a door exports. */
function reported(door: string): string[] {
  const report = readFileSync(join(root, "etc/keywright.api.md"), "utf8");
  const line = report.split("\n").find((one) => one.startsWith(`- \`${door}\`: `));
  return line!.slice(line!.indexOf(": ") + 2).split(", ");
}

test("there is a door for each role, and `keywright` is all of them", () => {
  expect(doors).toContain("keywright");
  expect(doors.length).toBeGreaterThan(4);
  const all = new Set(reported("keywright"));
  for (const door of doors) expect(reported(door).filter((name) => !all.has(name))).toEqual([]);
});

test.each(doors)("%s exports what the API report says, and no more", (door) => {
  const names = JSON.parse(run(`console.log(JSON.stringify(Object.keys(await import("${door}"))))`)) as string[];
  expect(names.length).toBeGreaterThan(0);
  expect(names.filter((name) => !reported(door).includes(name))).toEqual([]);
});

test.each(["keywright/uri", "keywright/cryptoki", "keywright/x509"])("%s loads no native library", (door) => {
  const code = `await import("${door}"); console.log(process.report.getReport().sharedObjects.join("\\n"))`;
  expect(run(code)).not.toMatch(/\.node$/m);
});

test("the inside of the package is out of reach", () => {
  expect(() => run('await import("keywright/dist/cryptoki/uri.js")')).toThrow("ERR_PACKAGE_PATH_NOT_EXPORTED");
});

test("what nobody can read is not in it: no bytecode, which the build makes for the Node at hand", () => {
  expect(readdirSync(join(installed, "dist/bin")).filter((name) => !/\.js(on)?$/.test(name))).toEqual([]);
});

test("the command runs from there", () => {
  const command = join(installed, "dist/bin/keywright.js");
  expect(execFileSync(process.execPath, [command, "--help"], { encoding: "utf8" })).toContain("keywright");
});

test("a program in TypeScript finds the types of every door", { timeout: 60_000 }, () => {
  const code = doors.map(
    (door, i) => `import * as door${i} from "${door}";\nexport const of${i}: object = door${i};\n`,
  );
  const types = doors.flatMap((door, i) =>
    reported(door).map((name) => `export type { ${name} as ${name}${i} } from "${door}";\n`),
  );
  writeFileSync(join(folder, "program.ts"), [...code, ...types].join(""));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  const compilerOptions = { module: "nodenext", target: "es2023", types: ["node"], strict: true, noEmit: true };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "-p", folder], { cwd: folder, stdio: "pipe", encoding: "utf8" });
});
