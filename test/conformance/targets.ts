/** Setting up the tokens that the suite runs on. */
import { utf8 } from "../../src/codec/bytes.ts";
import type { Provider } from "../../src/cryptoki/port.ts";
import { CKU } from "../../src/spec/objects.ts";

const RW = 6;

/** The label of a token that was set up here. */
export const LABEL = "conformance";

/** Initialises the module's first token through C_InitToken and C_InitPIN, as every module should allow. */
export async function initialiseToken(provider: Provider, soPin: Uint8Array, userPin: Uint8Array): Promise<void> {
  const p11 = await provider.open();
  await p11.call("C_Initialize", { args: {} });
  const [blank] = (await p11.call("C_GetSlotList", { tokenPresent: true })).slots;
  await p11.call("C_InitToken", { slot: blank!, pin: soPin, label: utf8(LABEL) });
  for (const slot of (await p11.call("C_GetSlotList", { tokenPresent: true })).slots) {
    const { info } = await p11.call("C_GetTokenInfo", { slot });
    if (info.label !== LABEL) continue;
    const { session } = await p11.call("C_OpenSession", { slot, flags: RW });
    await p11.call("C_Login", { session, userType: CKU.CKU_SO[0], pin: soPin });
    await p11.call("C_InitPIN", { session, pin: userPin });
  }
  await p11.call("C_Finalize", {});
}
