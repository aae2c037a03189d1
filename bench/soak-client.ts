/**
 * A client of the soak: soak-client ADDRESS LABEL PIN NAME. Does what comes up until it is ended, and says of each object
 * what it is about to do and, once that was acknowledged, that it is done: `+? NAME 1`, `+ NAME 1`, `-? NAME 1`, `- NAME 1`.
 */
import { writeSync } from "node:fs";
import { utf8 } from "../src/codec/bytes.ts";
import { toTemplate } from "../src/cryptoki/attributes.ts";
import { ecdsa } from "../src/cryptoki/mechanisms.ts";
import type { Ulong } from "../src/cryptoki/port.ts";
import { openProvider } from "../src/modules/index.ts";

const [address, label, pin, name] = process.argv.slice(2) as [string, string, string, string];
const app = await openProvider({ module: address }).open();
const [DATA, RW_SESSION] = [new Uint8Array(32).fill(9), 6];

let session: Ulong = 0;
let made = 0;
const mine = new Map<string, Ulong>();

/** Without a buffer: whoever kills this process has what it said. */
function say(sign: string, what: string): void {
  writeSync(1, `${sign} ${what}\n`);
}

async function begin(): Promise<void> {
  await app.call("C_Initialize", { args: {} });
  await open();
}

async function open(): Promise<void> {
  const { slots } = await app.call("C_GetSlotList", { tokenPresent: true });
  for (const slot of slots) {
    if ((await app.call("C_GetTokenInfo", { slot })).info.label !== label) continue;
    ({ session } = await app.call("C_OpenSession", { slot, flags: RW_SESSION }));
    await app.call("C_Login", { session, userType: 1, pin: utf8(pin) });
    // Handles of private objects end with the login.
    for (const one of mine.keys()) mine.set(one, await only({ CKA_LABEL: one }));
    return;
  }
  throw new Error(`no token ${label}`);
}

async function only(match: Parameters<typeof toTemplate>[0]): Promise<Ulong> {
  await app.call("C_FindObjectsInit", { session, template: toTemplate(match) });
  const { objects } = await app.call("C_FindObjects", { session, max: 10 });
  await app.call("C_FindObjectsFinal", { session });
  if (objects.length === 1) return objects[0]!;
  throw new Error(`${objects.length} objects match ${JSON.stringify(match)}`);
}

async function create(): Promise<void> {
  made += 1;
  const one = `${name} ${made}`;
  say("+?", one);
  const template = toTemplate({
    CKA_CLASS: "CKO_DATA",
    CKA_TOKEN: true,
    CKA_PRIVATE: true,
    CKA_LABEL: one,
    CKA_VALUE: utf8(`value of ${one}`),
  });
  mine.set(one, (await app.call("C_CreateObject", { session, template })).object);
  say("+", one);
}

async function destroy(): Promise<void> {
  const [first] = mine;
  if (first === undefined) return;
  const [one, object] = first;
  say("-?", one);
  await app.call("C_DestroyObject", { session, object });
  mine.delete(one);
  say("-", one);
}

async function sign(): Promise<void> {
  const key = await only({ CKA_CLASS: "CKO_PRIVATE_KEY", CKA_LABEL: "ec" });
  const publicKey = await only({ CKA_CLASS: "CKO_PUBLIC_KEY", CKA_LABEL: "ec" });
  await app.call("C_SignInit", { session, mechanism: ecdsa(), key });
  const { output } = await app.call("C_Sign", { session, data: DATA, room: 256 });
  if (!("bytes" in output)) throw new Error("a signature does not fit");
  await app.call("C_VerifyInit", { session, mechanism: ecdsa(), key: publicKey });
  await app.call("C_Verify", { session, data: DATA, signature: output.bytes });
}

const ACTIONS: readonly (readonly [often: number, act: () => Promise<unknown>])[] = [
  [30, create],
  [25, destroy],
  [30, sign],
  [10, async () => mine.size > 0 && only({ CKA_LABEL: [...mine.keys()].at(-1)! })],
  [
    3,
    async () => {
      await app.call("C_CloseSession", { session });
      await open();
    },
  ],
  [
    2,
    async () => {
      await app.call("C_Finalize", {});
      await begin();
    },
  ],
];

await begin();
for (;;) {
  let at = Math.random() * ACTIONS.reduce((sum, [often]) => sum + often, 0);
  const chosen = ACTIONS.find(([often]) => {
    at -= often;
    return at < 0;
  });
  await chosen?.[1]();
}
