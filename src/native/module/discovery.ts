/**
 * The PKCS#11 modules of this machine: where they usually lie, and what p11-kit was told of.
 * @module
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { basename, isAbsolute, join } from "node:path";

const SUFFIX: Readonly<Partial<Record<NodeJS.Platform, string>>> = { darwin: ".dylib", win32: ".dll" };

/** What a library's name ends with here: `.so`, `.dylib`, `.dll`. */
const LIBRARY_SUFFIX: string = SUFFIX[process.platform] ?? ".so";

/** Modules by the beginning of their file name; a version may follow the suffix. */
const KNOWN = [
  "libsofthsm2",
  "libtpm2_pkcs11",
  "libsoftokn3",
  "opensc-pkcs11",
  "libykcs11",
  "yubihsm_pkcs11",
  "p11-kit-proxy",
  "p11-kit-client",
  "p11-kit-trust",
  "libkryoptic_pkcs11",
  "libeTPkcs11",
  "libcs_pkcs11",
  "libCryptoki2",
  "libcknfast",
];

/** Where libraries lie; the subfolders are looked into as well. */
const ROOTS = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/opt/homebrew/lib", "/usr/lib32"];
const SUBFOLDERS = ["", "pkcs11", "softhsm", "nss"];

/** What p11-kit reads: one `*.module` file per module, with a line `module: path`. */
const P11_KIT_FOLDERS = ["/usr/share/p11-kit/modules", "/etc/pkcs11/modules"];

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // not there, or not ours to read: there is nothing to list
  }
}

/** `/usr/lib`, `/usr/lib/x86_64-linux-gnu`, … and their subfolders for modules. */
function folders(): string[] {
  const libraries = ROOTS.flatMap((root) => [
    root,
    ...entries(root)
      .filter((name) => /-(linux-gnu\w*|linux-musl\w*)$/.test(name))
      .map((name) => join(root, name)),
  ]);
  return libraries.flatMap((library) => SUBFOLDERS.map((sub) => join(library, sub)));
}

function isKnown(file: string): boolean {
  return KNOWN.some((name) => file.startsWith(name)) && file.includes(LIBRARY_SUFFIX);
}

function registered(): string[] {
  return P11_KIT_FOLDERS.flatMap((folder) =>
    entries(folder)
      .filter((file) => file.endsWith(".module"))
      .flatMap((file) => /^\s*module:\s*(\S.*?)\s*$/m.exec(readFileSync(join(folder, file), "utf8"))?.[1] ?? [])
      .map((path) => (isAbsolute(path) ? path : (findLibrary(path) ?? ""))),
  ).filter((path) => path !== "" && existsSync(path));
}

/** Every PKCS#11 module found, each library once, by path. */
export function installedModules(): string[] {
  const found = folders().flatMap((folder) =>
    entries(folder)
      .filter(isKnown)
      .map((file) => join(folder, file))
      .filter((path) => existsSync(path)),
  );
  const byRealPath = new Map<string, string>();
  for (const path of [...found, ...registered()]) {
    const real = realpathSync(path);
    if (!byRealPath.has(real)) byRealPath.set(real, path);
  }
  return [...byRealPath.values()].sort();
}

/**
 * The path of a library given by its bare name, with or without `lib`, suffix and version; undefined if the usual
 * folders have none of that name. A path with a folder is answered as it is.
 */
export function findLibrary(name: string): string | undefined {
  if (basename(name) !== name) return name;
  const names = [name, `${name}${LIBRARY_SUFFIX}`, `lib${name}${LIBRARY_SUFFIX}`];
  const places = folders();
  for (const file of names) {
    const path = places.map((folder) => join(folder, file)).find((candidate) => existsSync(candidate));
    if (path !== undefined) return path;
  }
  return places
    .flatMap((folder) => entries(folder).map((file) => join(folder, file)))
    .find((path) => names.slice(1).some((file) => basename(path).startsWith(`${file}.`)));
}
