/** What is left in the memory of a call. */
import { expect, test } from "vitest";
import { utf8 } from "../../../src/codec/bytes.ts";
import { Arena } from "../../../src/native/module/arena.ts";
import type { Calling, CFunction } from "../../../src/native/module/calling.ts";
import { PLANS } from "../../../src/native/module/plans.ts";
import { CKA } from "../../../src/spec/attributes.ts";

const SECRET = utf8("a PIN or a key");

/** Makes a call whose C function only looks at the memory; answers whether the secret was there then, and is now. */
function secretIn(
  fn: keyof typeof PLANS,
  values: Record<string, unknown>,
  rv: number,
): [during: boolean, after: boolean] {
  const arena = new Arena(0x1000);
  const has = () => Buffer.from(arena.bytes).includes(Buffer.from(SECRET));
  let during = false;
  const calling: Calling = {
    arena: () => arena,
    invoke() {
      during = has();
      return rv;
    },
  };
  try {
    PLANS[fn].run(calling, (() => 0) as unknown as CFunction, values);
  } catch {
    // a refused PIN is to be wiped as well
  }
  return [during, has()];
}

test.each([
  ["an accepted PIN", "C_Login", { session: 1, userType: 1, pin: SECRET }, 0],
  ["a refused PIN", "C_Login", { session: 1, userType: 1, pin: SECRET }, 0xa0],
  ["an old and a new PIN", "C_SetPIN", { session: 1, oldPin: SECRET, newPin: SECRET }, 0],
  ["a key's value", "C_CreateObject", { session: 1, template: [{ type: CKA.CKA_VALUE[0], value: SECRET }] }, 0],
  ["plaintext", "C_Encrypt", { session: 1, data: SECRET, room: 32 }, 0],
] as const)("%s is gone after the call", (_what, fn, values, rv) => {
  expect(secretIn(fn, values, rv)).toEqual([true, false]);
});

test("a value that was read is gone, too", () => {
  const arena = new Arena(0x4000);
  const calling: Calling = {
    arena: () => arena,
    invoke() {
      // Where the module would write: the rows come first, then their rooms.
      arena.bytes.set(SECRET, arena.bytes.length / 2);
      arena.bytes.set(SECRET, 24);
      return 0;
    },
  };
  const requests = [{ type: CKA.CKA_VALUE[0], room: SECRET.length }];
  PLANS.C_GetAttributeValue.run(calling, (() => 0) as unknown as CFunction, { session: 1, object: 1, requests });
  expect(arena.bytes.indexOf(SECRET[0]!, 0)).toBe(arena.bytes.length / 2);
});
