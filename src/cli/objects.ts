/**
 * The objects that a command means.
 * @module
 */
import type { Attributes } from "../cryptoki/attributes.ts";
import { ObjectNotFoundError, type TokenObject } from "../cryptoki/session/objects.ts";
import type { Session } from "../cryptoki/session/session.ts";
import { formatUri } from "../cryptoki/uri.ts";
import type { Usage } from "../lifecycle/declaration.ts";
import type { Identity } from "../lifecycle/identities.ts";
import { parseId } from "../schema/ids.ts";
import type { UriType } from "../spec/uri.ts";
import { offering, texts } from "./command.ts";
import { fromArgument, ObjectChoiceError, UsageError } from "./errors.ts";
import { objectOf, type Target } from "./target.ts";

const CLASSES = {
  private: "CKO_PRIVATE_KEY",
  public: "CKO_PUBLIC_KEY",
  cert: "CKO_CERTIFICATE",
  "secret-key": "CKO_SECRET_KEY",
  data: "CKO_DATA",
} as const satisfies Record<UriType, string>;

/** A CKA_ID as the command line gives it, in hexadecimal. @throws UsageError */
export function idOf(given: string): string {
  return fromArgument("--id", () => parseId(/^\d+$/.test(given) ? BigInt(given) : given, given));
}

/** The `--usage` of a key. @throws UsageError for an unknown word */
export function usageOf(given: readonly string[]): Usage[] | undefined {
  const stranger = given.find((use) => !USAGES.includes(use));
  if (stranger !== undefined) {
    throw new UsageError(`${JSON.stringify(stranger)} is not a usage`, [`usages: ${USAGES.join(", ")}`]);
  }
  return given.length > 0 ? (given as Usage[]) : undefined;
}

const USAGES: readonly string[] = ["sign", "derive", "decrypt", "wrap"] satisfies Usage[];

export const USAGE_OPTION = {
  usage: offering(USAGES, texts("USE", "sign, derive, decrypt or wrap (default: sign; derive for X25519 and X448)")),
} as const;

/** What a target says of an object, as attributes to search for. */
export function matchOf(target: Target): Attributes {
  const { label, id } = objectOf(target);
  const type = target.uri.path.type as UriType | undefined;
  return {
    ...(label === undefined ? {} : { CKA_LABEL: label }),
    ...(id === undefined ? {} : { CKA_ID: id }),
    ...(type === undefined ? {} : { CKA_CLASS: CLASSES[type] }),
  };
}

/**
 * Every object that a target names, those of its fingerprint where one is given.
 * @throws ObjectNotFoundError when there is none
 */
export async function namedObjects(session: Session, target: Target): Promise<TokenObject[]> {
  return chosen(session, target, await findAll(session, matchOf(target)));
}

async function findAll(session: Session, match: Attributes): Promise<TokenObject[]> {
  const found: TokenObject[] = [];
  for await (const object of session.find(match)) found.push(object);
  return found;
}

async function chosen(session: Session, target: Target, found: TokenObject[]): Promise<TokenObject[]> {
  const { fingerprint } = target;
  const uri = formatUri(target.uri);
  if (found.length === 0) throw new ObjectNotFoundError(uri, session.token.uri, []);
  if (fingerprint === undefined) return found;
  const { choice, tellApart, withFingerprint } = await import("./fingerprints.ts");
  const told = await tellApart(session, found);
  const wanted = withFingerprint(told, fingerprint);
  if (wanted.length === 0) {
    throw new ObjectChoiceError(`no object ${uri} has the fingerprint ${fingerprint}`, await lines(told, choice));
  }
  return wanted.map(({ object }) => object);
}

const lines = <T>(told: readonly T[], line: (one: T) => Promise<string>) => Promise.all(told.map(line));

/** The objects as lines for people; those that have one URI, with what tells them apart. */
export async function describeObjects(session: Session, objects: readonly TokenObject[]): Promise<string[]> {
  const uris = await Promise.all(objects.map((object) => object.uri()));
  if (new Set(uris).size === uris.length) return uris;
  const { choice, tellApart } = await import("./fingerprints.ts");
  return lines(await tellApart(session, objects), choice);
}

/** Objects of several keys under one id and label are hardly all meant. @throws ObjectChoiceError naming them */
export async function refuseEntangled(
  session: Session,
  target: Target,
  objects: readonly TokenObject[],
): Promise<void> {
  const { choice, entangled, tellApart } = await import("./fingerprints.ts");
  const several = entangled(await tellApart(session, objects));
  if (several.length === 0) return;
  const fault = `${several.length} objects of several keys in ${session.token.uri} are ${formatUri(target.uri)}`;
  throw new ObjectChoiceError(fault, await lines(several, choice));
}

/** The one object of a class that a target names, whatever `type` its URI has. @throws ObjectChoiceError for several */
export async function namedObject(session: Session, target: Target, type: UriType): Promise<TokenObject> {
  const match = { ...matchOf(target), CKA_CLASS: CLASSES[type] };
  const found = await chosen(session, target, await findAll(session, match));
  if (found.length === 1) return found[0]!;
  const fault = `${found.length} objects in ${session.token.uri} are ${formatUri(target.uri)}`;
  throw new ObjectChoiceError(fault, await describeObjects(session, found));
}

/** Under which id and label an object stands. */
export async function identityOf(object: TokenObject): Promise<Identity> {
  const { CKA_ID, CKA_LABEL } = await object.get("CKA_ID", "CKA_LABEL");
  return { id: Buffer.from(CKA_ID ?? []).toString("hex"), label: CKA_LABEL ?? "" };
}
