import { expect } from "vitest";
import { hasFlag, SLOT_FLAGS, TOKEN_FLAGS } from "../../src/spec/flags.ts";
import { refuses } from "./kit.ts";
import type { Can } from "./suite.ts";

const NO_SLOT = 987_654_321;
const NO_MECHANISM = 0x7fff_fff1;

export function information(can: Can): void {
  can([], "the module says who made it and which edition it follows", async (kit) => {
    const { info } = await kit.call("C_GetInfo", {});
    expect(info.manufacturerID).not.toBe("");
    expect(info.cryptokiVersion.major).toBeGreaterThanOrEqual(2);
  });

  can([], "slots with a token are a part of all slots", async (kit) => {
    const { slots: all } = await kit.call("C_GetSlotList", { tokenPresent: false });
    const { slots } = await kit.call("C_GetSlotList", { tokenPresent: true });
    expect(slots).toContain(kit.slot);
    expect(all).toEqual(expect.arrayContaining([...slots]));
  });

  can([], "the token's slot says that a token is there", async (kit) => {
    const { info } = await kit.call("C_GetSlotInfo", { slot: kit.slot });
    expect(hasFlag(Number(info.flags), SLOT_FLAGS.CKF_TOKEN_PRESENT[0])).toBe(true);
  });

  can([], "the token says that it is initialised, has a user's PIN and wants it", async (kit) => {
    const { info } = await kit.call("C_GetTokenInfo", { slot: kit.slot });
    for (const flag of ["CKF_TOKEN_INITIALIZED", "CKF_USER_PIN_INITIALIZED", "CKF_LOGIN_REQUIRED"] as const) {
      expect([flag, hasFlag(Number(info.flags), TOKEN_FLAGS[flag][0])]).toEqual([flag, true]);
    }
    expect(info.label).not.toBe("");
  });

  can(["slots are checked"], "a slot that is not there is refused", async (kit) => {
    await refuses(() => kit.call("C_GetSlotInfo", { slot: NO_SLOT }), "CKR_SLOT_ID_INVALID");
    await refuses(() => kit.call("C_GetTokenInfo", { slot: NO_SLOT }), "CKR_SLOT_ID_INVALID");
    await refuses(() => kit.call("C_OpenSession", { slot: NO_SLOT, flags: 4 }), "CKR_SLOT_ID_INVALID");
  });

  can([], "every mechanism in the list has information", async (kit) => {
    const { slot } = kit;
    const { mechanisms } = await kit.call("C_GetMechanismList", { slot });
    expect(mechanisms.length).toBeGreaterThan(5);
    expect(new Set(mechanisms).size).toBe(mechanisms.length);
    for (const type of mechanisms) {
      const { info } = await kit.call("C_GetMechanismInfo", { slot, type });
      expect([type, Number(info.flags)]).not.toEqual([type, 0]);
    }
  });

  can(["an unknown mechanism's information"], "a mechanism that is not in the list has none", async (kit) => {
    const { slot } = kit;
    await refuses(() => kit.call("C_GetMechanismInfo", { slot, type: NO_MECHANISM }), "CKR_MECHANISM_INVALID");
  });

  can([], "an application has to initialise, and only once", async (kit) => {
    const other = await kit.target.provider.open();
    await refuses(async () => other.call("C_GetInfo", {}), "CKR_CRYPTOKI_NOT_INITIALIZED");
    await refuses(async () => kit.call("C_Initialize", { args: {} }), "CKR_CRYPTOKI_ALREADY_INITIALIZED");
  });
}
