/** Tokens of several modules as one module, and applications that are kept apart. Needs dist. */
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { Awaitable, Cryptoki } from "../../src/cryptoki/port.ts";
import { parseUri } from "../../src/cryptoki/uri.ts";
import type { ModuleReference } from "../../src/modules/index.ts";
import { openProvider } from "../../src/modules/index.ts";
import { type OfferOptions, offer } from "../../src/modules/offered.ts";
import type { Applications } from "../../src/modules/pool.ts";
import { PinMemory } from "../../src/pins/memory.ts";
import { CALL_FLAGS, SLOT_FLAGS } from "../../src/spec/flags.ts";
import { CKS, CKU } from "../../src/spec/objects.ts";
import { hasCompiler, odd } from "../support/odd.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";

const DONT_BLOCK = CALL_FLAGS.CKF_DONT_BLOCK[0];
const [SESSION, WRITE] = [4, 6];

async function answer(call: () => Awaitable<unknown>): Promise<string> {
  try {
    await call();
    return "CKR_OK";
  } catch (error) {
    if (!(error instanceof CryptokiError)) throw error;
    return error.message.split(" ")[1]!.replace(/[,:]$/, "");
  }
}

let folder: string;
let ends: (() => Promise<void>)[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "keywright-offered-"));
  ends = [];
});

afterEach(async () => {
  for (const end of ends.reverse()) await end();
  rmSync(folder, { recursive: true, force: true });
});

/** Initialises tokens with user PINs. */
async function make(reference: ModuleReference, labels: readonly string[]): Promise<void> {
  const module = await Module.open(openProvider(reference));
  for (const label of labels) {
    const blank = (await module.tokens()).find((token) => !token.has("CKF_TOKEN_INITIALIZED"))!;
    await blank.initialise(label, Pin.from("so-pin-1"));
    await module.tokens();
    const made = await module.token({ label });
    await made.initialisePin(Pin.from("so-pin-1"), Pin.from("1234"));
  }
  await module.close();
}

async function softStore(name: string, labels: readonly string[]): Promise<ModuleReference> {
  const reference = { module: "softtoken", store: join(folder, name), scryptCost: 10 };
  await make(reference, labels);
  return reference;
}

function offering(
  offers: readonly [ModuleReference, ...string[]][],
  options: Partial<OfferOptions> = {},
): Applications {
  const applications = offer(
    offers.map(([reference, ...uris]) => ({ reference, tokens: uris.map(parseUri) })),
    { memory: new PinMemory(join(folder, "state")), ...options },
  );
  ends.push(() => applications.close());
  return applications;
}

async function client(applications: Applications): Promise<Cryptoki> {
  const { cryptoki, end } = await applications.start();
  ends.push(end);
  await cryptoki.call("C_Initialize", { args: { reserved: "what the client's own module is configured with" } });
  return cryptoki;
}

const labelsOf = async (p11: Cryptoki, slots: readonly (number | bigint)[]) => {
  const labels = [];
  for (const slot of slots) labels.push((await p11.call("C_GetTokenInfo", { slot })).info.label);
  return labels;
};

const slotsOf = async (p11: Cryptoki, tokenPresent = true) => (await p11.call("C_GetSlotList", { tokenPresent })).slots;

