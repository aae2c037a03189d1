/**
 * A policy: which clients may use which keys, for what, and when. Read from YAML or JSON.
 * @module
 */
import { fromHex, utf8 } from "../../codec/bytes.ts";
import { KeywrightError } from "../../cryptoki/errors.ts";
import { parseUri } from "../../cryptoki/uri.ts";
import { findOwner } from "../../host/accounts.ts";
import { HostError } from "../../host/errors.ts";
import { describeFaults, readDocument } from "../../schema/document.ts";
import type { Fault } from "../../schema/fields.ts";
import type { Client } from "../client.ts";
import { type ClientFields, type GrantFields, POLICY } from "./fields.ts";
import type { Grant } from "./grants.ts";

/** What some clients may do. */
export interface ClientRule {
  readonly name: string;
  /** Whom it is for: each list that is given has to have the client's own. */
  readonly uid?: readonly number[];
  readonly gid?: readonly number[];
  readonly program?: readonly string[];
  readonly socket?: readonly string[];
  readonly login: boolean;
  readonly readOnly: boolean;
  readonly createObjects: boolean;
  readonly setUp: boolean;
  readonly publicObjects: boolean;
  readonly keys: readonly Grant[];
}

export interface Policy {
  /** The file that it was read from. */
  readonly file: string;
  readonly timeZone: string;
  /** The first that is for a client applies to it. */
  readonly clients: readonly ClientRule[];
  /** A fault of a part of the file, for what is found out later. */
  faultAt(path: string, message: string, hint?: string): Fault;
}

/** A policy with faults, all of them. */
export class PolicyError extends KeywrightError {
  override readonly code = "ERR_POLICY";
  readonly faults: readonly Fault[];

  constructor(file: string, faults: readonly Fault[]) {
    const { message, hints } = describeFaults(file, faults);
    super(message, { hints });
    this.faults = faults;
  }
}

/**
 * Reads a policy.
 * @param text YAML 1.2 or JSON
 * @param file its path, for messages
 * @throws PolicyError with every fault, each with line and path
 */
export async function readPolicy(text: string, file: string): Promise<Policy> {
  const read = readDocument(text, { file, what: "a policy" }, POLICY);
  if ("faults" in read) throw new PolicyError(file, read.faults);
  const { value } = read;
  const faultAt: Policy["faultAt"] = (path, message, hint) => read.faultAt(path.split("."), message, hint);
  const faults: Fault[] = [];
  const fail = (...fault: Parameters<Policy["faultAt"]>) => void faults.push(faultAt(...fault));
  const clients: ClientRule[] = [];
  for (const [name, fields] of Object.entries(value.clients)) {
    const path = `clients.${name}`;
    if (!["uid", "gid", "program", "socket", "anyone"].some((who) => Object.hasOwn(fields, who))) {
      fail(path, "it does not say whom it is for", "give uid, gid, program or socket, or anyone: true");
    }
    for (const [i, { label, id, uri }] of (fields.keys ?? []).entries()) {
      if (label === undefined && id === undefined && uri === undefined) {
        fail(`${path}.keys.${i}`, "it names no key", "give label, id or uri");
      }
    }
    const uid = await numbers(
      fields.uid,
      (one) => one,
      (why) => fail(`${path}.uid`, why),
    );
    const gid = await numbers(
      fields.gid,
      (one) => `:${one}`,
      (why) => fail(`${path}.gid`, why),
    );
    clients.push(completeRule(name, fields, { uid, gid }));
  }
  if (faults.length > 0) throw new PolicyError(file, faults);
  return { file, timeZone: value.timeZone ?? "UTC", clients, faultAt };
}

/** Numbers of users or groups, which may be given by name. */
async function numbers(
  given: readonly string[] | undefined,
  owner: (one: string) => string,
  fail: (why: string) => void,
): Promise<readonly number[] | undefined> {
  if (given === undefined) return undefined;
  const found: number[] = [];
  for (const one of given) {
    try {
      const { uid, gid } = await findOwner(owner(one));
      found.push(owner(one).startsWith(":") ? gid : uid);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      fail(error.message);
    }
  }
  return found;
}

function completeRule(
  name: string,
  { anyone: _anyone, uid: _uid, gid: _gid, keys = [], ...fields }: ClientFields,
  who: { readonly uid: readonly number[] | undefined; readonly gid: readonly number[] | undefined },
): ClientRule {
  return {
    ...fields,
    ...(who.uid === undefined ? {} : { uid: who.uid }),
    ...(who.gid === undefined ? {} : { gid: who.gid }),
    name,
    login: fields.login ?? true,
    readOnly: fields.readOnly ?? true,
    createObjects: fields.createObjects ?? false,
    setUp: fields.setUp ?? false,
    publicObjects: fields.publicObjects ?? false,
    keys: keys.map((grant, i) => completeGrant(`clients.${name}.keys.${i}`, grant)),
  };
}

function completeGrant(path: string, { label, id, uri, ...fields }: GrantFields): Grant {
  return {
    ...fields,
    path,
    ...(label === undefined ? {} : { label: utf8(label) }),
    ...(id === undefined ? {} : { id: fromHex(id)! }),
    ...(uri === undefined ? {} : { uri: parseUri(uri) }),
  };
}

/** The rule for a client; undefined where the policy has none. What is not known of a client is in no list. */
export function ruleFor(policy: Policy, client: Client): ClientRule | undefined {
  const isListed = <T>(list: readonly T[] | undefined, own: T | undefined) =>
    list === undefined || (own !== undefined && list.includes(own));
  return policy.clients.find(
    ({ uid, gid, program, socket }) =>
      isListed(uid, client.uid) &&
      isListed(gid, client.gid) &&
      isListed(program, client.program) &&
      isListed(socket, client.socket),
  );
}

/** JSON Schema (draft 2020-12) of a policy. */
export function policySchema(): object {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Keywright policy",
    ...POLICY.schema,
  };
}
