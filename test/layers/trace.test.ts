/** The trace, over the built-in token; and over every function for what it must not show. */
import { describe, expect, test } from "vitest";
import { isPromise } from "../../src/cryptoki/awaitable.ts";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import type { Cryptoki, FunctionName } from "../../src/cryptoki/port.ts";
import { TraceSummary } from "../../src/layers/trace/summary.ts";
import { callText } from "../../src/layers/trace/text.ts";
import { type TracedCall, traceCalls } from "../../src/layers/trace/trace.ts";
import { CKA } from "../../src/spec/attributes.ts";
import { FUNCTIONS } from "../../src/spec/functions.ts";
import { FUNCTION_OPERATIONS } from "../../src/spec/operations.ts";
import { bytes, type Connection, connect, how, PRIVATE, PUBLIC, rvOf, SECRET, template, tokenWithKeys } from "./rig.ts";

async function traced(secrets = false): Promise<Connection & { calls: TracedCall[] }> {
  const calls: TracedCall[] = [];
  const layer = traceCalls({ sink: (call) => void calls.push(call), secrets });
  return { ...(await connect(await tokenWithKeys(), layer)), calls };
}

const text = (call: TracedCall | undefined) => callText({ ...call!, ms: 1 }).replace(/ {2}1\.000 ms$/, "");

/** Finds an object as a program does, which is how the trace comes to know it. */
async function find({ app, session }: Connection, values: Parameters<typeof template>[0]): Promise<number> {
  await app.call("C_FindObjectsInit", { session, template: template(values) });
  const { objects } = await app.call("C_FindObjects", { session, max: 10 });
  await app.call("C_FindObjectsFinal", { session });
  return objects[0] as number;
}

describe("a line", () => {
  test("has names for flags, users, attributes and mechanisms, and follows handles", async () => {
    const c = await traced();
    const { app, session } = c;
    const key = await find(c, { CKA_LABEL: "www", CKA_CLASS: PRIVATE });
    await app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key });
    const signed = bytes((await app.call("C_Sign", { session, data: new Uint8Array(32), room: 64 })).output);
    await rvOf(() => app.call("C_DestroyObject", { session, object: 99 }));
    const [open, login, init, found, final, signInit, sign, destroy] = c.calls.map(text);
    expect(open).toMatch(
      /^C_OpenSession\(slot \d+, flags \[CKF_RW_SESSION, CKF_SERIAL_SESSION\]\) = CKR_OK -> session \d+$/,
    );
    expect(login).toBe(`C_Login(session ${session}, userType CKU_USER, pin "(a PIN)") = CKR_OK`);
    expect(init).toBe(`C_FindObjectsInit(session ${session}, {CKA_LABEL=www, CKA_CLASS=CKO_PRIVATE_KEY}) = CKR_OK`);
    expect(found).toBe(`C_FindObjects(session ${session}, max 10) = CKR_OK -> objects [${key} (private key www)]`);
    expect(final).toBe(`C_FindObjectsFinal(session ${session}) = CKR_OK`);
    expect(signInit).toBe(`C_SignInit(session ${session}, CKM_ECDSA, key ${key} (private key www)) = CKR_OK`);
    const hex = Buffer.from(signed).toString("hex").slice(0, 40);
    expect(sign).toBe(`C_Sign(session ${session}, data [32 bytes], room 64) = CKR_OK -> output 0x${hex}…[64 bytes]`);
    expect(destroy).toBe(`C_DestroyObject(session ${session}, object 99) = CKR_OBJECT_HANDLE_INVALID`);
  });

  test("tells structures, lists and what could not be read", async () => {
    const c = await traced();
    const { app, session } = c;
    await app.call("C_GetSessionInfo", { session });
    expect(text(c.calls.at(-1))).toMatch(
      /slotID=\d+, state=CKS_RW_USER_FUNCTIONS, flags=\[CKF_RW_SESSION, CKF_SERIAL_SESSION\]/,
    );
    await app.call("C_GetInfo", {});
    expect(text(c.calls.at(-1))).toContain("cryptokiVersion=3.");
    const { slotID: slot } = (await app.call("C_GetSessionInfo", { session })).info;
    await app.call("C_GetMechanismInfo", { slot, type: how("CKM_ECDSA").type });
    expect(text(c.calls.at(-1))).toMatch(/type CKM_ECDSA\) = CKR_OK -> \{.*flags=\[.*CKF_SIGN/);
    const object = await find(c, { CKA_LABEL: "www", CKA_CLASS: PRIVATE });
    await app.call("C_GetAttributeValue", {
      session,
      object,
      requests: [{ type: CKA.CKA_ID[0] }, { type: CKA.CKA_VALUE[0] }],
    });
    expect(text(c.calls.at(-1))).toContain("= CKR_ATTRIBUTE_SENSITIVE -> {CKA_ID=0x01, CKA_VALUE=null}");
  });

  test("has nothing in it that a terminal obeys", async () => {
    const c = await traced();
    await find(c, { CKA_LABEL: "a\n\u001b[2J\u202eb" });
    expect(text(c.calls.at(-3))).toContain('CKA_LABEL="a\\n\\u001b[2J\\u202eb"');
  });
});

