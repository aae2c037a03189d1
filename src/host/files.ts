/**
 * Files that are written whole or not at all.
 * @module
 */
import { randomBytes } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { explainSystem, HostError, systemCode } from "./errors.ts";
import { openForReading, readOpened } from "./reading.ts";

/**
 * Reads a file, or a pipe. Not by Node's function of this name: waiting for a thread to open it, one to read it and one to
 * close it takes longer than that itself, and a pipe that nobody writes to would keep the process from ending.
 * @param most no more bytes than these are read
 * @throws a system error; HostError for a pipe that nobody writes to
 */
export async function readFile(path: string, most?: number): Promise<Buffer> {
  const fd = openForReading(path);
  try {
    return await readOpened(fd, most);
  } finally {
    closeSync(fd);
  }
}

export interface WriteOptions {
  /** Permission bits, 0o600 by default; not lessened by the umask. */
  readonly mode?: number;
  /** Numeric owner and group; unchanged by default. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/** What a temporary file has in its name, so that two runs do not meet. */
const RANDOM_BYTES = 6;
const RANDOM = new RegExp(`^[0-9a-f]{${RANDOM_BYTES * 2}}$`);
/** What is younger may be another run's that is just writing. In ms. */
const LEFT_AFTER = 3_600_000;

/**
 * A name for a temporary file that no other run has. What killed runs left under such names is removed: regular files of
 * ours that are an hour old.
 * @param start of the path, before what makes it unique
 * @param ending of it
 * @param beside endings of what is written beside it
 */
export function temporaryName(start: string, ending: string, beside: readonly string[] = []): string {
  try {
    for (const left of leftovers(start, [ending, ...beside])) rmSync(left, { force: true });
  } catch {
    // They are in nobody's way; what is to be written may be.
  }
  return `${start}${randomBytes(RANDOM_BYTES).toString("hex")}${ending}`;
}

function leftovers(start: string, endings: readonly string[]): string[] {
  const folder = dirname(start);
  const first = basename(start);
  return readdirSync(folder)
    .filter((name) => {
      const ending = endings.find((one) => name.endsWith(one));
      if (ending === undefined || !name.startsWith(first)) return false;
      return RANDOM.test(name.slice(first.length, name.length - ending.length));
    })
    .map((name) => join(folder, name))
    .filter((path) => {
      const status = lstatSync(path, { throwIfNoEntry: false });
      return status?.isFile() === true && status.uid === process.getuid?.() && Date.now() - status.mtimeMs > LEFT_AFTER;
    });
}

/** The one thing with files that is worth a thread: it waits for the disk. */
const sync = promisify(fsync);

/**
 * Writes a file so that another program sees the old contents or the new, never a part: a temporary file beside it,
 * synced, renamed over it, and the folder synced.
 * @throws HostError naming the path and why; the file is then as it was
 */
export async function writeAtomic(path: string, data: Uint8Array | string, options: WriteOptions = {}): Promise<void> {
  const folder = dirname(path);
  const temporary = temporaryName(join(folder, `.${basename(path)}.`), ".tmp");
  let file: number | undefined;
  try {
    file = openSync(temporary, "wx", 0o600);
    writeFileSync(file, data);
    fchmodSync(file, options.mode ?? 0o600);
    if (options.owner !== undefined) fchownSync(file, options.owner.uid, options.owner.gid);
    await sync(file);
    closeSync(file);
    file = undefined;
    renameSync(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    try {
      if (file !== undefined) closeSync(file);
      rmSync(temporary, { force: true });
    } catch {
      // What is told is what went wrong first.
    }
    const hints = ["ENOSPC", "EDQUOT"].includes(systemCode(error) ?? "")
      ? ["make room and run it again; what was there before is as it was"]
      : ["look at the owner and mode of its folder"];
    throw new HostError(`cannot write ${path}: ${explainSystem(error)}`, { cause: error, hints });
  }
}

/**
 * Opens a file that is for ourselves alone, without emptying it; a new one is 0600. A link is followed; a device or pipe
 * is what it is.
 * @param flags of open(2), but for O_CREAT
 * @returns its descriptor, and its permission bits where it is a regular file
 * @throws a system error; HostError for a regular file of another user, who may open it to others at any time
 */
export function openOwnFile(path: string, flags: number): { fd: number; mode: number | undefined } {
  const fd = openSync(path, flags | constants.O_CREAT, 0o600);
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) return { fd, mode: undefined };
    const user = process.geteuid?.();
    if (user !== undefined && status.uid !== user) {
      throw new HostError(`${path}: found owner ${status.uid}, expected owner ${user}`, {
        hints: ["name another file: its owner could read what is written there"],
      });
    }
    return { fd, mode: status.mode & 0o777 };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Waits until the disk has the names in a folder. */
export async function syncFolder(folder: string): Promise<void> {
  const fd = openSync(folder, "r");
  try {
    await sync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes a folder for ourselves alone (0700), and those above it. @throws HostError */
export function makePrivateFolder(path: string): void {
  makeFolder(path, 0o700);
}

/** @throws HostError for a folder in which nothing can be made: by its mode, or since the file system is read-only */
export function requireWritableFolder(path: string): void {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new HostError(`cannot write the folder ${path}: ${explainSystem(error)}`, { cause: error });
  }
}

/**
 * @param otherwise what else can be done about it
 * @throws HostError for a folder of another user, or one that others can write to
 */
export function requireOwnFolder(path: string, otherwise: string): void {
  const { uid, mode } = statSync(path);
  const user = process.getuid?.();
  if (user === undefined || (uid === user && (mode & 0o022) === 0)) return;
  const found = `owner ${uid}, mode ${(mode & 0o7777).toString(8)}`;
  throw new HostError(`${path}: found ${found}, expected owner ${user}, and nobody else who can write to it`, {
    hints: [`chmod 700 ${path}, if it is yours; else ${otherwise}`],
  });
}

/**
 * Refuses a folder below one in which everybody can rename it: another could then stand in its place.
 * @throws HostError naming the folder above
 */
export function requireSafeAbove(path: string, otherwise: string): void {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const { mode } = statSync(folder);
    const isSticky = (mode & 0o1000) !== 0;
    if ((mode & 0o002) !== 0 && !isSticky) {
      throw new HostError(`${folder}: everybody can write to it, and so put another folder in the place of ${path}`, {
        hints: [`chmod o-w ${folder}, if it is yours; else ${otherwise}`],
      });
    }
    if (folder === dirname(folder)) return;
  }
}

/**
 * Makes a folder, and those above it. Level by level: Node's own recursive mkdir never ends where a file system takes no
 * folder and says that there is none (/proc).
 * @param mode permission bits, lessened by the umask
 * @throws HostError
 */
export function makeFolder(path: string, mode = 0o777): void {
  const missing: string[] = [];
  try {
    for (let folder = path; !isFolder(folder); folder = dirname(folder)) missing.unshift(folder);
    for (const folder of missing) makeOne(folder, mode);
  } catch (error) {
    throw new HostError(`cannot make the folder ${path}: ${explainSystem(error)}`, { cause: error });
  }
}

function makeOne(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    // Another process may have made it meanwhile.
    if (systemCode(error) !== "EEXIST") throw error;
  }
}

/** @throws a system error for anything else that stands there */
function isFolder(path: string): boolean {
  try {
    // A path with a slash at its end is a folder, or an error.
    accessSync(join(path, "/"));
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT" && path !== dirname(path)) return false;
    throw error;
  }
}
