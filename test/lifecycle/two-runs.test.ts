/** Two runs at once, each with a state folder of its own: they share the locks, so they do not work on one token at once. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { withTokenLocks } from "../../src/lifecycle/token-locks.ts";
import { World } from "../support/world.ts";

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");

interface Ended {
  readonly code: number | null;
  readonly err: string;
}

async function applied(w: World, state: string): Promise<Ended> {
  const child = spawn(process.execPath, [COMMAND, "apply", "--yes", "--state", state], {
    cwd: w.folder,
    env: { ...process.env, STATE_DIRECTORY: w.path(state) },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let err = "";
  child.stderr!.on("data", (chunk: Buffer) => {
    err += chunk.toString();
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, err };
}

const KEYS = ["one", "two", "three"]
  .map((name, i) => `  ${name}: { token: demo, id: ${i + 1}, type: "RSA:3072" }\n`)
  .join("");

test("two runs with two state folders make each key once", { timeout: 120_000 }, async () => {
  const w = new World({ token: "{ module: softtoken, store: t.db, label: demo }", keys: "  {}\n" });
  onTestFinished(() => w.remove());
  w.declare('  first: { token: demo, id: 9, type: "EC:secp256r1" }\n');
  expect(await w.applied()).toEqual(["first done"]);
  w.declare(`  first: { token: demo, id: 9, type: "EC:secp256r1" }\n${KEYS}`);
  const runs = await Promise.all([applied(w, "a"), applied(w, "b")]);
  // Whoever came second waited, and then saw that its plan was of no use any more, or that nothing was left to do.
  expect(runs.map(({ code }) => code).sort()).toSatisfy(
    (codes: number[]) => codes[0] === 0 && [0, 3].includes(codes[1]!),
    JSON.stringify(runs),
  );
  expect(await w.objects()).toEqual(
    ["private", "public"].flatMap((kind) => [
      `${kind} 01 one`,
      `${kind} 02 two`,
      `${kind} 03 three`,
      `${kind} 09 first`,
    ]),
  );
});

test("locks are taken in a folder that is ours alone, or not at all", async () => {
  const before = process.env.KEYWRIGHT_LOCKS;
  const folder = mkdtempSync(join(tmpdir(), "keywright-locks-"));
  onTestFinished(() => {
    process.env.KEYWRIGHT_LOCKS = before;
    rmSync(folder, { recursive: true, force: true });
  });
  const taken = () => withTokenLocks(["pkcs11:token=x"], { purpose: "test" }, () => Promise.resolve("used"));
  process.env.KEYWRIGHT_LOCKS = join(folder, "made");
  expect(await taken()).toBe("used");
  expect(readdirSync(join(folder, "made"))).toHaveLength(1);
  mkdirSync(join(folder, "open"));
  chmodSync(join(folder, "open"), 0o777);
  process.env.KEYWRIGHT_LOCKS = join(folder, "open");
  await expect(taken()).rejects.toThrow(/open: found owner \d+, mode 777, expected owner \d+/);
  await expect(taken()).rejects.toMatchObject({ hints: [expect.stringContaining("KEYWRIGHT_LOCKS")] });
  process.env.KEYWRIGHT_LOCKS = "/proc/locks-here";
  await expect(taken()).rejects.toMatchObject({
    message: expect.stringContaining("no place for the locks on tokens"),
    hints: [expect.stringContaining("KEYWRIGHT_LOCKS")],
  });
});

test.skipIf(process.getuid?.() !== 0)(
  "a lock folder that is there and cannot be written is passed over, or told with what to set",
  () => {
    const w = new World({ token: "{ module: softtoken, store: t.db, label: demo }", keys: "  {}\n" });
    onTestFinished(() => w.remove());
    w.declare('  k: { token: demo, id: 1, type: "EC:secp256r1" }\n');
    const mounts =
      "mount -t tmpfs tmpfs /var/lib && mkdir -p -m 700 /var/lib/keywright/locks && mount -o remount,ro /var/lib";
    const { KEYWRIGHT_LOCKS: _, ...env } = process.env;
    const run = (more: NodeJS.ProcessEnv) =>
      spawnSync(
        "unshare",
        ["-m", "sh", "-c", `${mounts} && exec "$@"`, "sh", process.execPath, COMMAND, "apply", "--yes"],
        {
          cwd: w.folder,
          env: { ...env, STATE_DIRECTORY: w.path("state"), ...more },
          encoding: "utf8",
        },
      );
    const refused = run({ KEYWRIGHT_LOCKS: "/var/lib/keywright/locks" });
    if (refused.status === 1 && /^unshare: .*not permitted/.test(refused.stderr)) return;
    expect(refused.stderr).toContain(
      "no place for the locks on tokens: cannot write the folder /var/lib/keywright/locks: the file system is read-only",
    );
    expect(refused.stderr).toContain("KEYWRIGHT_LOCKS");
    expect(run({})).toMatchObject({ status: 0 });
    expect(readdirSync(w.path("state/locks")).filter((name) => name.startsWith("token-"))).not.toEqual([]);
  },
);
