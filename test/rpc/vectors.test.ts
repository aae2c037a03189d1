/** The captured frames of p11-kit 0.24.1, 0.25.5 and 0.26.4 are read and written back, byte for byte. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fromHex, toHex } from "../../src/codec/bytes.ts";
import { type Dialect, dialectOf } from "../../src/rpc/dialect.ts";
import { encodeFrame, type Frame, FrameReader } from "../../src/rpc/frames.ts";
import { decodeRequest, decodeResponse, encodeRequest, encodeResponse, type Request } from "../../src/rpc/messages.ts";
import { CALLS } from "../../src/spec/calls.ts";
import { mechanismCode } from "../../src/spec/mechanisms.ts";
import { LAID_OUT, RELEASES, WITHOUT_PARAMETER } from "../../src/spec/wire-mechanisms.ts";

interface Connection {
  p11kit: string;
  connection: number;
  offered: number;
  answered: number;
  frames: { dir: "request" | "response"; call: string; id: number; hex: string }[];
}

const vector = (name: string) =>
  JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8")) as unknown;
const connections = vector("p11-kit-rpc-vectors") as Connection[];
const tables = vector("p11-kit-rpc-tables") as {
  calls: { id: number; name: string; request: string; response: string }[];
  mechanisms: Record<string, { noParameter: Record<string, string>; parameter: Record<string, { value: string }> }>;
};

describe.each(connections)("p11-kit $p11kit, connection $connection", ({ offered, frames }) => {
  test(`${frames.length} frames`, () => {
    const dialect = dialectOf(offered);
    let asked: (Request & { dialect: Dialect }) | undefined;
    for (const { dir, call, hex } of frames) {
      const bytes = fromHex(hex)!;
      const [frame, ...others] = new FrameReader().take(bytes) as [Frame, ...Frame[]];
      expect(others).toEqual([]);
      expect(toHex(encodeFrame(frame))).toBe(hex);
      if (dir === "request") {
        asked = decodeRequest(frame.body, dialect);
        expect(asked.call).toBe(call);
        expect(asked.dialect).toEqual(dialect);
        expect(toHex(encodeRequest(asked, dialect))).toBe(toHex(frame.body));
      } else {
        const answer = decodeResponse(frame.body, asked!, dialect);
        expect("rv" in answer).toBe(call === "ERROR");
        expect(toHex(encodeResponse(asked!, answer, dialect))).toBe(toHex(frame.body));
      }
    }
  });
});

test("there are 798 of them", () => {
  expect(connections.reduce((sum, { frames }) => sum + frames.length, 0)).toBe(798);
});

test("the calls are those of the reference", () => {
  const ours = Object.entries(CALLS).map(([name, [id, request, response]]) => ({ id, name, request, response }));
  expect(ours).toEqual(tables.calls.slice(1));
});

test("the mechanisms of each release are those of the reference", () => {
  const expected = Object.values(tables.mechanisms);
  for (const [i, release] of RELEASES.entries()) {
    const { noParameter, parameter } = expected[i]!;
    const sorted = (codes: Iterable<number>) => [...codes].sort((a, b) => a - b);
    expect(sorted(WITHOUT_PARAMETER[release])).toEqual(sorted(Object.values(noParameter).map(Number)));
    expect(sorted(LAID_OUT[release])).toEqual(sorted(Object.values(parameter).map(({ value }) => Number(value))));
    for (const [name, code] of Object.entries(noParameter)) {
      if (!name.includes("IBM")) expect(mechanismCode(name)).toBe(Number(code));
    }
  }
});
