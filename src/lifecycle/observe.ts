/**
 * Observing: one search per token, however many keys.
 * @module
 */
import { createHash } from "node:crypto";
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { CryptokiError, KeywrightError } from "../cryptoki/errors.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Token } from "../cryptoki/token.ts";
import { findOwner } from "../host/accounts.ts";
import { explainSystem, HostError, systemCode } from "../host/errors.ts";
import { CURVES } from "../spec/curves.ts";
import { CKM } from "../spec/mechanisms.ts";
import { X509Error } from "../x509/errors.ts";
import { curveFromParams, spkiFromAttributes } from "../x509/public-keys.ts";
import { fingerprint, readCertificate, readCertificates, requestPublicKey } from "../x509/read.ts";
import type { Access, PresentToken, Surroundings } from "./access.ts";
import type { Declaration } from "./declaration.ts";
import { isPending } from "./hook-markers.ts";
import { matchPrivateKeys } from "./match.ts";
import type { CanGenerate, Observation, SeenFile, SeenImport, SeenObject, SeenToken } from "./observation.ts";
import { keyTypeText } from "./values.ts";

/** Looks at everything that the declaration names. */
export async function observe(
  declaration: Declaration,
  accesses: ReadonlyMap<string, Access>,
  surroundings: Surroundings,
): Promise<Observation> {
  const tokens: Record<string, SeenToken> = {};
  for (const name of Object.keys(declaration.tokens)) {
    const access = accesses.get(name);
    if (access !== undefined) tokens[name] = await observeToken(access, surroundings);
  }
  const files: Record<string, SeenFile> = {};
  const imports: Record<string, SeenImport> = {};
  const requests: Record<string, string> = {};
  for (const { certificate } of Object.values(declaration.keys)) {
    for (const { path, owner } of certificate?.publish ?? []) {
      const whole = resolve(surroundings.folder, path);
      files[whole] = await observeFile(whole, owner);
    }
    if (certificate?.csr !== undefined) {
      const whole = resolve(surroundings.folder, certificate.csr);
      const publicKey = await observeRequest(whole);
      if (publicKey !== undefined) requests[whole] = publicKey;
    }
    if (certificate?.import !== undefined) {
      const whole = resolve(surroundings.folder, certificate.import);
      imports[whole] = await observeImport(whole);
    }
  }
  const pendingHooks = Object.values(declaration.keys)
    .filter((key) => isPending(surroundings, { token: declaration.tokens[key.token]!, key: key.name }))
    .map(({ name }) => name);
  const pendingInitHooks = Object.values(declaration.tokens)
    .filter((token) => isPending(surroundings, { token }))
    .map(({ name }) => name);
  return { tokens, files, imports, requests, pendingHooks, pendingInitHooks };
}

async function observeToken(access: Access, surroundings: Surroundings): Promise<SeenToken> {
  if (access.state === "unreadable") return failed(access.error);
  try {
    if (access.state === "absent") {
      const { reason, blank } = access;
      if (blank === undefined) return { state: "absent", reason, blank: false };
      const lacksPin = blank.has("CKF_TOKEN_INITIALIZED") ? { lacksPin: true as const } : {};
      return { state: "absent", reason, blank: true, ...lacksPin, canGenerate: await observeMechanisms(blank) };
    }
    return {
      state: "present",
      uri: access.token.uri,
      reach: surroundings.reach?.(access.declared) ?? declaredReach(access.declared),
      family: access.family.name,
      loggedIn: access.loggedIn,
      canGenerate: await observeMechanisms(access.token),
      objects: await matchPrivateKeys(access.session, await observeObjects(access)),
    };
  } catch (error) {
    // A failure to read is never taken for "there is nothing".
    if (error instanceof KeywrightError) return failed(error);
    throw error;
  }
}

function declaredReach({ module, store, environment, reserved }: Access["declared"]): string {
  return JSON.stringify([module, store, environment, reserved]);
}

function failed(error: KeywrightError | HostError): SeenToken {
  const pin =
    error instanceof CryptokiError ? error.isPin : error.code === "ERR_PIN_SOURCE" || error.code === "ERR_PIN_MISSING";
  return { state: "unreadable", error: error.message, hints: error.hints, pin };
}

