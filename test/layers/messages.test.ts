/**
 * The message functions of 3.0 under the layers: one Init, many uses of the key. No token here has them, so that these
 * are answered above the built-in one, which has the key.
 */
import { expect, test } from "vitest";
import type { Cryptoki, FunctionName } from "../../src/cryptoki/port.ts";
import type { UseEntry } from "../../src/layers/audit/lines.ts";
import { recordUses } from "../../src/layers/audit/record.ts";
import { confirmUses } from "../../src/layers/confirm/confirm.ts";
import { Confirmer } from "../../src/layers/confirm/confirmer.ts";
import { StoredCounters } from "../../src/layers/policy/counters.ts";
import { enforcePolicy } from "../../src/layers/policy/enforce.ts";
import { readPolicy } from "../../src/layers/policy/policy.ts";
import { type Connection, connect, how, PRIVATE, rvOf, tokenWithKeys } from "./rig.ts";
import { web } from "./under.ts";

const ANSWERED: readonly FunctionName[] = ["C_MessageSignInit", "C_MessageSignFinal"];
const SIGNED: readonly FunctionName[] = ["C_SignMessage", "C_SignMessageBegin", "C_SignMessageNext"];

const withMessages = (inner: Cryptoki): Cryptoki => ({
  call: (fn, args) => {
    if (ANSWERED.includes(fn)) return {} as never;
    if (SIGNED.includes(fn)) return { output: { bytes: new Uint8Array(64) } } as never;
    return inner.call(fn, args);
  },
});

async function through(layer: (inner: Cryptoki) => Cryptoki): Promise<Connection> {
  return connect(await tokenWithKeys(), (inner) => layer(withMessages(inner)));
}

async function begin(c: Connection): Promise<() => Promise<string>> {
  const { app, session } = c;
  const key = await c.handle("www", PRIVATE);
  await app.call("C_MessageSignInit", { session, mechanism: how("CKM_ECDSA"), key });
  const data = new Uint8Array(32);
  return () => rvOf(() => app.call("C_SignMessage", { session, parameter: new Uint8Array(), data, room: 64 }));
}

test("a policy counts each message, and not what they begin with", async () => {
  const policy = await readPolicy(web("{ label: www, operations: [sign], perMinute: 2 }"), "policy.yaml");
  const counters = new StoredCounters("/nonexistent");
  const c = await through(enforcePolicy({ policy, client: { uid: 33 }, counters, log: () => undefined }));
  const message = await begin(c);
  expect([await message(), await message(), await message()]).toEqual(["CKR_OK", "CKR_OK", "CKR_FUNCTION_REJECTED"]);
});

test("a person is asked for each message, and not for what they begin with", async () => {
  const answers = [true, false];
  const asked: string[] = [];
  const confirmer = new Confirmer({
    ask: ({ operation, key }) => {
      asked.push(`${operation} ${key.label}`);
      return Promise.resolve(answers.shift()!);
    },
  });
  const message = await begin(await through(confirmUses({ confirmer, client: {}, log: () => undefined })));
  expect(asked).toEqual([]);
  expect([await message(), await message()]).toEqual(["CKR_OK", "CKR_FUNCTION_REJECTED"]);
  expect(asked).toEqual(["sign www", "sign www"]);
});

test("the audit has a line for each message, and the parts of one", async () => {
  const entries: UseEntry[] = [];
  const c = await through(recordUses({ client: {}, append: (entry) => void entries.push(entry) }));
  const { app, session } = c;
  const message = await begin(c);
  await message();
  await message();
  const parameter = new Uint8Array();
  await app.call("C_SignMessageBegin", { session, parameter });
  await app.call("C_SignMessageNext", { session, parameter, data: new Uint8Array(10), room: null });
  await app.call("C_SignMessageNext", { session, parameter, data: new Uint8Array(5), room: 64 });
  await app.call("C_MessageSignFinal", { session });
  expect(entries.slice(1).map(({ function: fn, part, bytes, keys }) => [fn, part, bytes, keys[0]!.label])).toEqual([
    ["C_SignMessage", undefined, 32, "www"],
    ["C_SignMessage", undefined, 32, "www"],
    ["C_SignMessageBegin", "first", 0, "www"],
    ["C_SignMessageNext", "next", 10, "www"],
    ["C_SignMessageNext", "next", 15, "www"],
  ]);
});
