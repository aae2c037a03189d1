/** What a module shows of its tokens. */
import { describe, expect, onTestFinished, test } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { fromHandlers } from "../../src/cryptoki/handlers.ts";
import { Module, TokenNotFoundError } from "../../src/cryptoki/module.ts";
import { parseUri } from "../../src/cryptoki/uri.ts";
import { openModule } from "../../src/index.ts";
import { peer } from "../support/peers.ts";
import { softHsm } from "../support/softhsm.ts";

describe("tokens that a module cannot read", () => {
  async function opened(): Promise<Module> {
    const blank = { label: "", manufacturerID: "", model: "", serialNumber: "" };
    const cryptoki = fromHandlers({
      C_Initialize: () => ({}),
      C_Finalize: () => ({}),
      C_GetSlotList: () => ({ slots: [1, 2, 3] }),
      C_GetTokenInfo: ({ slot }) => {
        if (slot === 2) throw new CryptokiError("C_GetTokenInfo", "CKR_TOKEN_NOT_RECOGNIZED");
        if (slot === 3) throw new CryptokiError("C_GetTokenInfo", "CKR_TOKEN_NOT_PRESENT");
        return { info: { ...blank, label: "known", flags: 0 } as never };
      },
    });
    return Module.open({ open: () => cryptoki, close: () => undefined });
  }

  test("are not taken for absent ones", async () => {
    const module = await opened();
    expect(await module.tokens()).toHaveLength(1);
    expect((await module.token({ label: "known" })).slot).toBe(1);
    const error = await module.token({ label: "other" }).catch((caught: unknown) => caught);
    expect(error).not.toBeInstanceOf(TokenNotFoundError);
    expect(String(error)).toContain(
      "CKR_TOKEN_NOT_RECOGNIZED, the module does not know this kind of token: slot 2; no other token is pkcs11:token=other",
    );
    await expect(module.token({ slot: 2 })).rejects.toThrow("CKR_TOKEN_NOT_RECOGNIZED");
    await expect(module.token({ slot: 3 })).rejects.toThrow(TokenNotFoundError);
    await expect(module.onlyToken()).rejects.toThrow("there is no other token");
  });
});

describe.skipIf(!peer("softhsm2"))("a token of SoftHSM2", () => {
  test("is found by what its slot and its library say of themselves, and by nothing that they do not say", async () => {
    const hsm = softHsm();
    onTestFinished(() => hsm.remove());
    await using module = await openModule(hsm.path, { store: hsm.store, state: hsm.store });
    const [token] = await module.tokens();
    const { info } = await module.call("C_GetSlotInfo", { slot: token!.slot });
    const description = encodeURIComponent(info.slotDescription);
    expect((await module.token(`pkcs11:slot-description=${description};slot-id=${token!.slot}`)).slot).toBe(
      token!.slot,
    );
    expect((await module.token(`pkcs11:library-manufacturer=SoftHSM;slot-id=${token!.slot}`)).slot).toBe(token!.slot);
    await expect(module.token("pkcs11:slot-description=other")).rejects.toThrow(TokenNotFoundError);
    const anything = (text: string) => module.matching(parseUri(text));
    expect(await anything("pkcs11:")).toHaveLength((await module.tokens()).length);
    expect(await anything("pkcs11:colour=red")).toEqual([]);
  });
});