describe("secrets", () => {
  const KEY = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);
  const HEX = Buffer.from(KEY).toString("hex");

  async function run(secrets: boolean): Promise<string> {
    const c = await traced(secrets);
    const { app, session } = c;
    const values = template({
      CKA_CLASS: SECRET,
      CKA_KEY_TYPE: 0x1f,
      CKA_VALUE: KEY,
      CKA_SENSITIVE: false,
      CKA_EXTRACTABLE: true,
      CKA_SIGN: true,
      CKA_ENCRYPT: true,
    });
    const { object: key } = await app.call("C_CreateObject", { session, template: values });
    await app.call("C_GetAttributeValue", { session, object: key, requests: [{ type: 0x11 }] });
    await app.call("C_EncryptInit", { session, mechanism: how("CKM_AES_ECB"), key });
    await app.call("C_Encrypt", { session, data: KEY, room: 100 });
    await app.call("C_DigestInit", { session, mechanism: how("CKM_SHA256") });
    await app.call("C_Digest", { session, data: KEY, room: 100 });
    return c.calls.map((call) => JSON.stringify(call) + callText(call)).join("\n");
  }

  test("are shown by their length alone, unless they are asked for", async () => {
    expect(await run(false)).not.toContain(HEX);
    const told = await run(true);
    expect(told.split(HEX).length).toBeGreaterThan(4);
    expect(told).not.toContain(Buffer.from("user-pin").toString("hex"));
    expect(told).not.toContain("user-pin");
  });

  test("a MAC is one, for it may be a key itself; a signature is not", async () => {
    const c = await traced();
    const { app, session } = c;
    const values = template({ CKA_CLASS: SECRET, CKA_KEY_TYPE: 0x10, CKA_VALUE: KEY, CKA_SIGN: true });
    const { object: key } = await app.call("C_CreateObject", { session, template: values });
    await app.call("C_SignInit", { session, mechanism: how("CKM_SHA256_HMAC"), key });
    await app.call("C_Sign", { session, data: KEY, room: 100 });
    expect(c.calls.at(-1)!.results).toEqual({ output: { length: 32 } });
    // Nothing was seen of this key: it may be a secret one.
    const unseen = await c.handle("www", PRIVATE);
    await app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key: unseen });
    await app.call("C_Sign", { session, data: KEY, room: 100 });
    expect(c.calls.at(-1)!.results).toEqual({ output: { length: 64 } });
  });

  test("public keys, points and certificates are none", async () => {
    const c = await traced();
    const object = await find(c, { CKA_LABEL: "www", CKA_CLASS: PUBLIC });
    await c.app.call("C_GetAttributeValue", { session: c.session, object, requests: [{ type: CKA.CKA_EC_POINT[0] }] });
    expect(JSON.stringify(c.calls.at(-1)!.results)).toMatch(/"CKA_EC_POINT":\{"length":67,"hex":"0441/);
  });

  /** A module that answers every call, with these bytes wherever bytes are answered. */
  function answers(marker: Uint8Array): Cryptoki {
    const outputs: Record<string, unknown> = {
      ulong: 5,
      ulongs: [5],
      output: { bytes: marker },
      random: marker,
      found: [5],
      values: {
        rv: 0,
        values: [
          { type: CKA.CKA_VALUE[0], value: marker },
          { type: 0x8000_0001, value: marker },
        ],
      },
      info: {},
      slotInfo: {},
      tokenInfo: {},
      sessionInfo: {},
      mechanismInfo: {},
    };
    return {
      call: (fn) =>
        Object.fromEntries(Object.entries(FUNCTIONS[fn].out).map(([name, kind]) => [name, outputs[kind]])) as never,
    };
  }

  test.each([false, true])(
    "of no function are shown against its table, nor PINs in any case (secrets: %s)",
    async (secrets) => {
      const marker = Uint8Array.from({ length: 8 }, () => 0x5a);
      const hex = Buffer.from(marker).toString("hex");
      const inputs: Record<string, unknown> = {
        ulong: 5,
        bool: true,
        bytes: marker,
        pin: Buffer.from("PIN-PIN-PIN"),
        label: Buffer.from("label"),
        username: Buffer.from("user"),
        mechanism: { type: 0x8000_0001, parameter: marker },
        mechanismOrNull: { type: 0x8000_0001, parameter: marker },
        template: [
          { type: CKA.CKA_SEED[0], value: marker },
          { type: CKA.CKA_PRIME_1[0], value: marker },
        ],
        requests: [{ type: CKA.CKA_VALUE[0] }],
        room: 8,
        count: 8,
        parameter: marker,
        initArgs: { reserved: "PIN-PIN-PIN".replaceAll("PIN", "ZZZ") },
      };
      for (const [fn, row] of Object.entries(FUNCTIONS)) {
        const calls: TracedCall[] = [];
        const app = traceCalls({ sink: (call) => void calls.push(call), secrets })(answers(marker));
        const given = Object.fromEntries(Object.entries(row.in).map(([name, kind]) => [name, inputs[kind]]));
        await app.call(fn as FunctionName, given as never);
        const [call] = calls;
        const all = JSON.stringify(call) + callText(call!);
        expect([fn, all.includes("PIN-PIN"), all.includes(Buffer.from("PIN-PIN").toString("hex"))]).toEqual([
          fn,
          false,
          false,
        ]);
        if (secrets) continue;
        const open = Object.entries(FUNCTION_OPERATIONS[fn as FunctionName].bytes ?? {}).filter(
          ([, how]) => how === "public",
        );
        const shown = { ...call!.arguments, ...call!.results };
        const showing = Object.keys(shown).filter((name) => JSON.stringify(shown[name]).includes(hex));
        const expected = open.map(([name]) => name).filter((name) => !["label", "username"].includes(name));
        expect([fn, showing.sort()]).toEqual([fn, expected.sort()]);
      }
    },
  );
});

