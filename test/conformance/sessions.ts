import { expect } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { SESSION_FLAGS } from "../../src/spec/flags.ts";
import { CKS, CKU } from "../../src/spec/objects.ts";
import { refuses } from "./kit.ts";
import type { Can } from "./suite.ts";

const WRONG = utf8("not the PIN");

export function sessions(can: Can): void {
  can([], "a session has the state of its access and of the login, which all sessions share", (kit) =>
    kit.alone(async () => {
      const ro = await kit.open("ro");
      const rw = await kit.open("rw");
      expect([await kit.state(ro), await kit.state(rw)]).toEqual([
        CKS.CKS_RO_PUBLIC_SESSION[0],
        CKS.CKS_RW_PUBLIC_SESSION[0],
      ]);
      await kit.login(ro);
      expect([await kit.state(ro), await kit.state(rw)]).toEqual([
        CKS.CKS_RO_USER_FUNCTIONS[0],
        CKS.CKS_RW_USER_FUNCTIONS[0],
      ]);
      const later = await kit.open("ro");
      expect(await kit.state(later)).toBe(CKS.CKS_RO_USER_FUNCTIONS[0]);
      await kit.call("C_Logout", { session: rw });
      expect([await kit.state(ro), await kit.state(rw)]).toEqual([
        CKS.CKS_RO_PUBLIC_SESSION[0],
        CKS.CKS_RW_PUBLIC_SESSION[0],
      ]);
    }),
  );

  can([], "a session's information names its slot and flags", (kit) =>
    kit.alone(async () => {
      const { info } = await kit.call("C_GetSessionInfo", { session: await kit.open("rw") });
      expect(info.slotID).toBe(kit.slot);
      expect(info.flags).toBe(SESSION_FLAGS.CKF_SERIAL_SESSION[0] | SESSION_FLAGS.CKF_RW_SESSION[0]);
    }),
  );

  can(["parallel sessions are refused"], "a session that is not serial is refused", (kit) =>
    kit.alone(async () => {
      const { slot } = kit;
      await refuses(() => kit.call("C_OpenSession", { slot, flags: 0 }), "CKR_SESSION_PARALLEL_NOT_SUPPORTED");
    }),
  );

  can([], "a closed session is no session", (kit) =>
    kit.alone(async () => {
      const session = await kit.open();
      await kit.call("C_CloseSession", { session });
      await refuses(() => kit.call("C_GetSessionInfo", { session }), "CKR_SESSION_HANDLE_INVALID");
      await refuses(() => kit.call("C_CloseSession", { session }), "CKR_SESSION_HANDLE_INVALID");
    }),
  );

  can([], "closing all sessions of a slot closes each and logs out", (kit) =>
    kit.alone(async () => {
      const [one, two] = [await kit.open(), await kit.open("ro")];
      await kit.login(one);
      await kit.call("C_CloseAllSessions", { slot: kit.slot });
      for (const session of [one, two]) {
        await refuses(() => kit.call("C_GetSessionInfo", { session }), "CKR_SESSION_HANDLE_INVALID");
      }
      expect(await kit.state(await kit.open())).toBe(CKS.CKS_RW_PUBLIC_SESSION[0]);
    }),
  );

  can(["closing the last session logs out"], "closing the last session logs out", (kit) =>
    kit.alone(async () => {
      const session = await kit.open();
      await kit.login(session);
      await kit.call("C_CloseSession", { session });
      expect(await kit.state(await kit.open())).toBe(CKS.CKS_RW_PUBLIC_SESSION[0]);
    }),
  );

  can([], "a wrong PIN is refused and changes nothing; the right one works afterwards", (kit) =>
    kit.alone(async () => {
      const session = await kit.open();
      await refuses(() => kit.login(session, WRONG), "CKR_PIN_INCORRECT");
      expect(await kit.state(session)).toBe(CKS.CKS_RW_PUBLIC_SESSION[0]);
      await kit.login(session);
      expect(await kit.state(session)).toBe(CKS.CKS_RW_USER_FUNCTIONS[0]);
    }),
  );

  can([], "a user who is logged in cannot log in", (kit) =>
    kit.alone(async () => {
      const session = await kit.open();
      await kit.login(session);
      await refuses(() => kit.login(session), "CKR_USER_ALREADY_LOGGED_IN");
    }),
  );

  can(["logging out needs a login"], "a user who is not logged in cannot log out", (kit) =>
    kit.alone(async () => {
      const session = await kit.open();
      await refuses(() => kit.call("C_Logout", { session }), "CKR_USER_NOT_LOGGED_IN");
    }),
  );

  can(["user types are checked"], "a user of an unknown type is refused", (kit) =>
    kit.alone(async () => {
      const session = await kit.open();
      const { userPin: pin } = kit.target;
      await refuses(() => kit.call("C_Login", { session, userType: 99, pin }), "CKR_USER_TYPE_INVALID");
    }),
  );

  can(["one user at a time"], "the SO cannot log in while the user is", (kit) =>
    kit.alone(async () => {
      const session = await kit.open();
      await kit.login(session);
      const pin = kit.soPin;
      const login = () => kit.call("C_Login", { session, userType: CKU.CKU_SO[0], pin });
      await refuses(login, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN");
    }),
  );

  can(
    ["the SO and read-only sessions exclude each other"],
    "the SO and a read-only session exclude each other",
    (kit) =>
      kit.alone(async () => {
        const session = await kit.open();
        const readOnly = await kit.open("ro");
        const pin = kit.soPin;
        const login = () => kit.call("C_Login", { session, userType: CKU.CKU_SO[0], pin });
        await refuses(login, "CKR_SESSION_READ_ONLY_EXISTS");
        await kit.call("C_CloseSession", { session: readOnly });
        await login();
        expect(await kit.state(session)).toBe(CKS.CKS_RW_SO_FUNCTIONS[0]);
        await refuses(() => kit.open("ro"), "CKR_SESSION_READ_WRITE_SO_EXISTS");
      }),
  );

  can(["a wrong old PIN has its own return value"], "a PIN is not changed without the old one", (kit) =>
    kit.alone(async () => {
      const session = await kit.open();
      await kit.login(session);
      const change = () => kit.call("C_SetPIN", { session, oldPin: WRONG, newPin: utf8("another PIN 99") });
      await refuses(change, "CKR_PIN_INCORRECT");
    }),
  );

  can(["changing the user's PIN"], "the user changes the PIN, and the old one is over", (kit) =>
    kit.alone(async () => {
      const { userPin } = kit.target;
      const other = utf8("another PIN 99");
      const session = await kit.open();
      await kit.login(session);
      await kit.call("C_SetPIN", { session, oldPin: userPin, newPin: other });
      await kit.call("C_Logout", { session });
      await refuses(() => kit.login(session), "CKR_PIN_INCORRECT");
      await kit.login(session, other);
      await kit.call("C_SetPIN", { session, oldPin: other, newPin: userPin });
      await kit.call("C_Logout", { session });
      await kit.login(session);
    }),
  );
}
