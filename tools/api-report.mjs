// Writes etc/keywright.api.md: what the package's doors export, with the declarations that it is made of, from the types
// in dist/. With --check, compares instead, so that no change of the public API goes unseen.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSync } from "oxc-parser";

const root = fileURLToPath(new URL("..", import.meta.url));
const REPORT = join(root, "etc/keywright.api.md");
/** The standard's tables: hundreds of rows, which test/spec compares with published ones. */
const TABLES = join(root, "dist/spec/");

const files = new Map();

/** What a file of types declares, imports and exports, by name. */
function read(path) {
  const known = files.get(path);
  if (known !== undefined) return known;
  const text = readFileSync(path, "utf8");
  const { program, comments } = parseSync(path, text);
  const file = { declared: new Map(), imported: new Map(), exported: new Map(), all: [] };
  files.set(path, file);
  const target = (specifier) =>
    specifier.startsWith(".") ? resolve(dirname(path), specifier.replace(/\.ts$/, ".d.ts")) : undefined;
  const declare = (node, start) => {
    for (const name of namesOf(node)) file.declared.set(name, { node, source: bare(text, comments, start, node.end) });
  };
  for (const node of program.body) {
    if (node.type === "ImportDeclaration") {
      const from = target(node.source.value);
      for (const one of node.specifiers) {
        if (from !== undefined) file.imported.set(one.local.name, { from, name: one.imported?.name });
      }
    } else if (node.type === "ExportAllDeclaration") file.all.push(target(node.source.value));
    else if (node.type === "ExportNamedDeclaration" && node.declaration !== null) {
      declare(node.declaration, node.declaration.start);
      for (const name of namesOf(node.declaration)) file.exported.set(name, { from: path, name });
    } else if (node.type === "ExportNamedDeclaration") {
      const from = node.source === null ? path : target(node.source.value);
      for (const one of node.specifiers) file.exported.set(one.exported.name, { from, name: one.local.name });
    } else declare(node, node.start);
  }
  return file;
}

function namesOf(node) {
  if (node.type === "VariableDeclaration") return node.declarations.map(({ id }) => id.name);
  return node.id === undefined || node.id === null ? [] : [node.id.name];
}

/** A declaration's text without comments. */
function bare(text, comments, start, end) {
  let out = "";
  let at = start;
  for (const comment of comments.filter((one) => one.start >= start && one.end <= end)) {
    out += text.slice(at, comment.start);
    at = comment.end;
  }
  return (out + text.slice(at, end))
    .replaceAll(/[ \t]+$/gm, "")
    .replaceAll(/\n{2,}/g, "\n")
    .replace(/^declare /, "");
}

/** Every name that a door exports, and where it is declared. */
function exportsOf(path) {
  const { exported, all } = read(path);
  return new Map([
    ...all.flatMap((from) => [...exportsOf(from)]),
    ...[...exported].map(([n, one]) => [n, origin(one)]),
  ]);
}

/** Follows re-exports to the declaration. */
function origin({ from, name }) {
  const { declared, exported, imported, all } = read(from);
  if (declared.has(name)) return { from, name };
  const next = exported.get(name) ?? imported.get(name);
  if (next !== undefined && !(next.from === from && next.name === name)) return origin(next);
  const through = all.map((path) => exportsOf(path).get(name)).find((one) => one !== undefined);
  if (through === undefined) throw new Error(`${relative(root, from)} exports ${name}, which is declared nowhere`);
  return through;
}

/** The project's own declarations that a declaration mentions. */
function mentioned({ from, name }) {
  const { declared, imported } = read(from);
  const found = [];
  JSON.stringify(declared.get(name).node, (_key, node) => {
    if (typeof node === "bigint") return null;
    if (node?.type === "Identifier" && imported.has(node.name)) found.push(imported.get(node.name));
    else if (node?.type === "Identifier" && node.name !== name && declared.has(node.name))
      found.push({ from, name: node.name });
    return node;
  });
  return found.filter((one) => one.name !== undefined).map(origin);
}

const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const doors = Object.entries(exports).filter(([, target]) => target.types !== undefined);
const reached = new Map();
const waiting = doors.flatMap(([, { types }]) => [...exportsOf(join(root, types)).values()]);
for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
  const key = `${relative(join(root, "dist"), one.from).replace(/\.d\.ts$/, "")}: ${one.name}`;
  if (reached.has(key) || one.from.startsWith(TABLES)) continue;
  reached.set(key, read(one.from).declared.get(one.name).source);
  waiting.push(...mentioned(one));
}

const report = [
  "# What the package exports",
  "",
  "Written by `npm run api` from the types that are published; `npm run check` compares. The standard's tables are left out.",
  "",
  ...doors.flatMap(([path, { types }]) => [
    `- \`${path.replace(/^\./, "keywright")}\`: ${[...exportsOf(join(root, types)).keys()].sort().join(", ")}`,
  ]),
  "",
  ...[...reached]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([key, source]) => [`## ${key}`, "", "```ts", source, "```", ""]),
].join("\n");

if (!process.argv.includes("--check")) writeFileSync(REPORT, report);
else if (readFileSync(REPORT, "utf8") !== report) {
  console.error(
    "the public API is not as etc/keywright.api.md says: npm run api, and look at what changed (git diff etc)",
  );
  process.exit(1);
}
