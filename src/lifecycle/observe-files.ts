/**
 * Observing files: published ones, requests, certificates to import, hooks.
 * @module
 */
import { createHash } from "node:crypto";
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { findOwner } from "../host/accounts.ts";
import { explainSystem, HostError, systemCode } from "../host/errors.ts";
import { readFile } from "../host/files.ts";
import { fingerprint, firstFingerprint, readCertificates } from "../x509/read.ts";
import { requestInfoOf } from "../x509/requests.ts";
import type { Declaration } from "./declaration.ts";
import type { Observation, SeenFile, SeenImport } from "./observation.ts";

/** Looks at every file that a declaration names beside its tokens. @param folder where its relative paths start from */
export async function observeFiles(
  { keys }: Declaration,
  folder: string,
): Promise<Pick<Observation, "files" | "imports" | "requests" | "brokenHooks">> {
  const files: Record<string, SeenFile> = {};
  const imports: Record<string, SeenImport> = {};
  const requests: Record<string, string> = {};
  const brokenHooks: Record<string, string> = {};
  for (const { certificate } of Object.values(keys)) {
    for (const { path, owner } of certificate?.publish ?? []) {
      const whole = resolve(folder, path);
      files[whole] = await observeFile(whole, owner);
    }
    if (certificate?.csr !== undefined) {
      const whole = resolve(folder, certificate.csr);
      const info = await observeRequest(whole);
      if (info !== undefined) requests[whole] = info;
    }
    if (certificate?.import !== undefined) {
      const whole = resolve(folder, certificate.import);
      imports[whole] = await observeImport(whole);
    }
    if (certificate?.hook !== undefined) {
      const whole = resolve(folder, certificate.hook);
      const why = whyNotRunnable(whole);
      if (why !== undefined) brokenHooks[whole] = why;
    }
  }
  return { files, imports, requests, brokenHooks };
}

/** A published file, and whether it could be written. */
async function observeFile(path: string, owner: string | undefined): Promise<SeenFile> {
  try {
    const blocked = await whyNotWritable(path, owner);
    const why = blocked === undefined ? {} : { blocked };
    // Small files, one after the other: waiting for a thread at each would take longer than reading.
    const status = statSync(path, { throwIfNoEntry: false });
    if (status === undefined) return { state: "absent", ...why };
    if (!status.isFile() && !status.isDirectory()) return { state: "unreadable", error: "it is no file" };
    const contents = readFileSync(path);
    const sha256 = createHash("sha256").update(contents).digest("hex");
    const first = firstFingerprint(contents);
    const owned = owner === undefined || blocked !== undefined || owns(await findOwner(owner), status);
    return { state: "present", sha256, ...(first && { first }), mode: status.mode & 0o777, owned, ...why };
  } catch (error) {
    return { state: "unreadable", error: explainSystem(error) };
  }
}

function owns(owner: { uid: number; gid: number }, { uid, gid }: { uid: number; gid: number }): boolean {
  return (owner.uid === -1 || owner.uid === uid) && (owner.gid === -1 || owner.gid === gid);
}

/** Why a file could not be put there: an owner that this machine does not know, a folder that is closed. */
async function whyNotWritable(path: string, owner: string | undefined): Promise<string | undefined> {
  try {
    if (owner !== undefined) await findOwner(owner);
  } catch (error) {
    if (error instanceof HostError) return error.message;
    throw error;
  }
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    try {
      // A path with a slash at its end is a folder, or an error.
      accessSync(join(folder, "/"), constants.W_OK | constants.X_OK);
      return undefined;
    } catch (error) {
      const above = systemCode(error) === "ENOENT" && folder !== dirname(folder);
      if (!above) return `${folder}: ${explainSystem(error)}`;
    }
  }
}

/** A file that is no request, or cannot be read, is written anew. */
async function observeRequest(path: string): Promise<string | undefined> {
  const contents = await readFile(path).catch(() => undefined);
  const info = contents === undefined ? undefined : requestInfoOf(contents);
  return info === undefined ? undefined : fingerprint(info);
}

async function observeImport(path: string): Promise<SeenImport> {
  try {
    const [first, ...chain] = readCertificates(await readFile(path)).map(({ der }) =>
      Buffer.from(der).toString("base64"),
    );
    return { state: "present", der: first!, chain };
  } catch (error) {
    return systemCode(error) === "ENOENT" ? { state: "absent" } : { state: "unreadable", error: explainSystem(error) };
  }
}

/** Why a program cannot be run; undefined when it can. */
function whyNotRunnable(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return "it is no file";
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    return explainSystem(error);
  }
}
