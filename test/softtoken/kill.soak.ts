/** 200 kills under load. Run with: npx vitest run --config test/softtoken/soak.config.ts */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runWriters } from "./kill.ts";

test("200 kills under load lose no acknowledged object and corrupt nothing", { timeout: 600_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "keywright-soak-"));
  try {
    const result = await runWriters({ folder, kills: 200, writers: 2 });
    expect(result.lost).toEqual([]);
    expect(result.integrity).toBe("ok");
    expect(result.acknowledged).toBeGreaterThan(600);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
