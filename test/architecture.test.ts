/** The rooms and their one-way imports. This table is the picture in docs/architecture.md. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { parseSync } from "oxc-parser";
import { expect, test } from "vitest";

const SRC = resolve(import.meta.dirname, "../src");

/** What each room may import; a longer path is a room within a room, `*` is every room but `cli`. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  spec: [],
  codec: [],
  host: [],
  seal: ["codec"],
  cryptoki: ["spec", "codec"],
  pins: ["spec", "cryptoki", "host", "seal"],
  "native/module": ["spec", "codec", "cryptoki", "host"],
  "native/libcrypto": ["spec", "codec", "cryptoki", "host"],
  softtoken: ["spec", "codec", "cryptoki", "host", "seal", "native/libcrypto"],
  rpc: ["spec", "codec", "cryptoki"],
  schema: [],
  layers: ["spec", "codec", "cryptoki", "host", "schema"],
  x509: ["spec", "codec", "cryptoki"],
  families: ["spec", "cryptoki"],
  modules: ["spec", "codec", "host", "cryptoki", "pins", "native/module", "softtoken", "rpc", "layers", "families"],
  serving: ["spec", "cryptoki", "host", "pins", "layers", "modules", "rpc"],
  lifecycle: ["spec", "cryptoki", "pins", "schema", "x509", "families", "host"],
  doors: ["*"],
  cli: ["*"],
  "index.ts": ["*"],
};

function files(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : path.endsWith(".ts") ? [path] : [];
  });
}

function roomOf(path: string): string {
  const inside = relative(SRC, path);
  const rooms = Object.keys(MAY_IMPORT).filter((room) => inside === room || inside.startsWith(`${room}/`));
  return rooms.sort((a, b) => b.length - a.length)[0] ?? `no room for ${inside}`;
}

/** Every relative specifier of a file: static, type-only, re-exported, dynamic, and `import("…")` types. */
function imports(path: string): string[] {
  const { module, program } = parseSync(path, readFileSync(path, "utf8"));
  const found = [
    ...module.staticImports.map((i) => i.moduleRequest.value),
    ...module.staticExports.flatMap((e) => e.entries.flatMap((entry) => entry.moduleRequest?.value ?? [])),
  ];
  JSON.stringify(program, (_key, node: unknown) => {
    if (typeof node === "bigint") return null;
    const n = node as {
      type?: string;
      source?: { value?: unknown };
      argument?: { literal?: { value?: unknown } };
    } | null;
    if (n?.type === "ImportExpression" && typeof n.source?.value === "string") found.push(n.source.value);
    if (n?.type === "TSImportType" && typeof n.source?.value === "string") found.push(n.source.value);
    return node;
  });
  return found.filter((specifier) => specifier.startsWith("."));
}

const all = files(SRC);

test("there are files to look at, and each is in a room", () => {
  expect(all.length).toBeGreaterThan(15);
  expect(all.map(roomOf).filter((room) => room.startsWith("no room"))).toEqual([]);
});

test("a room imports only from the rooms listed for it", () => {
  const breaches = all.flatMap((path) => {
    const room = roomOf(path);
    const allowed = MAY_IMPORT[room] ?? [];
    return imports(path)
      .map((specifier) => ({ specifier, target: roomOf(resolve(dirname(path), specifier)) }))
      .filter(({ target }) => target !== room && !allowed.includes(target))
      .filter(({ target }) => !(allowed.includes("*") && target !== "cli"))
      .map(({ specifier }) => `${relative(SRC, path)} imports ${specifier}`);
  });
  expect(breaches).toEqual([]);
});

test("the docs draw the same table", () => {
  const text = readFileSync(resolve(SRC, "../docs/architecture.md"), "utf8");
  const rows = Array.from(text.matchAll(/^\| `([a-z0-9/]+)` \| .* \| (.*) \|$/gm), ([, room, list]) => [
    room,
    list === "-" ? [] : list!.split(", "),
  ]);
  const { "index.ts": _front, ...rooms } = MAY_IMPORT;
  expect(Object.fromEntries(rows)).toEqual(rooms);
});

test("the reader sees every kind of import", () => {
  const self = imports(join(import.meta.dirname, "support/every-import.ts"));
  expect(self.sort()).toEqual(["./a.ts", "./b.ts", "./c.ts", "./d.ts", "./e.ts", "./f.ts"]);
});