describe("what is offered", () => {
  test("only the chosen tokens of several modules, in slots from 1", async () => {
    const one = await softStore("one.db", ["a", "hidden", "b"]);
    const two = await softStore("two.db", ["c"]);
    const p11 = await client(
      offering([
        [one, "pkcs11:token=a", "pkcs11:token=b"],
        [two, "pkcs11:"],
      ]),
    );
    const slots = await slotsOf(p11);
    expect(slots).toEqual([1, 2, 3]);
    expect(await labelsOf(p11, slots)).toEqual(["a", "b", "c"]);
    expect(await slotsOf(p11, false)).toEqual([1, 2, 3]);
    for (const slot of [0, 4, 2n ** 60n]) {
      expect(await answer(() => p11.call("C_GetSlotInfo", { slot }))).toBe("CKR_SLOT_ID_INVALID");
      expect(await answer(() => p11.call("C_OpenSession", { slot, flags: SESSION }))).toBe("CKR_SLOT_ID_INVALID");
    }
  });

  test("two offers of one module are one: its tokens are listed once", async () => {
    const one = await softStore("one.db", ["a", "b"]);
    const again = { ...one, store: join(folder, ".", "one.db") };
    const p11 = await client(
      offering([
        [one, "pkcs11:token=a"],
        [again, "pkcs11:token=b", "pkcs11:token=a"],
      ]),
    );
    expect(await labelsOf(p11, await slotsOf(p11))).toEqual(["a", "b"]);
  });

  test("says of itself what it is; a slot number is good before slots were listed", async () => {
    const p11 = await client(offering([[await softStore("one.db", ["a"]), "pkcs11:token=a"]]));
    expect((await p11.call("C_GetSlotInfo", { slot: 1 })).info.flags).toBe(SLOT_FLAGS.CKF_TOKEN_PRESENT[0]);
    expect((await p11.call("C_GetInfo", {})).info).toMatchObject({
      manufacturerID: "Keywright",
      libraryDescription: "Keywright, offered tokens",
      cryptokiVersion: { major: 3, minor: 2 },
    });
  });

  test("stays synchronous over the built-in token", async () => {
    const p11 = await client(offering([[await softStore("one.db", ["a"]), "pkcs11:"]]));
    expect(p11.call("C_GetSlotList", { tokenPresent: true })).toEqual({ slots: [1] });
    expect(p11.call("C_OpenSession", { slot: 1, flags: SESSION })).toEqual({ session: 1 });
    expect(p11.call("C_GetSessionInfo", { session: 1 })).toHaveProperty("info.slotID", 1);
  });

  test("is initialised once, and answers nothing before and after", async () => {
    const applications = offering([[await softStore("one.db", ["a"]), "pkcs11:"]]);
    const { cryptoki: p11, end } = await applications.start();
    const list = () => answer(() => p11.call("C_GetSlotList", { tokenPresent: true }));
    expect([await list(), await answer(() => p11.call("C_Finalize", {}))]).toEqual(
      Array(2).fill("CKR_CRYPTOKI_NOT_INITIALIZED"),
    );
    await p11.call("C_Initialize", { args: {} });
    expect(await answer(() => p11.call("C_Initialize", { args: {} }))).toBe("CKR_CRYPTOKI_ALREADY_INITIALIZED");
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    await p11.call("C_Finalize", {});
    expect(await list()).toBe("CKR_CRYPTOKI_NOT_INITIALIZED");
    await p11.call("C_Initialize", { args: {} });
    expect(await answer(() => p11.call("C_CloseSession", { session }))).toBe("CKR_SESSION_HANDLE_INVALID");
    expect(await slotsOf(p11)).toEqual([1]);
    await end();
    await end();
    expect(await list()).toBe("CKR_CRYPTOKI_NOT_INITIALIZED");
    expect(await answer(() => p11.call("C_Initialize", { args: {} }))).toBe("CKR_FUNCTION_FAILED");
  });

  test("sessions of two modules never meet, and are closed per slot", async () => {
    const [one, two] = [await softStore("one.db", ["a"]), await softStore("two.db", ["b"])];
    const p11 = await client(
      offering([
        [one, "pkcs11:"],
        [two, "pkcs11:"],
      ]),
    );
    const open = async (slot: number) => (await p11.call("C_OpenSession", { slot, flags: WRITE })).session;
    const sessions = [await open(1), await open(2), await open(1), await open(2)];
    expect(new Set(sessions).size).toBe(4);
    await p11.call("C_Login", { session: sessions[0]!, userType: CKU.CKU_USER[0], pin: utf8("1234") });
    const stateOf = async (session: number | bigint) => {
      const { info } = await p11.call("C_GetSessionInfo", { session });
      return [info.slotID, info.state];
    };
    expect(await Promise.all(sessions.map(stateOf))).toEqual([
      [1, CKS.CKS_RW_USER_FUNCTIONS[0]],
      [2, CKS.CKS_RW_PUBLIC_SESSION[0]],
      [1, CKS.CKS_RW_USER_FUNCTIONS[0]],
      [2, CKS.CKS_RW_PUBLIC_SESSION[0]],
    ]);
    await p11.call("C_CloseAllSessions", { slot: 1 });
    const states = await Promise.all(sessions.map((session) => answer(() => stateOf(session))));
    expect(states).toEqual(["CKR_SESSION_HANDLE_INVALID", "CKR_OK", "CKR_SESSION_HANDLE_INVALID", "CKR_OK"]);
    await p11.call("C_CloseSession", { session: sessions[1]! });
    expect(await answer(() => stateOf(sessions[1]!))).toBe("CKR_SESSION_HANDLE_INVALID");
  });

  test("one client's login is not another's, nor are its sessions", async () => {
    const applications = offering([[await softStore("one.db", ["a"]), "pkcs11:"]]);
    const [p11, other] = [await client(applications), await client(applications)];
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    const { session: theirs } = await other.call("C_OpenSession", { slot: 1, flags: SESSION });
    await p11.call("C_Login", { session, userType: CKU.CKU_USER[0], pin: utf8("1234") });
    expect((await other.call("C_GetSessionInfo", { session: theirs })).info.state).toBe(CKS.CKS_RO_PUBLIC_SESSION[0]);
    const { session: second } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    expect(await answer(() => other.call("C_GetSessionInfo", { session: second }))).toBe("CKR_SESSION_HANDLE_INVALID");
  });

  test("a token that is made later appears; one that is made anew under another label is gone", async () => {
    const one = await softStore("one.db", ["other"]);
    const applications = offering([[one, "pkcs11:token=late"]]);
    const p11 = await client(applications);
    expect(await slotsOf(p11)).toEqual([]);
    expect(await answer(() => p11.call("C_OpenSession", { slot: 1, flags: SESSION }))).toBe("CKR_SLOT_ID_INVALID");
    await make(one, ["late"]);
    expect(await slotsOf(p11)).toEqual([1]);
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    await p11.call("C_CloseSession", { session });
    const owner = await Module.open(openProvider(one));
    await (await owner.token({ label: "late" })).initialise("mine", Pin.from("so-pin-1"));
    await owner.close();
    expect(await slotsOf(p11)).toEqual([]);
    expect(await slotsOf(p11, false)).toEqual([1]);
    expect((await p11.call("C_GetSlotInfo", { slot: 1 })).info.flags).toBe(0);
    for (const call of [
      () => p11.call("C_GetTokenInfo", { slot: 1 }),
      () => p11.call("C_OpenSession", { slot: 1, flags: SESSION }),
      () => p11.call("C_GetMechanismList", { slot: 1 }),
      () => p11.call("C_InitToken", { slot: 1, pin: utf8("so-pin-1"), label: utf8("theirs") }),
    ]) {
      expect(await answer(call)).toBe("CKR_TOKEN_NOT_PRESENT");
    }
  });

  test("tokens that were never initialised are offered where that is wanted", async () => {
    const one = await softStore("one.db", []);
    expect(await slotsOf(await client(offering([[one, "pkcs11:"]])))).toEqual([]);
    const p11 = await client(offering([[one, "pkcs11:"]], { uninitialised: true }));
    expect(await slotsOf(p11)).toEqual([1]);
    await p11.call("C_InitToken", { slot: 1, pin: utf8("so-pin-1"), label: utf8("fresh") });
    expect(await labelsOf(p11, await slotsOf(p11))).toEqual(["fresh", ""]);
  });

  test("a module that tells no slot events has no part in them", async () => {
    const p11 = await client(offering([[await softStore("one.db", ["a"]), "pkcs11:"]]));
    expect(await answer(() => p11.call("C_WaitForSlotEvent", { flags: DONT_BLOCK }))).toBe("CKR_NO_EVENT");
    expect(await answer(() => p11.call("C_WaitForSlotEvent", { flags: 0 }))).toBe("CKR_FUNCTION_NOT_SUPPORTED");
  });
});

