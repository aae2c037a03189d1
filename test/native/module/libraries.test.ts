/** Other people's libraries, and files that are none. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { utf8 } from "../../../src/codec/bytes.ts";
import { ModuleError, nativeModule } from "../../../src/native/module/index.ts";
import { nss } from "../../support/nss.ts";
import { hasCompiler, odd } from "../../support/odd.ts";
import { type Peer, peer, peerPath } from "../../support/peers.ts";

const folder = mkdtempSync(join(tmpdir(), "keywright-libraries-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("modules that offer different function lists", () => {
  test.skipIf(!peer("nss"))(
    "NSS softokn takes its configuration in pReserved and has the functions of 3.0",
    async () => {
      const db = nss();
      const provider = nativeModule(db);
      const p11 = await provider.open();
      await p11.call("C_Initialize", { args: {} });
      const { info } = await p11.call("C_GetTokenInfo", { slot: db.slot });
      expect(info.label).toBe("NSS Certificate DB");
      const { session } = await p11.call("C_OpenSession", { slot: db.slot, flags: 6 });
      await p11.call("C_Login", { session, userType: 0, pin: utf8("") });
      await p11.call("C_InitPIN", { session, pin: utf8("a password") });
      // Of 3.0, and there: it answers that there is nothing to cancel, not that it is missing.
      expect(await p11.call("C_SessionCancel", { session, flags: 0 })).toEqual({});
      await provider.close();
      db.remove();
    },
  );

  test.skipIf(!peer("opensc"))("OpenSC's module is found by its bare name", async () => {
    const provider = nativeModule({ path: "opensc-pkcs11" });
    const p11 = await provider.open();
    await p11.call("C_Initialize", { args: {} });
    expect((await p11.call("C_GetInfo", {})).info.libraryDescription).toBe("OpenSC smartcard framework");
    await provider.close();
  });

  test.skipIf(!peer("p11-kit-client"))(
    "p11-kit's client, which refuses C_Initialize without locking, loads",
    async () => {
      const provider = nativeModule({ path: "p11-kit-client" });
      const p11 = await provider.open();
      await p11.call("C_Initialize", { args: {} });
      expect((await p11.call("C_GetInfo", {})).info.manufacturerID).toBe("p11-kit");
      await provider.close();
    },
  );
});

describe("files that are no module for this machine", () => {
  function failure(path: string): ModuleError {
    try {
      void nativeModule({ path }).open();
    } catch (error) {
      return error as ModuleError;
    }
    throw new Error("it opened");
  }

  /** A library of this machine with the header of another one. */
  function patched(name: string, from: Peer, offset: number, ...bytes: number[]): string {
    const library = readFileSync(peerPath(from)!);
    library.set(bytes, offset);
    const path = join(folder, name);
    writeFileSync(path, library);
    return path;
  }

  test("a missing one is named, and the modules of this machine are listed", () => {
    const error = failure("/nowhere/libnothing.so");
    expect(error).toBeInstanceOf(ModuleError);
    expect(error.message).toBe("module /nowhere/libnothing.so: there is no such file");
    if (peer("softhsm2")) expect(error.hints.join()).toContain("libsofthsm2.so");
    if (peer("opensc")) expect(error.hints.join()).toContain("opensc-pkcs11.so");
  });

  test("a bare name that is nowhere says where it was looked for", () => {
    expect(failure("libnothing").message).toBe("module libnothing: no library of this name in the usual folders");
  });

  test("a folder and a text are said to be what they are", () => {
    expect(failure(folder).message).toContain("this is not a file");
    writeFileSync(join(folder, "text.so"), "a text that is longer than a header of an ELF file");
    expect(failure(join(folder, "text.so")).message).toContain("not an ELF library");
  });

  test.skipIf(!peer("softhsm2"))("a library for another machine says which", () => {
    expect(failure(patched("sparc.so", "softhsm2", 18, 43, 0)).message).toContain("built for machine 43, 64-bit");
    expect(failure(patched("old.so", "softhsm2", 4, 1)).message).toContain("32-bit; this program is ");
    expect(failure(patched("mips.so", "softhsm2", 18, 8, 0)).message).toContain("built for MIPS, 64-bit");
  });

  test("a library that is no PKCS#11 module says what it lacks", () => {
    expect(failure("libc.so.6").message).toBe("module libc.so.6: not a PKCS#11 module: it has no C_GetFunctionList");
  });

  describe.skipIf(!hasCompiler)("libraries that are odd at the door", () => {
    function made(classic: Parameters<typeof odd>[0]): string {
      const library = odd(classic);
      onTestFinished(() => library.remove());
      return library.path;
    }

    test.each([
      ["LIST_FAILS", "its C_GetFunctionList answers CKR_GENERAL_ERROR"],
      ["LIST_NULL", "its C_GetFunctionList gives no list (NULL)"],
    ] as const)("one that has C_GetFunctionList and gives no list (%s) is told so", (classic, fault) => {
      expect(failure(made(classic)).fault).toBe(fault);
    });

    test("a list of C_GetFunctionList has no functions of 3.0, whatever it says: there is other memory behind it", async () => {
      const p11 = await nativeModule({ path: made("SAYS_3") }).open();
      await p11.call("C_Initialize", { args: {} });
      expect((await p11.call("C_GetSlotList", { tokenPresent: true })).slots).toEqual([7]);
      expect(() => p11.call("C_SessionCancel", { session: 1, flags: 0 })).toThrow("CKR_FUNCTION_NOT_SUPPORTED");
    });

    test("a list of 2^40 slots is not believed", async () => {
      const p11 = await nativeModule({ path: made("MANY_SLOTS") }).open();
      await p11.call("C_Initialize", { args: {} });
      expect(() => p11.call("C_GetSlotList", { tokenPresent: true })).toThrow(
        "C_GetSlotList: CKR_GENERAL_ERROR, the module failed without saying why: the module says that the list has 1099511627776 entries",
      );
    });
  });

  test.skipIf(!peer("softhsm2"))("one that was cut off is told so, before the loader maps it", () => {
    const library = readFileSync(peerPath("softhsm2")!);
    const path = join(folder, "cut.so");
    for (const length of [40, 100, 2000, library.length >> 1, library.length - 1]) {
      writeFileSync(path, library.subarray(0, length));
      expect(failure(path).fault).toMatch(
        /^(?:not an ELF library|cut off: it has \d+ bytes where its headers want \d+)$/,
      );
    }
  });

  test.skipIf(!peer("softhsm2"))("a library that the loader refuses comes with what the loader said", () => {
    // e_type 2: a program, not a library.
    expect(failure(patched("program.so", "softhsm2", 16, 2)).message).toContain("cannot be loaded: ");
  });
});
