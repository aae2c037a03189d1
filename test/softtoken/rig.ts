/** A token of its own for each test, and shorter ways to speak to it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { CryptokiError } from "../../src/cryptoki/errors.ts";
import type { AttributeValue, Cryptoki, Mechanism, Output, Provider } from "../../src/cryptoki/port.ts";
import { type SoftTokenOptions, softToken } from "../../src/softtoken/index.ts";
import type { AttributeName } from "../../src/spec/attributes.ts";
import { CKM, type MechanismName } from "../../src/spec/mechanisms.ts";
import { returnName } from "../../src/spec/returns.ts";
import { application, attributeOf, initialize, openSession, PIN, type Template, template } from "./plain.ts";

export * from "./plain.ts";

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

export interface Rig {
  readonly app: Cryptoki;
  readonly provider: Provider;
  readonly slot: number;
  readonly session: number;
}

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
  return attributeOf(r.app, r.session, object, name);
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
