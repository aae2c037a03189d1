/** Tokens of several modules as one module, over the built-in token. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { Structure } from "../../src/cryptoki/port.ts";
import { parseUri } from "../../src/cryptoki/uri.ts";
import { unlock } from "../../src/layers/unlock.ts";
import { openProvider } from "../../src/modules/index.ts";
import { offer } from "../../src/modules/offered.ts";
import { PinMemory } from "../../src/pins/memory.ts";
import { SLOT_FLAGS } from "../../src/spec/flags.ts";
import { CKS, CKU } from "../../src/spec/objects.ts";
import {
  answer,
  client,
  DONT_BLOCK,
  ends,
  folder,
  labelsOf,
  make,
  offering,
  SESSION,
  slotsOf,
  softStore,
  WRITE,
} from "../support/offering.ts";

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

  test("each token is unlocked with the PIN of its own offer", async () => {
    const one = await softStore("one.db", ["a", "b"]);
    const owner = await Module.open(openProvider(one));
    await (await owner.token({ label: "b" })).changePin("USER", Pin.from("1234"), Pin.from("5678"));
    await owner.close();
    const all = offer(
      [
        { reference: one, tokens: [parseUri("pkcs11:token=a;library-manufacturer=Keywright")], pin: "1234" },
        { reference: one, tokens: [parseUri("pkcs11:token=b;slot-id=1")], pin: "5678" },
      ],
      { memory: new PinMemory(join(folder, "state")) },
    );
    ends.push(() => all.close());
    const pin = (slot: number | bigint, info: Structure<"tokenInfo">) => Pin.from(all.offerOf(slot, info)!.pin);
    const p11 = unlock({ pin, log: () => undefined })(await client(all));
    expect(await labelsOf(p11, await slotsOf(p11))).toEqual(["a", "b"]);
    for (const slot of [1, 2]) {
      const { session } = await p11.call("C_OpenSession", { slot, flags: SESSION });
      await p11.call("C_Login", { session, userType: CKU.CKU_USER[0], pin: null });
      const { info } = await p11.call("C_GetSessionInfo", { session });
      expect([info.slotID, info.state]).toEqual([slot, CKS.CKS_RO_USER_FUNCTIONS[0]]);
    }
  });

  test("a client that ends while it logs in leaves nothing behind", async () => {
    const applications = offering([[await softStore("one.db", ["a"]), "pkcs11:"]]);
    const { cryptoki: p11, end } = await applications.start();
    await p11.call("C_Initialize", { args: {} });
    const { session } = await p11.call("C_OpenSession", { slot: 1, flags: SESSION });
    const login = answer(() => p11.call("C_Login", { session, userType: CKU.CKU_USER[0], pin: utf8("1234") }));
    await end();
    expect(await login).toMatch(/^CKR_/);
    const other = await client(applications);
    const { info } = await other.call("C_GetTokenInfo", { slot: 1 });
    expect(info.sessionCount).toBe(0);
    const { session: theirs } = await other.call("C_OpenSession", { slot: 1, flags: SESSION });
    expect(
      await answer(() => other.call("C_Login", { session: theirs, userType: CKU.CKU_USER[0], pin: utf8("1234") })),
    ).toBe("CKR_OK");
  });

  test("a module that tells no slot events has no part in them", async () => {
    const p11 = await client(offering([[await softStore("one.db", ["a"]), "pkcs11:"]]));
    expect(await answer(() => p11.call("C_WaitForSlotEvent", { flags: DONT_BLOCK }))).toBe("CKR_NO_EVENT");
    expect(await answer(() => p11.call("C_WaitForSlotEvent", { flags: 0 }))).toBe("CKR_FUNCTION_NOT_SUPPORTED");
  });
});
