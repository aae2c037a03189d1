import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { expect, onTestFinished, test } from "vitest";
import { Database } from "../../src/softtoken/store/database.ts";
import { Busy } from "../../src/softtoken/store/errors.ts";
import { Patience } from "../../src/softtoken/store/patience.ts";
import { folder } from "./rig.ts";

function patience(): { waits: Patience; path: string } {
  const path = join(folder(), "store.db");
  const db = Database.open(path, "create");
  onTestFinished(() => db.close());
  return { waits: new Patience(db), path };
}

/** Throws Busy so often, then answers. */
function busy<T>(times: number, answer: () => T): () => T {
  let left = times;
  return () => {
    left -= 1;
    if (left >= 0) throw new Busy();
    return answer();
  };
}

test("work that is not busy is done at once", () => {
  expect(patience().waits.write(() => 5)).toBe(5);
});

test("work in its turn may wait for the store again later, and does not wait for itself", async () => {
  const { waits } = patience();
  const later = async () => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return waits.write(busy(2, () => "inner"));
  };
  expect(await waits.write(busy(1, later))).toBe("inner");
});

test("an error other than Busy ends the waiting, and the next one has its turn", async () => {
  const { waits } = patience();
  const failing = waits.write(
    busy(1, () => {
      throw new Error("no");
    }),
  );
  const next = waits.write(() => "next");
  await expect(failing).rejects.toThrow("no");
  expect(await next).toBe("next");
});

test("while somebody waits, whoever comes later does not write first", async () => {
  const { waits, path } = patience();
  const order: string[] = [];
  const insert = (name: string) => () => {
    waits.db.transaction(() => order.push(name));
    return name;
  };
  const blocker = new DatabaseSync(path);
  blocker.exec("BEGIN IMMEDIATE");
  const first = waits.write(insert("first"));
  blocker.exec("COMMIT");
  blocker.close();
  // The store is free again, but this one was not the first to ask for it.
  expect(insert("too early")).toThrow(Busy);
  const second = waits.write(insert("second"));
  await Promise.all([first, second]);
  expect(order).toEqual(["first", "second"]);
  expect(insert("now")()).toBe("now");
});
