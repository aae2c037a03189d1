/**
 * The paths of a declaration: a file that is written is no other's, and none that anything else lives in.
 * @module
 */
import { basename, dirname, join, relative, resolve } from "node:path";
import { realPath } from "../host/paths.ts";
import type { Fault } from "../schema/fields.ts";
import type { Declaration, KeyDeclaration } from "./declaration.ts";

type Report = (path: readonly string[], message: string, hint: string | undefined) => void;

const ELSEWHERE = "choose another path";

/** Also where two paths meet through a link. */
export function checkPaths({ tokens, keys, file }: Declaration, report: Report): void {
  const at = placesIn(dirname(resolve(file)));
  const read = new Map<string, string>();
  // A file is read through a link, and written in its place: both are in use.
  const reads = (path: string, what: string) => read.set(at(path), what).set(realPath(at(path)), what);
  reads(basename(file), "the declaration itself");
  for (const { name, pin, soPin, store, initHook } of Object.values(tokens)) {
    for (const source of [pin, soPin]) {
      if (source !== undefined && "file" in source) reads(source.file, `a PIN file of ${name}`);
    }
    if (store !== undefined) reads(store, `the store of ${name}`);
    if (initHook !== undefined) reads(initHook, `the initHook of ${name}`);
  }
  for (const { name, certificate } of Object.values(keys)) {
    if (certificate?.hook !== undefined) reads(certificate.hook, `the hook of ${name}`);
    if (certificate?.import !== undefined) reads(certificate.import, `the import file of ${name}`);
  }
  const inStore = storesOf(tokens, at);
  const taken = new Map<string, string>();
  for (const key of Object.values(keys)) {
    for (const { field, path } of written(key)) {
      const place = ["keys", key.name, "certificate", ...field];
      const other = taken.get(at(path));
      const what = read.get(at(path)) ?? inStore(at(path));
      if (what !== undefined) report(place, `${path} is ${what}, and would be lost`, ELSEWHERE);
      else if (other !== undefined) report(place, `${path} is written for ${other} already`, ELSEWHERE);
      else taken.set(at(path), key.name);
    }
  }
}

/** The files that are written for a key, and where it says so. */
function written({ certificate }: KeyDeclaration): { field: string[]; path: string }[] {
  const published = (certificate?.publish ?? []).map(({ path }, i) => ({
    field: ["publish", String(i), "path"],
    path,
  }));
  return certificate?.csr === undefined ? published : [...published, { field: ["csr"], path: certificate.csr }];
}

/** What SQLite puts beside the file of a built-in token. */
const BESIDE = /^-(?:wal|shm|journal)$/;

/** Of a path: that it is beside or in a declared store. */
function storesOf(tokens: Declaration["tokens"], at: (path: string) => string): (path: string) => string | undefined {
  const stores = Object.values(tokens).flatMap(({ name, store }) =>
    store === undefined ? [] : [at(store), realPath(at(store))].map((place) => ({ name, place })),
  );
  return (path) => {
    const store = stores.find(
      ({ place }) => path.startsWith(`${place}/`) || (path.startsWith(place) && BESIDE.test(path.slice(place.length))),
    );
    return store === undefined ? undefined : `part of the store of ${store.name}`;
  };
}

/** What is kept in the state folder, by the names that it has there; other files may lie there as well. */
const OWN = /^(?:softtoken\.db(?:-wal|-shm|-journal)?|pins\.json|(?:hooks|locks|replacements|tokens)(?:\/.*)?)$/;

/** Files that would be written over what is kept in the state folder; which folder that is, the declaration does not say. */
export function stateFaults({ keys, file }: Declaration, state: string): Fault[] {
  const at = placesIn(dirname(resolve(file)));
  const folders = new Set([resolve(state), realPath(state)]);
  return Object.values(keys).flatMap((key) =>
    written(key).flatMap(({ field, path }) => {
      const own = [...folders].some((folder) => OWN.test(relative(folder, at(path))));
      if (!own) return [];
      const message = `${path} is kept in the state folder ${state}, and would be lost`;
      const where = ["keys", key.name, "certificate", ...field].join(".");
      return [{ file, line: 0, column: 0, path: where, message, hint: ELSEWHERE }];
    }),
  );
}

/** Where a file of a path is written: its folder's real path, asked for once, and its name. */
function placesIn(folder: string): (path: string) => string {
  const folders = new Map<string, string>();
  return (path) => {
    const whole = resolve(folder, path);
    const above = dirname(whole);
    const real = folders.get(above) ?? realPath(above);
    folders.set(above, real);
    return join(real, basename(whole));
  };
}
