/** Libraries that are offered: a process for each application, and what crashes and hangs in it. Needs dist. */
import { mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import type { Cryptoki } from "../../src/cryptoki/port.ts";
import type { ModuleReference } from "../../src/modules/index.ts";
import type { Applications } from "../../src/modules/pool.ts";
import { CKS, CKU } from "../../src/spec/objects.ts";
import { hasCompiler, odd } from "../support/odd.ts";
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
} from "../support/offering.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";

describe.skipIf(!peer("softhsm2"))("a library, a process for each application", () => {
  async function hsm(labels: readonly string[]) {
    const { path: module, environment, tokens, remove } = softHsm();
    ends.push(async () => remove());
    const reference: ModuleReference = { module, environment, placement: "process" };
    await make(reference, labels);
    return { reference, tokens };
  }

  test("one client's login is not another's", async () => {
    const { reference } = await hsm(["a"]);
    const applications = offering([[{ ...reference, placement: "direct" }, "pkcs11:token=a"]]);
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
    const applications = misbehaving({ timeoutMs: 2000 });
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
