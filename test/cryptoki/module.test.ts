/** What a module shows of its tokens. */
import { describe, expect, test } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { fromHandlers } from "../../src/cryptoki/handlers.ts";
import { Module, TokenNotFoundError } from "../../src/cryptoki/module.ts";

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