const GENERATORS = {
  RSA: "CKM_RSA_PKCS_KEY_PAIR_GEN",
  EC: "CKM_EC_KEY_PAIR_GEN",
  Edwards: "CKM_EC_EDWARDS_KEY_PAIR_GEN",
  Montgomery: "CKM_EC_MONTGOMERY_KEY_PAIR_GEN",
} as const;

/** Which key pairs a token can make, and in which sizes. */
export async function observeMechanisms({ module, slot }: Token): Promise<CanGenerate> {
  const can: Record<string, { least: number; most: number }> = {};
  // Not by asking for each: some libraries complain on standard error of one that they do not have.
  const { mechanisms } = await module.call("C_GetMechanismList", { slot });
  const there = new Set(mechanisms.map(Number));
  for (const [algorithm, name] of Object.entries(GENERATORS)) {
    const [type] = CKM[name];
    if (!there.has(type)) continue;
    const { info } = await module.call("C_GetMechanismInfo", { slot, type });
    can[algorithm] = { least: Number(info.minKeySize), most: Number(info.maxKeySize) };
  }
  return can;
}

async function observeObjects({ session }: PresentToken): Promise<SeenObject[]> {
  const seen: SeenObject[] = [];
  for await (const object of session.find({ CKA_TOKEN: true })) {
    const one = await observeObject(object);
    if (one !== undefined) seen.push(one);
  }
  const order = (o: SeenObject) => JSON.stringify([o.id, o.label, o.class, o.publicKey ?? "", o.der ?? ""]);
  return seen
    .map((one) => ({ one, at: order(one) }))
    .sort((a, b) => (a.at < b.at ? -1 : 1))
    .map(({ one }) => one);
}

const KEY_FLAGS = [
  "CKA_SIGN",
  "CKA_DECRYPT",
  "CKA_DERIVE",
  "CKA_UNWRAP",
  "CKA_EXTRACTABLE",
  "CKA_SENSITIVE",
  "CKA_ALWAYS_AUTHENTICATE",
  "CKA_WRAP_WITH_TRUSTED",
  "CKA_MODIFIABLE",
  "CKA_COPYABLE",
] as const;

/** What a key can be made of; undefined for other objects. */
export async function observeObject(object: TokenObject): Promise<SeenObject | undefined> {
  const { CKA_CLASS, CKA_ID, CKA_LABEL } = await object.get("CKA_CLASS", "CKA_ID", "CKA_LABEL");
  const identity = { handle: object.handle, id: Buffer.from(CKA_ID ?? []).toString("hex"), label: CKA_LABEL ?? "" };
  if (CKA_CLASS === "CKO_CERTIFICATE")
    return { class: "certificate", ...identity, ...(await observeCertificate(object)) };
  if (CKA_CLASS !== "CKO_PRIVATE_KEY" && CKA_CLASS !== "CKO_PUBLIC_KEY") return undefined;
  const read = await object.get("CKA_KEY_TYPE", "CKA_MODULUS", "CKA_PUBLIC_EXPONENT", "CKA_EC_PARAMS", "CKA_EC_POINT");
  const spki = readable(() => spkiFromAttributes(read));
  const known = {
    ...identity,
    ...declaredType(read),
    ...(spki === undefined ? {} : { publicKey: fingerprint(spki), spki: Buffer.from(spki).toString("base64") }),
  };
  if (CKA_CLASS === "CKO_PUBLIC_KEY") return { class: "public", ...known };
  const { CKA_ALLOWED_MECHANISMS, ...flags } = await object.get(...KEY_FLAGS, "CKA_ALLOWED_MECHANISMS");
  return {
    class: "private",
    ...known,
    flags: Object.fromEntries(KEY_FLAGS.flatMap((name) => (flags[name] === undefined ? [] : [[name, flags[name]]]))),
    ...(CKA_ALLOWED_MECHANISMS === undefined || CKA_ALLOWED_MECHANISMS.length === 0
      ? {}
      : { allowedMechanisms: CKA_ALLOWED_MECHANISMS.map(String) }),
  };
}

