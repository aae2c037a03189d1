/** The functions' places in their lists, against NSS's header. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FUNCTIONS, type FunctionRow } from "../../src/spec/functions.ts";
import { peer, peerPath } from "../support/peers.ts";

const rows: [string, FunctionRow][] = Object.entries(FUNCTIONS);

test("every place in the lists is taken once, in order", () => {
  const places = rows.map(([, { index }]) => index);
  expect(places).toEqual([...new Set(places)].sort((a, b) => a - b));
});

test("what the loader calls itself, and what calls back, is not listed", () => {
  const listed = new Set(rows.map(([, { index }]) => index));
  const free = Array.from({ length: 104 }, (_, i) => i).filter((i) => !listed.has(i));
  // C_GetFunctionList, C_GetInterfaceList, C_GetInterface; C_AsyncComplete, C_AsyncGetID, C_AsyncJoin.
  expect(free).toEqual([3, 68, 69, 99, 100, 101]);
});

test.skipIf(!peer("nss-headers"))("the places are those of pkcs11f.h, which makes the lists", () => {
  const header = readFileSync(join(peerPath("nss-headers")!, "../pkcs11f.h"), "utf8");
  const order = Array.from(header.matchAll(/^CK_PKCS11_FUNCTION_INFO\((C_\w+)\)/gm), (match) => match[1]);
  expect(order.length).toBeGreaterThanOrEqual(92);
  const known = rows.filter(([, { index }]) => index < order.length);
  expect(known.map(([name, { index }]) => [name, order[index]])).toEqual(known.map(([name]) => [name, name]));
});

test.skipIf(!peer("nss-headers"))("a row expands to as many C arguments as the prototype has", () => {
  const header = readFileSync(join(peerPath("nss-headers")!, "../pkcs11f.h"), "utf8").replaceAll(
    /\/\*[\s\S]*?\*\//g,
    "",
  );
  const prototypes = new Map(
    Array.from(
      header.matchAll(/^CK_PKCS11_FUNCTION_INFO\((C_\w+)\)\s*#ifdef CK_NEED_ARG_LIST\s*\(([^)]*)\)/gm),
      (match) => [match[1]!, match[2]!.split(",").length],
    ),
  );
  const two = new Set(["bytes", "pin", "username", "template", "requests", "room", "parameter"]);
  const width = ({ in: given, out }: FunctionRow) => {
    const outputs = Object.values(out).filter((kind) => kind !== "output" && kind !== "values" && kind !== "random");
    const inputs = Object.values(given).reduce((sum, kind) => sum + (two.has(kind) ? 2 : kind === "count" ? 2 : 1), 0);
    return inputs + outputs.reduce((sum, kind) => sum + (kind === "ulongs" ? 2 : 1), 0);
  };
  const known = rows.filter(([name]) => prototypes.has(name) && name !== "C_WaitForSlotEvent");
  expect(known.length).toBeGreaterThan(80);
  expect(known.map(([name, row]) => [name, width(row)])).toEqual(known.map(([name]) => [name, prototypes.get(name)]));
});