describe.skipIf(!peer("softhsm2"))("a library, a process for each application", () => {
  async function hsm(labels: readonly string[]) {
    const { path: module, environment, tokens, remove } = softHsm();
    ends.push(async () => remove());
    const reference: ModuleReference = { module, environment, isolation: "process" };
    await make(reference, labels);
    return { reference, tokens };
  }

  test("one client's login is not another's", async () => {
    const { reference } = await hsm(["a"]);
    const applications = offering([[{ ...reference, isolation: "none" }, "pkcs11:token=a"]]);
    const [p11, other] = [await client(applications), await client(applications)];
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    const { session: theirs } = await other.call("C_OpenSession", { slot: 1, flags: SESSION });
    await p11.call("C_Login", { session, userType: CKU.CKU_USER[0], pin: utf8("1234") });
    expect((await p11.call("C_GetSessionInfo", { session })).info.state).toBe(CKS.CKS_RO_USER_FUNCTIONS[0]);
    expect((await other.call("C_GetSessionInfo", { session: theirs })).info.state).toBe(CKS.CKS_RO_PUBLIC_SESSION[0]);
  });

  test("beside the built-in token, the lowest version of both is told", async () => {
    const { reference } = await hsm(["b"]);
    const p11 = await client(
      offering([
        [await softStore("one.db", ["a"]), "pkcs11:"],
        [reference, "pkcs11:token=b"],
      ]),
    );
    expect(await labelsOf(p11, await slotsOf(p11))).toEqual(["a", "b"]);
    expect((await p11.call("C_GetInfo", {})).info.cryptokiVersion).toEqual({ major: 2, minor: 40 });
  });

  test("a token that goes away is not present, and is there again when it comes back", async () => {
    const { reference, tokens } = await hsm(["a"]);
    const applications = offering([[reference, "pkcs11:token=a"]]);
    expect(await slotsOf(await client(applications))).toEqual([1]);
    const away = join(folder, "away");
    mkdirSync(away);
    const names = readdirSync(tokens);
    for (const name of names) renameSync(join(tokens, name), join(away, name));
    // SoftHSM2 looks into its folder when it is initialised.
    const p11 = await client(applications);
    await p11.call("C_Finalize", {});
    await p11.call("C_Initialize", { args: {} });
    expect(await slotsOf(p11)).toEqual([]);
    expect(await answer(() => p11.call("C_OpenSession", { slot: 1, flags: SESSION }))).toBe("CKR_TOKEN_NOT_PRESENT");
    for (const name of names) renameSync(join(away, name), join(tokens, name));
    await p11.call("C_Finalize", {});
    await p11.call("C_Initialize", { args: {} });
    expect(await slotsOf(p11)).toEqual([1]);
  });
});

