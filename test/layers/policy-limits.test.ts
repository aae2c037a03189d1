/** Rates, daily counts and hours of a policy. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { StoredCounters } from "../../src/layers/policy/counters.ts";
import { bytes, how, PRIVATE, rvOf, signWith } from "./rig.ts";
import { under, web } from "./under.ts";

describe("limits", () => {
  const state = () => {
    const folder = mkdtempSync(join(tmpdir(), "keywright-policy-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  };

  test("a rate is of any 60 seconds, over all connections, and a query for a size is no use", async () => {
    const counters = new StoredCounters(state());
    let now = new Date("2026-11-21T12:00:30Z");
    const yaml = web("{ label: www, operations: [sign], perMinute: 2 }");
    const c = await under(yaml, { counters, now: () => now });
    const other = await under(yaml, { counters, now: () => now, rig: c.rig });
    const key = await c.handle("www", PRIVATE);
    await c.app.call("C_SignInit", { session: c.session, mechanism: how("CKM_ECDSA"), key });
    await c.app.call("C_Sign", { session: c.session, data: new Uint8Array(32), room: null });
    bytes((await c.app.call("C_Sign", { session: c.session, data: new Uint8Array(32), room: 64 })).output);
    now = new Date("2026-11-21T12:01:00Z");
    await signWith(other, key);
    expect(await rvOf(() => signWith(c, key))).toBe("CKR_FUNCTION_REJECTED");
    expect(c.refused[0]!.reason).toBe("more than 2 uses a minute are not allowed");
    now = new Date("2026-11-21T12:01:31Z");
    expect(await rvOf(() => signWith(c, key))).toBe("CKR_OK");
    expect(await rvOf(() => signWith(c, key))).toBe("CKR_FUNCTION_REJECTED");
  });

  test("a day's count outlives the process that kept it, and ends with the day of the time zone", async () => {
    const folder = state();
    let now = new Date("2026-11-21T12:00:00Z");
    const yaml = `timeZone: Asia/Tokyo\n${web("{ label: www, operations: [sign], perDay: 3 }")}`;
    const first = new StoredCounters(folder);
    const c = await under(yaml, { counters: first, now: () => now });
    const key = await c.handle("www", PRIVATE);
    await signWith(c, key);
    await signWith(c, key);
    await first.close();
    const second = await under(yaml, { counters: new StoredCounters(folder), now: () => now, rig: c.rig });
    await signWith(second, key);
    expect(await rvOf(() => signWith(second, key))).toBe("CKR_FUNCTION_REJECTED");
    expect(second.refused[0]!.reason).toBe("more than 3 uses a day are not allowed");
    now = new Date("2026-11-21T15:00:00Z");
    expect(await rvOf(() => signWith(second, key))).toBe("CKR_OK");
  });

  test("a process that dies loses what it noted ahead, and wins nothing; two share one count", async () => {
    const folder = state();
    const now = new Date("2026-11-21T12:00:00Z");
    const limits = { perDay: 200, timeZone: "UTC" };
    const uses = async (counters: StoredCounters) => {
      let count = 0;
      while ((await counters.take("k", limits, now)) === undefined) count += 1;
      return count;
    };
    await new StoredCounters(folder).take("k", limits, now);
    const [a, b] = [new StoredCounters(folder), new StoredCounters(folder)];
    const both = await Promise.all([uses(a), uses(b)]);
    expect(both[0]! + both[1]!).toBe(198);
  });

  test("a key is refused while its uses cannot be counted", async () => {
    const folder = state();
    writeFileSync(join(folder, "policy-counts.json"), "{");
    const c = await under(web("{ label: www, operations: [sign], perDay: 3 }"), {
      counters: new StoredCounters(folder),
    });
    expect(await rvOf(async () => signWith(c, await c.handle("www", PRIVATE)))).toBe("CKR_FUNCTION_REJECTED");
    expect(c.refused[0]!.reason).toContain("its uses cannot be counted: ");
  });

  test("outside its hours a key begins nothing, and what was begun does not go on", async () => {
    let now = new Date("2026-11-20T16:59:00Z");
    const yaml = `timeZone: Europe/Berlin\n${web("{ label: www, operations: [sign], hours: ['Mon-Fri 08:00-18:00'] }")}`;
    const c = await under(yaml, { now: () => now });
    const { app, session } = c;
    const key = await c.handle("www", PRIVATE);
    await signWith(c, key);
    await app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key });
    now = new Date("2026-11-20T17:00:00Z");
    const sign = () => app.call("C_Sign", { session, data: new Uint8Array(32), room: 64 });
    expect(await rvOf(sign)).toBe("CKR_FUNCTION_REJECTED");
    expect(await rvOf(() => signWith(c, key))).toBe("CKR_FUNCTION_REJECTED");
    expect(c.refused[1]!.reason).toBe("sign is not allowed outside Mon-Fri 08:00-18:00 (Europe/Berlin)");
  });
});
