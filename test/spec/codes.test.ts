/** The tables against numbers from elsewhere: the constants of eight header files, and the headers on this machine. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CKA } from "../../src/spec/attributes.ts";
import { CKF } from "../../src/spec/flags.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import * as objects from "../../src/spec/objects.ts";
import { CKR } from "../../src/spec/returns.ts";
import { peer, peerPath } from "../support/peers.ts";
import constants from "../vectors/pkcs11-constants.json" with { type: "json" };

type Row = readonly [code: number, ...rest: unknown[]];

const EDITIONS = ["3.0", "3.1", "3.2"];

function rows(...tables: Record<string, Row>[]): [name: string, row: Row][] {
  return tables.flatMap((table) => Object.entries(table));
}

const small = Object.entries(objects).flatMap(([name, table]) =>
  name.startsWith("CK") ? [table as unknown as Record<string, Row>] : [],
);
const all = rows(CKA, CKM, CKR, CKF, ...small);
const published = new Map(constants.constants.map((constant) => [constant.name, constant]));

/** Constants that are no row here, and why. */
const NOT_ROWS = [
  /_VENDOR_DEFINED$/, // the beginning of vendors' codes, see names.ts
  /^CKV_/, // values of CKA_VALIDATION_TYPE and its like, and of CKA_VALIDATION_AUTHORITY_TYPE
  /^CKN_/, // notifications: no callback crosses the port
  /^CKS_LAST_VALIDATION_OK$/, // what C_GetSessionValidationFlags is asked for, not a session state
];

test("there are rows to compare", () => {
  expect(all.length).toBeGreaterThan(900);
});

test.each(all.map(([name, row]) => ({ name, row })))("$name has its published code and edition", ({ name, row }) => {
  const constant = published.get(name);
  expect(constant, "a name that no edition has").toBeDefined();
  expect(row[0]).toBe(constant!.value);
  expect(row.find((cell) => EDITIONS.includes(cell as string)) ?? "2.40").toBe(constant!.since);
});

test("every published constant is a row", () => {
  const names = new Set(all.map(([name]) => name));
  const missing = [...published.keys()].filter((name) => !names.has(name) && !NOT_ROWS.some((rule) => rule.test(name)));
  expect(missing).toEqual([]);
});

/** p11-kit 0.24 has these five at 0x1c0 to 0x1c4, where no edition has them. */
const WRONG_IN_P11_KIT = [
  "CKR_EXCEEDED_MAX_ITERATIONS",
  "CKR_FIPS_SELF_TEST_FAILED",
  "CKR_LIBRARY_LOAD_FAILED",
  "CKR_PIN_TOO_WEAK",
  "CKR_PUBLIC_KEY_INVALID",
];

describe.each([
  { peer: "p11-kit-headers", files: ["pkcs11.h"], atLeast: 500, wrong: WRONG_IN_P11_KIT },
  { peer: "nss-headers", files: ["pkcs11t.h", "pkcs11n.h"], atLeast: 700, wrong: [] },
] as const)("$peer", ({ peer: name, files, atLeast, wrong }) => {
  test.skipIf(!peer(name))("its numbers are ours, where both have a name", () => {
    const folder = join(peerPath(name)!, "..");
    const text = files.map((file) => readFileSync(join(folder, file), "utf8")).join("\n");
    const theirs = new Map(
      Array.from(
        text.matchAll(/^#define\s+(CK[A-Z]_\w+)\s+\(?(0x[0-9a-fA-F]+|\d+)(?:UL)?\)?\s*(?:\/\*.*)?$/gm),
        (match) => [match[1]!, Number(match[2])],
      ),
    );
    const both = all.filter(([row]) => theirs.has(row));
    expect(both.length).toBeGreaterThan(atLeast);
    const different = both.filter(([row, [code]]) => theirs.get(row) !== code).map(([row]) => row);
    expect(different.filter((row) => !wrong.includes(row as never))).toEqual([]);
  });
});
