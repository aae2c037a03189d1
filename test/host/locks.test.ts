import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { holdLock, type LockOptions, withLocks } from "../../src/host/locks.ts";

let options: LockOptions;
beforeEach(() => {
  options = { folder: mkdtempSync(join(tmpdir(), "keywright-locks-")), purpose: "a test" };
});
afterEach(() => rmSync(options.folder, { recursive: true }));

test("those who want one lock get it in the order in which they came, one at a time", async () => {
  const order: number[] = [];
  let inside = 0;
  const want = (i: number) =>
    withLocks(["one"], options, async () => {
      inside += 1;
      expect(inside).toBe(1);
      order.push(i);
      await Promise.resolve();
      inside -= 1;
    });
  await Promise.all(Array.from({ length: 12 }, (_, i) => want(i)));
  expect(order).toEqual(Array.from({ length: 12 }, (_, i) => i));
});

test("a lock that this process keeps is refused after a while, and who comes later gets it once it is free", async () => {
  const release = await holdLock("one", options);
  const refused = withLocks(["one"], { ...options, waitMs: 30 }, async () => "taken");
  const later = withLocks(["one"], options, async () => "taken later");
  await expect(refused).rejects.toThrow(/one\.lock stays locked by process \d+: a test/);
  release();
  expect(await later).toBe("taken later");
  expect(await withLocks(["one"], options, async () => "free")).toBe("free");
});
