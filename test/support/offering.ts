/** Offers for tests: stores, clients, and what they are answered. Every test has a folder of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import { Module } from "../../src/cryptoki/module.ts";
import { Pin } from "../../src/cryptoki/pin.ts";
import type { Awaitable, Cryptoki } from "../../src/cryptoki/port.ts";
import { parseUri } from "../../src/cryptoki/uri.ts";
import { type ModuleReference, openProvider } from "../../src/modules/index.ts";
import { type OfferOptions, offer } from "../../src/modules/offered.ts";
import type { Applications } from "../../src/modules/pool.ts";
import { PinMemory } from "../../src/pins/memory.ts";
import { CALL_FLAGS } from "../../src/spec/flags.ts";

export const DONT_BLOCK = CALL_FLAGS.CKF_DONT_BLOCK[0];
export const [SESSION, WRITE] = [4, 6];

export async function answer(call: () => Awaitable<unknown>): Promise<string> {
  try {
    await call();
    return "CKR_OK";
  } catch (error) {
    if (!(error instanceof CryptokiError)) throw error;
    return error.message.split(" ")[1]!.replace(/[,:]$/, "");
  }
}

export let folder: string;
export let ends: (() => Promise<void>)[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "keywright-offered-"));
  ends = [];
});

afterEach(async () => {
  for (const end of ends.reverse()) await end();
  rmSync(folder, { recursive: true, force: true });
});

/** Initialises tokens with user PINs. */
export async function make(reference: ModuleReference, labels: readonly string[]): Promise<void> {
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

export async function softStore(name: string, labels: readonly string[]): Promise<ModuleReference> {
  const reference = { module: "softtoken", store: join(folder, name), scryptCost: 10 };
  await make(reference, labels);
  return reference;
}

export function offering(
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

export async function client(applications: Applications): Promise<Cryptoki> {
  const { cryptoki, end } = await applications.start();
  ends.push(end);
  await cryptoki.call("C_Initialize", { args: { reserved: "what the client's own module is configured with" } });
  return cryptoki;
}

export const labelsOf = async (p11: Cryptoki, slots: readonly (number | bigint)[]) => {
  const labels = [];
  for (const slot of slots) labels.push((await p11.call("C_GetTokenInfo", { slot })).info.label);
  return labels;
};

export const slotsOf = async (p11: Cryptoki, tokenPresent = true) =>
  (await p11.call("C_GetSlotList", { tokenPresent })).slots;
