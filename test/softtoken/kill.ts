/**
 * Processes that write to one store, and are killed while they do: what was acknowledged must be there.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "@photostructure/sqlite";
import { build } from "esbuild";
import { softToken } from "../../src/softtoken/index.ts";
import { application, attributeOf, initialize, openSession, PIN, template } from "./plain.ts";

export interface WritersResult {
  readonly acknowledged: number;
  /** Labels that were acknowledged and are not there, or do not open. */
  readonly lost: readonly string[];
  readonly present: number;
  readonly integrity: string;
}

/**
 * @param kills how many processes are killed, with SIGKILL, each after some writes
 * @param writers how many processes write at once
 * @param objects how many objects each writes when none is killed
 */
export async function runWriters(options: {
  folder: string;
  kills: number;
  writers: number;
  objects?: number;
}): Promise<WritersResult> {
  const store = join(options.folder, "store.db");
  const own = softToken({ store, scryptCost: 10 });
  const app = await application(own);
  const slot = await initialize(app, "load");
  const script = await bundled(options.folder);
  const acknowledged: string[] = [];
  const children = new Set<ChildProcess>();
  let started = 0;
  let killed = 0;

  const start = () =>
    new Promise<void>((done, fail) => {
      started += 1;
      const count = options.objects ?? 1_000_000;
      const child = spawn(process.execPath, [script, store, String(slot), `w${started}`, String(count)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      children.add(child);
      let lines = 0;
      const last = 3 + Math.floor(Math.random() * 20);
      createInterface({ input: child.stdout! }).on("line", (label) => {
        acknowledged.push(label);
        lines += 1;
        if (options.kills > 0 && lines === last) child.kill("SIGKILL");
      });
      child.on("error", fail);
      child.on("close", (code, signal) => {
        children.delete(child);
        if (signal === "SIGKILL") killed += 1;
        else if (code !== 0) return fail(new Error(`a writer ended with ${code}`));
        if (started < options.kills) start().then(done, fail);
        else done();
      });
    });
  await Promise.all(Array.from({ length: options.writers }, start)).finally(() => rmSync(script));
  if (options.kills > 0 && killed < options.kills) throw new Error(`${killed} of ${options.kills} were killed`);

  const session = await openSession(app, slot);
  await app.call("C_Login", { session, userType: 1, pin: PIN });
  const lost: string[] = [];
  for (const label of acknowledged) {
    await app.call("C_FindObjectsInit", { session, template: template({ CKA_LABEL: label }) });
    const { objects } = await app.call("C_FindObjects", { session, max: 2 });
    await app.call("C_FindObjectsFinal", { session });
    const value = objects.length === 1 ? await attributeOf(app, session, objects[0]!, "CKA_VALUE") : undefined;
    if (Buffer.from((value as Uint8Array | undefined) ?? []).toString() !== `value of ${label}`) lost.push(label);
  }
  await app.call("C_FindObjectsInit", { session, template: template({ CKA_CLASS: 4 }) });
  const { objects } = await app.call("C_FindObjects", { session, max: 1_000_000 });
  await own.close();
  const db = new DatabaseSync(store);
  const { integrity_check: integrity } = db.prepare("PRAGMA integrity_check").get() as { integrity_check: string };
  db.close();
  return { acknowledged: acknowledged.length, lost, present: objects.length, integrity };
}

/** The writer, as one file that Node runs; it stays inside the project so that it finds its packages. */
async function bundled(folder: string): Promise<string> {
  const out = resolve(import.meta.dirname, "../../dist/test", `${folder.split("/").at(-1)}.mjs`);
  mkdirSync(resolve(out, ".."), { recursive: true });
  await build({
    entryPoints: [join(import.meta.dirname, "kill.writer.ts")],
    outfile: out,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
  });
  return out;
}
