/**
 * Files that are written whole or not at all.
 * @module
 */
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { explainSystem, HostError } from "./errors.ts";

export interface WriteOptions {
  /** Permission bits, 0o600 by default; not lessened by the umask. */
  readonly mode?: number;
  /** Numeric owner and group; unchanged by default. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/**
 * Writes a file so that another program sees the old contents or the new, never a part: a temporary file beside it,
 * synced, renamed over it, and the folder synced.
 * @throws HostError naming the path and why; the file is then as it was
 */
export async function writeAtomic(path: string, data: Uint8Array | string, options: WriteOptions = {}): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  let file: FileHandle | undefined;
  try {
    file = await open(temporary, "wx", 0o600);
    await file.writeFile(data);
    await file.chmod(options.mode ?? 0o600);
    if (options.owner !== undefined) await file.chown(options.owner.uid, options.owner.gid);
    await file.sync();
    await file.close();
    file = undefined;
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    await file?.close().catch(() => undefined);
    await unlink(temporary).catch(() => undefined);
    throw new HostError(`cannot write ${path}: ${explainSystem(error)}`, { cause: error });
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a folder for ourselves alone (0700), and those above it. */
export async function makePrivateFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new HostError(`cannot make the folder ${path}: ${explainSystem(error)}`, { cause: error });
  }
}