/** A public key that its token holds wrongly is one that the object does not tell; other keys are seen all the same. */
function readable<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof X509Error) return undefined;
    throw error;
  }
}

function declaredType(read: { CKA_MODULUS?: Uint8Array; CKA_EC_PARAMS?: Uint8Array }): { type?: string } {
  if (read.CKA_MODULUS !== undefined && read.CKA_MODULUS.length > 0) {
    const [first, ...rest] = read.CKA_MODULUS.subarray(read.CKA_MODULUS.findIndex((byte) => byte !== 0));
    return { type: `RSA:${first!.toString(2).length + 8 * rest.length}` };
  }
  const { CKA_EC_PARAMS: params } = read;
  const curve = params === undefined ? undefined : readable(() => curveFromParams(params));
  if (curve === undefined) return {};
  const algorithms = { weierstrass: "EC", edwards: "Edwards", montgomery: "Montgomery" } as const;
  return { type: keyTypeText({ algorithm: algorithms[CURVES[curve].family], curve }) };
}

async function observeCertificate(object: TokenObject): Promise<Partial<SeenObject>> {
  const { CKA_VALUE } = await object.get("CKA_VALUE");
  if (CKA_VALUE === undefined || CKA_VALUE.length === 0) return { unreadable: "the object has no CKA_VALUE" };
  try {
    const { spki } = readCertificate(CKA_VALUE);
    return {
      der: Buffer.from(CKA_VALUE).toString("base64"),
      publicKey: fingerprint(spki),
      spki: Buffer.from(spki).toString("base64"),
    };
  } catch (error) {
    return { unreadable: (error as Error).message };
  }
}

async function observeFile(path: string, owner: string | undefined): Promise<SeenFile> {
  try {
    const blocked = await whyNotWritable(path, owner);
    const why = blocked === undefined ? {} : { blocked };
    // Small files, one after the other: waiting for a thread at each would take longer than reading.
    const status = statSync(path, { throwIfNoEntry: false });
    if (status === undefined) return { state: "absent", ...why };
    const sha256 = createHash("sha256").update(readFileSync(path)).digest("hex");
    const owned = owner === undefined || blocked !== undefined || owns(await findOwner(owner), status);
    return { state: "present", sha256, mode: status.mode & 0o777, owned, ...why };
  } catch (error) {
    return { state: "unreadable", error: explainSystem(error) };
  }
}

function owns(owner: { uid: number; gid: number }, { uid, gid }: { uid: number; gid: number }): boolean {
  return (owner.uid === -1 || owner.uid === uid) && (owner.gid === -1 || owner.gid === gid);
}

/** Why a file could not be put there: an owner that this machine does not know, a folder that is closed. */
async function whyNotWritable(path: string, owner: string | undefined): Promise<string | undefined> {
  try {
    if (owner !== undefined) await findOwner(owner);
  } catch (error) {
    if (error instanceof HostError) return error.message;
    throw error;
  }
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    try {
      // A path with a slash at its end is a folder, or an error.
      accessSync(join(folder, "/"), constants.W_OK | constants.X_OK);
      return undefined;
    } catch (error) {
      const above = systemCode(error) === "ENOENT" && folder !== dirname(folder);
      if (!above) return `${folder}: ${explainSystem(error)}`;
    }
  }
}

/** A file that is no request, or cannot be read, is written anew. */
async function observeRequest(path: string): Promise<string | undefined> {
  const contents = await readFile(path).catch(() => undefined);
  const spki = contents === undefined ? undefined : requestPublicKey(contents);
  return spki === undefined ? undefined : fingerprint(spki);
}

async function observeImport(path: string): Promise<SeenImport> {
  try {
    const [first] = readCertificates(await readFile(path));
    return { state: "present", der: Buffer.from(first!.der).toString("base64") };
  } catch (error) {
    return systemCode(error) === "ENOENT" ? { state: "absent" } : { state: "unreadable", error: explainSystem(error) };
  }
}
