/**
 * What a rule says of an object: whether its clients see it, and what they may do with it.
 * @module
 */
import { sameBytes } from "../../codec/bytes.ts";
import type { Attribute, Structure } from "../../cryptoki/port.ts";
import { CKA } from "../../spec/attributes.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import { factsOf, isSecretKey, type ObjectFacts } from "../facts.ts";
import { accompanies, covers, type Grant, type Grantable } from "./grants.ts";
import { isWithin } from "./hours.ts";
import type { ClientRule } from "./policy.ts";

/** What is known of an object that is to be used. */
export interface Subject {
  readonly facts: ObjectFacts;
  readonly token: Structure<"tokenInfo">;
}

/**
 * Whether the clients of a rule see an object: what they made for themselves in this connection, what is granted, what
 * belongs to that, and public objects where the rule shows them.
 */
export function isVisible(rule: ClientRule, { facts, token }: Subject): boolean {
  if (!facts.isToken) return true;
  if (rule.publicObjects && !facts.isPrivate && !isSecretKey(facts)) return true;
  return rule.keys.some((grant) => covers(grant, facts, token) || accompanies(grant, facts, token));
}

/** Why a use is not granted. */
export interface Denial {
  readonly path: string;
  readonly reason: string;
  /** Whether it may be granted at another time. */
  readonly forNow: boolean;
}

export interface Wanted {
  readonly operation: Grantable;
  readonly mechanism?: number | undefined;
  /** Whether the mechanism's parameter is bytes that may name any key. */
  readonly isUnreadable: boolean;
  readonly now: Date;
  readonly timeZone: string;
}

/** The grant that allows a use of an object in the token, or why none does. */
export function grantFor(rule: ClientRule, { facts, token }: Subject, wanted: Wanted): Grant | Denial {
  const { operation, mechanism, isUnreadable, now, timeZone } = wanted;
  const here = `clients.${rule.name}`;
  const grants = rule.keys.filter((grant) => covers(grant, facts, token));
  const first = grants[0]?.path ?? here;
  const allowing = grants.filter(({ operations }) => operations.includes(operation));
  if (allowing.length === 0) return { path: first, reason: `${operation} is not allowed`, forNow: false };
  const able =
    mechanism === undefined
      ? allowing
      : allowing.filter(({ mechanisms }) =>
          mechanisms === undefined ? !isUnreadable : mechanisms.includes(mechanism),
        );
  if (able.length === 0) {
    const name = mechanismName(mechanism!);
    const listed = allowing.some(({ mechanisms }) => mechanisms !== undefined);
    const reason = listed
      ? `${operation} is not allowed with ${name}`
      : `${operation} with ${name}, whose parameter may name other keys, is allowed only where mechanisms lists it`;
    return { path: allowing[0]!.path, reason, forNow: false };
  }
  const open = able.find((grant) => isOpen(grant, now, timeZone));
  if (open !== undefined) return open;
  const hours = able.flatMap((grant) => (grant.hours ?? []).map(({ text }) => text)).join(", ");
  return { path: able[0]!.path, reason: `${operation} is not allowed outside ${hours} (${timeZone})`, forNow: true };
}

export function isOpen({ hours }: Grant, now: Date, timeZone: string): boolean {
  return hours === undefined || isWithin(hours, now, timeZone);
}

export function isDenial(outcome: Grant | Denial): outcome is Denial {
  return "reason" in outcome;
}

/** An object as it will be with these attributes. */
export function withTemplate(facts: ObjectFacts | undefined, template: readonly Attribute[]): ObjectFacts {
  const given = new Map<number, unknown>(template.map(({ type, value }) => [type, value]));
  const after = factsOf(given);
  return {
    class: given.has(CKA.CKA_CLASS[0]) ? after.class : facts?.class,
    label: given.has(CKA.CKA_LABEL[0]) ? after.label : (facts?.label ?? after.label),
    id: given.has(CKA.CKA_ID[0]) ? after.id : (facts?.id ?? after.id),
    // A template that does not say it makes an object of the session.
    isToken: given.has(CKA.CKA_TOKEN[0]) ? after.isToken : (facts?.isToken ?? false),
    isPrivate: given.has(CKA.CKA_PRIVATE[0]) ? after.isPrivate : (facts?.isPrivate ?? true),
  };
}

/** Whether a change leaves an object where the policy has it: a key must not become one that may do more. */
export function isSameName(before: ObjectFacts, after: ObjectFacts): boolean {
  return sameBytes(before.label, after.label) && sameBytes(before.id, after.id);
}
