/**
 * Observing: one search per token, however many keys.
 * @module
 */
import { CryptokiError, KeywrightError } from "../cryptoki/errors.ts";
import type { TokenObject } from "../cryptoki/session/objects.ts";
import type { Token } from "../cryptoki/token.ts";
import type { HostError } from "../host/errors.ts";
import { CURVES } from "../spec/curves.ts";
import { CKM } from "../spec/mechanisms.ts";
import { X509Error } from "../x509/errors.ts";
import { curveFromParams, spkiFromAttributes } from "../x509/public-keys.ts";
import { fingerprint, readCertificate } from "../x509/read.ts";
import type { Access, PresentToken, Surroundings } from "./access.ts";
import { type Declaration, DeclarationError, type KeyDeclaration } from "./declaration.ts";
import { newIdentity } from "./identities.ts";
import { isMarked, keyMarker, replacementIn, tokenMarker } from "./markers.ts";
import { matchPrivateKeys } from "./match.ts";
import type { CanGenerate, Observation, SeenObject, SeenReplacement, SeenToken } from "./observation.ts";
import { observeFiles } from "./observe-files.ts";
import { stateFaults } from "./paths.ts";
import { keyTypeText } from "./values.ts";

/** Looks at everything that the declaration names. */
export async function observe(
  declaration: Declaration,
  accesses: ReadonlyMap<string, Access>,
  surroundings: Surroundings,
): Promise<Observation> {
  const faults = stateFaults(declaration, surroundings.state);
  if (faults.length > 0) throw new DeclarationError(declaration.file, faults);
  const pendingHooks: string[] = [];
  const replacing: Record<string, SeenReplacement> = {};
  for (const key of Object.values(declaration.keys)) {
    const access = accesses.get(key.token);
    if (access?.state !== "present") continue;
    if (isMarked(keyMarker("hooks", access, key, surroundings))) pendingHooks.push(key.name);
    const replacement = replacementIn(keyMarker("replacements", access, key, surroundings));
    if (replacement !== undefined) replacing[key.name] = replacement;
  }
  // After the markers: one that another run makes meanwhile is not taken for a stale one.
  const tokens: Record<string, SeenToken> = {};
  for (const name of Object.keys(declaration.tokens)) {
    const access = accesses.get(name);
    if (access === undefined) continue;
    const keys = Object.values(declaration.keys).filter(({ token }) => token === name);
    tokens[name] = await observeToken(access, keys, surroundings);
  }
  const pendingInitHooks = Object.values(declaration.tokens)
    .filter((token) => isMarked(tokenMarker("hooks", token, surroundings)))
    .map(({ name }) => name);
  return {
    tokens,
    ...(await observeFiles(declaration, surroundings.folder)),
    pendingHooks,
    pendingInitHooks,
    replacing,
  };
}

async function observeToken(
  access: Access,
  keys: readonly KeyDeclaration[],
  surroundings: Surroundings,
): Promise<SeenToken> {
  if (access.state === "unreadable") return failed(access.error);
  try {
    if (access.state === "absent") {
      const { reason, blank } = access;
      if (blank === undefined) return { state: "absent", reason, blank: false };
      const isLabelled = blank.has("CKF_TOKEN_INITIALIZED");
      const wasHere = !isLabelled && isMarked(tokenMarker("tokens", access.declared, surroundings));
      const more = isLabelled ? { lacksPin: true as const } : wasHere ? { wasHere: true as const } : {};
      return { state: "absent", reason, blank: true, ...more, canGenerate: await observeMechanisms(blank) };
    }
    return {
      state: "present",
      uri: access.token.uri,
      reach: access.reach,
      family: access.family.name,
      loggedIn: access.loggedIn,
      canGenerate: await observeMechanisms(access.token),
      objects: await matchPrivateKeys(access.session, await observeObjects(access), idsOf(keys)),
    };
  } catch (error) {
    // A failure to read is never taken for "there is nothing".
    if (error instanceof KeywrightError) return failed(error);
    throw error;
  }
}

/** The ids under which declared keys stand, and their replacements. */
function idsOf(keys: readonly KeyDeclaration[]): Set<string> {
  return new Set(keys.flatMap((key) => [key.id, newIdentity(key).id]));
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
