/** A token of its own for each test, and shorter ways to speak to it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import type { Attribute, AttributeValue, Cryptoki, Mechanism, Output, Provider } from "../../src/cryptoki/port.ts";
import { type SoftTokenOptions, softToken } from "../../src/softtoken/index.ts";
import { type AttributeName, CKA } from "../../src/spec/attributes.ts";
import { CKM, type MechanismName } from "../../src/spec/mechanisms.ts";
import { returnName } from "../../src/spec/returns.ts";

export const SO_PIN = utf8("so-pin-1");
export const PIN = utf8("user-pin");

/** A folder that is removed after the test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "keywright-softtoken-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A provider with a cheap scrypt, closed after the test. */
export function provider(options: Partial<SoftTokenOptions> = {}): Provider {
  const made = softToken({ store: join(folder(), "store.db"), scryptCost: 10, ...options });
  onTestFinished(async () => void (await made.close()));
  return made;
}

export async function application(of: Provider): Promise<Cryptoki> {
  const app = await of.open();
  await app.call("C_Initialize", { args: {} });
  return app;
}

export interface Rig {
  readonly app: Cryptoki;
  readonly provider: Provider;
  readonly slot: number;
  readonly session: number;
}

export const RW = 6;
export const RO = 4;

/** A token that is initialised, with a user PIN; its one read-write session is logged in unless said otherwise. */
export async function rig(options: Partial<SoftTokenOptions> & { login?: boolean } = {}): Promise<Rig> {
  const { login = true, ...rest } = options;
  const of = provider(rest);
  const app = await application(of);
  const slot = await initialize(app, "test");
  const session = await openSession(app, slot);
  if (login) await app.call("C_Login", { session, userType: 1, pin: PIN });
  return { app, provider: of, slot, session };
}

/** Initialises the token of the free slot and gives it a user PIN. */
export async function initialize(app: Cryptoki, label: string): Promise<number> {
  const { slots } = await app.call("C_GetSlotList", { tokenPresent: true });
  const slot = slots.at(-1) as number;
  await app.call("C_InitToken", { slot, pin: SO_PIN, label: utf8(label) });
  const session = await openSession(app, slot);
  await app.call("C_Login", { session, userType: 0, pin: SO_PIN });
  await app.call("C_InitPIN", { session, pin: PIN });
  await app.call("C_CloseSession", { session });
  return slot;
}

export async function openSession(app: Cryptoki, slot: number, flags = RW): Promise<number> {
  return (await app.call("C_OpenSession", { slot, flags })).session as number;
}

type Template = { readonly [N in AttributeName]?: AttributeValue | string };

/** A template by names; texts become UTF-8. */
export function template(values: Template): Attribute[] {
  return Object.entries(values).map(([name, value]) => ({
    type: CKA[name as AttributeName][0],
    value: typeof value === "string" ? utf8(value) : (value as AttributeValue),
  }));
}

export function mechanism(name: MechanismName, parameter?: Mechanism["parameter"]): Mechanism {
  return parameter === undefined ? { type: CKM[name][0] } : { type: CKM[name][0], parameter };
}

/** The bytes of an output. */
export function bytes(output: Output): Uint8Array {
  if ("needed" in output) throw new Error(`no bytes: ${output.needed} are needed`);
  return output.bytes;
}

/** The return value with which a call fails, such as "CKR_PIN_INCORRECT"; "CKR_OK" if it does not. */
export async function rvOf(work: () => unknown): Promise<string> {
  try {
    await work();
    return "CKR_OK";
  } catch (error) {
    if (error instanceof CryptokiError) return returnName(error.rv);
    throw error;
  }
}

/** One attribute of an object; undefined when it is hidden or absent. */
export async function attribute(
  r: Rig,
  object: number | bigint,
  name: AttributeName,
): Promise<AttributeValue | undefined> {
  const requests = [{ type: CKA[name][0] }];
  const { values } = await r.app.call("C_GetAttributeValue", { session: r.session, object, requests });
  return values.values[0]?.value;
}

export async function findAll(r: Rig, values: Template): Promise<readonly (number | bigint)[]> {
  const { app, session } = r;
  await app.call("C_FindObjectsInit", { session, template: template(values) });
  const { objects } = await app.call("C_FindObjects", { session, max: 1000 });
  await app.call("C_FindObjectsFinal", { session });
  return objects;
}

export async function sign(r: Rig, key: number | bigint, how: Mechanism, data: Uint8Array): Promise<Uint8Array> {
  const { app, session } = r;
  await app.call("C_SignInit", { session, mechanism: how, key });
  return bytes((await app.call("C_Sign", { session, data, room: 100_000 })).output);
}

export async function verify(
  r: Rig,
  key: number | bigint,
  how: Mechanism,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<string> {
  const { app, session } = r;
  await app.call("C_VerifyInit", { session, mechanism: how, key });
  return rvOf(() => app.call("C_Verify", { session, data, signature }));
}

export interface Pair {
  readonly publicKey: number | bigint;
  readonly privateKey: number | bigint;
}

export async function generatePair(
  r: Rig,
  how: MechanismName,
  publicValues: Template,
  privateValues: Template = {},
): Promise<Pair> {
  return r.app.call("C_GenerateKeyPair", {
    session: r.session,
    mechanism: mechanism(how),
    publicTemplate: template({ CKA_VERIFY: true, ...publicValues }),
    privateTemplate: template({ CKA_SIGN: true, ...privateValues }),
  });
}
