/** The table of what follows from what is there. */
import { describe, expect, test } from "vitest";
import { type Count, FOLLOWS } from "../../src/lifecycle/plan/states.ts";

const COUNTS: readonly Count[] = ["absent", "one", "many", "unreadable"];
const all = COUNTS.flatMap((p) => COUNTS.flatMap((u) => COUNTS.map((c) => [p, u, c] as const)));

describe("what follows", () => {
  test("every combination has a row, and there are no others", () => {
    expect(Object.keys(FOLLOWS).sort()).toEqual(all.map((row) => row.join(" ")).sort());
  });

  test.each(all)("private %s, public %s, certificate %s", (privateKey, publicKey, certificate) => {
    const follows = FOLLOWS[`${privateKey} ${publicKey} ${certificate}`];
    const counts = [privateKey, publicKey, certificate];
    // Only a token that was read and holds nothing of the key ever leads to a new one.
    expect(follows === "generate").toBe(counts.every((count) => count === "absent"));
    expect(follows === "refuse-unreadable").toBe(counts.includes("unreadable"));
    if (counts.includes("unreadable")) return;
    expect(follows === "refuse-orphan").toBe(privateKey === "absent" && follows !== "generate");
    if (privateKey !== "absent") expect(follows === "disentangle").toBe(counts.includes("many"));
    if (follows === "adopt") expect(certificate).toBe("absent");
  });
});
