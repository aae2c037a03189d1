/** Applications that are kept apart by processes. Needs dist. */
import { describe, expect, onTestFinished, test } from "vitest";
import { openProvider } from "../../src/modules/index.ts";
import { onePerApplication } from "../../src/modules/pool.ts";
import { hasCompiler, odd } from "../support/odd.ts";

describe.skipIf(!hasCompiler)("a pool of processes", () => {
  test("processes are started ahead, and none is given out twice", async () => {
    const library = odd();
    onTestFinished(() => library.remove());
    let made = 0;
    const pool = onePerApplication(() => {
      made += 1;
      return openProvider({ module: library.path, placement: "process", reserved: `number ${made}` });
    }, 2);
    expect(made).toBe(2);
    const labels = [];
    for (let count = 0; count < 4; count++) {
      const { cryptoki, end } = await pool.start();
      await cryptoki.call("C_Initialize", { args: {} });
      labels.push((await cryptoki.call("C_GetTokenInfo", { slot: 7 })).info.label);
      await end();
    }
    expect(labels).toEqual(["number 1", "number 2", "number 3", "number 4"]);
    expect(made).toBe(6);
    await pool.close();
  });

  test("what could not be started ahead is tried again when it is needed", async () => {
    const library = odd();
    onTestFinished(() => library.remove());
    let made = 0;
    const pool = onePerApplication(() => {
      made += 1;
      return openProvider({ module: made === 1 ? "libc.so.6" : library.path, placement: "process" });
    }, 1);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { cryptoki, end } = await pool.start();
    await cryptoki.call("C_Initialize", { args: {} });
    expect((await cryptoki.call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([7]);
    await end();
    await pool.close();
  });
});