test("calls pass as they are: synchronous, and with their errors", async () => {
  const c = await traced();
  expect(isPromise(c.app.call("C_GetSessionInfo", { session: c.session }))).toBe(false);
  const broken: Cryptoki = { call: () => Promise.reject(new Error("the process is gone")) };
  const calls: TracedCall[] = [];
  const app = traceCalls({ sink: (call) => void calls.push(call) })(broken);
  await expect(app.call("C_GetInfo", {})).rejects.toThrow("the process is gone");
  expect(text(calls[0])).toBe("C_GetInfo() = no answer (the process is gone)");
  expect(() => c.app.call("C_GetSessionInfo", { session: 12345 })).toThrow(CryptokiError);
});

test("the summary counts calls and errors by function, what took longest first", () => {
  const summary = new TraceSummary();
  const call = (fn: FunctionName, ms: number, result = "CKR_OK"): TracedCall => ({
    function: fn,
    arguments: {},
    results: {},
    result,
    time: "",
    ms,
  });
  for (const one of [call("C_Sign", 1), call("C_Login", 5), call("C_Sign", 2, "CKR_DATA_INVALID"), call("C_Sign", 3)]) {
    summary.add(one);
  }
  expect(summary.rows()).toEqual([
    { function: "C_Sign", calls: 3, totalMs: 6, slowestMs: 3, errors: { CKR_DATA_INVALID: 1 } },
    { function: "C_Login", calls: 1, totalMs: 5, slowestMs: 5, errors: {} },
  ]);
});