describe.skipIf(!hasCompiler)("a library that crashes and hangs", () => {
  function misbehaving(reference: Partial<ModuleReference> = {}): Applications {
    const library = odd();
    ends.push(async () => library.remove());
    return offering([[{ module: library.path, ...reference }, "pkcs11:"]], { uninitialised: true });
  }

  test("a crash is an error of its client alone; another goes on, and the next one works", async () => {
    const applications = misbehaving();
    const [p11, other] = [await client(applications), await client(applications)];
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    const { session: theirs } = await other.call("C_OpenSession", { slot: 1, flags: SESSION });
    expect(await answer(() => p11.call("C_SeedRandom", { session, seed: utf8("x") }))).toBe("CKR_DEVICE_REMOVED");
    expect(await answer(() => p11.call("C_GetSessionInfo", { session }))).toBe("CKR_SESSION_HANDLE_INVALID");
    expect((await other.call("C_GetSessionInfo", { session: theirs })).info.slotID).toBe(1);
    expect(await slotsOf(await client(applications))).toEqual([1]);
    // It may begin anew itself, with sessions that are not the lost one.
    const { session: next } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    expect(next).not.toBe(session);
    expect((await p11.call("C_GetSessionInfo", { session: next })).info.slotID).toBe(1);
  });

  test("a hang is an error after the time limit, of its client alone", async () => {
    const applications = misbehaving({ timeoutMs: 400 });
    const [p11, other] = [await client(applications), await client(applications)];
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    const hung = answer(() => p11.call("C_GenerateRandom", { session, length: 8 }));
    expect(await slotsOf(other)).toEqual([1]);
    expect(await hung).toBe("CKR_DEVICE_REMOVED");
    expect(await slotsOf(await client(applications))).toEqual([1]);
  });

  test("a client that ends while it waits for an event, or hangs, is ended with its process", async () => {
    const applications = misbehaving();
    const { cryptoki: p11, end } = await applications.start();
    await p11.call("C_Initialize", { args: {} });
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    const waiting = answer(() => p11.call("C_WaitForSlotEvent", { flags: 0 }));
    const hanging = answer(() => p11.call("C_GenerateRandom", { session, length: 8 }));
    await end();
    expect(await Promise.all([waiting, hanging])).toEqual([
      expect.stringMatching(/CKR_CRYPTOKI_NOT_INITIALIZED|CKR_DEVICE_REMOVED/),
      "CKR_DEVICE_REMOVED",
    ]);
  });

  test("C_Finalize ends what waits for an event, and another wait can begin after it", async () => {
    const p11 = await client(misbehaving());
    for (const _time of [1, 2]) {
      const waiting = answer(() => p11.call("C_WaitForSlotEvent", { flags: 0 }));
      await slotsOf(p11);
      await p11.call("C_Finalize", {});
      expect(await waiting).toBe("CKR_CRYPTOKI_NOT_INITIALIZED");
      await p11.call("C_Initialize", { args: {} });
    }
  });

  test("events of slots that are not offered are passed over, waiting or not, in one module or several", async () => {
    const library = odd();
    ends.push(async () => library.remove());
    const waits = (flags: number) => async (p11: Cryptoki) => (await p11.call("C_WaitForSlotEvent", { flags })).slot;
    const eventful = (events: string): [ModuleReference, string] => [
      { module: library.path, environment: { ODD_EVENTS: events } },
      "pkcs11:slot-id=7",
    ];
    for (const wait of [waits(0), waits(DONT_BLOCK)]) {
      const p11 = await client(offering([eventful("9787")], { uninitialised: true }));
      expect([await wait(p11), await wait(p11)]).toEqual([1, 1]);
      expect(await answer(() => waits(DONT_BLOCK)(p11))).toBe("CKR_NO_EVENT");
      const soft = await softStore(`store-${ends.length}.db`, ["a"]);
      const several = await client(
        offering([[soft, "pkcs11:token=a"], eventful("8"), eventful("97")], { uninitialised: true }),
      );
      expect(await slotsOf(several)).toEqual([1, 2, 3]);
      expect(await wait(several)).toBe(3);
    }
  });

  test("a library that cannot be loaded is told to each client, and what else was started for it is ended", async () => {
    const one = await softStore("one.db", ["a"]);
    const applications = offering([
      [one, "pkcs11:"],
      [{ module: "libc.so.6" }, "pkcs11:"],
    ]);
    await expect(applications.start()).rejects.toThrow("not a PKCS#11 module");
    await expect(applications.start()).rejects.toThrow("not a PKCS#11 module");
  });
});
