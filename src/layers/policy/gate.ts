/**
 * What a client's rule says of one call: each object that it uses, each that it would make, and how often.
 * @module
 */
import { after } from "../../cryptoki/awaitable.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { Attribute, Awaitable, Cryptoki, FunctionName, Mechanism, Ulong } from "../../cryptoki/port.ts";
import { FUNCTIONS, type InputKind } from "../../spec/functions.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import { FUNCTION_OPERATIONS, type ObjectUse, type OperationRow } from "../../spec/operations.ts";
import type { Client } from "../client.ts";
import { isSecretKey, keyName, type ObjectFacts, readFacts } from "../facts.ts";
import type { Following } from "../following.ts";
import { keysInParameter } from "../parameters.ts";
import { type Refusal, refuse } from "../refusals.ts";
import { inSequence } from "../sequence.ts";
import type { UseCounters } from "./counters.ts";
import { accompanies, covers, type Grant } from "./grants.ts";
import { grantFor, isDenial, isOpen, isSameName, isVisible, type Subject, withTemplate } from "./objects.ts";
import type { ClientRule, Policy } from "./policy.ts";

export interface PolicyOptions {
  readonly policy: Policy;
  readonly client: Client;
  /** One for all connections. */
  readonly counters: UseCounters;
  /** Told each refusal, before it is answered. */
  readonly log: (refusal: Refusal) => Awaitable<void>;
  readonly now?: () => Date;
}

/** What is remembered of an operation of a session. */
export interface Begun {
  readonly mechanism?: number | undefined;
  readonly used?: Used | undefined;
  /** Of a search: what is left to tell. */
  found?: readonly Ulong[];
}

/** An object of the token and the grant that allows its use; own objects need none. */
export interface Used {
  readonly subject: Subject;
  readonly grant?: Grant;
}

/** The arguments of any function that works with objects. */
export type AnyArgs = {
  readonly session: Ulong;
  readonly mechanism?: Mechanism | null;
  readonly template?: readonly Attribute[];
} & Readonly<Record<string, unknown>>;

export class Gate {
  readonly #inner: Cryptoki;
  readonly #options: PolicyOptions;
  readonly #rule: ClientRule | undefined;
  readonly #following: Following<Begun>;

  constructor(inner: Cryptoki, options: PolicyOptions, rule: ClientRule | undefined, following: Following<Begun>) {
    this.#inner = inner;
    this.#options = options;
    this.#rule = rule;
    this.#following = following;
  }

  judge(fn: FunctionName, args: AnyArgs, rule: ClientRule, use: ObjectUse, handle: Ulong): Awaitable<Used> {
    return after(
      () => this.subject(args.session, handle),
      (subject) => {
        if (subject === undefined) throw new CryptokiError(fn, use.unknown);
        const mechanism =
          use.as === "digest" ? this.#following.get(args.session, "digest")?.mechanism : args.mechanism?.type;
        const about = { subject, ...(use.as === undefined ? {} : { operation: use.as }), mechanism };
        if (!isVisible(rule, subject)) return this.refuse(fn, use.unknown, "this client does not see it", about);
        const { facts } = subject;
        if (use.as === "copy") {
          if (!rule.createObjects)
            return this.refuse(fn, "CKR_ACTION_PROHIBITED", "createObjects is not allowed", about);
          if (!facts.isToken || !isSecretKey(facts)) return { subject };
          return this.refuse(fn, "CKR_ACTION_PROHIBITED", "a copy would be out of the policy's reach", about);
        }
        const isUnreadable = args.mechanism != null && keysInParameter(args.mechanism) === "unreadable";
        if (!facts.isToken) {
          if (!isUnreadable || rule.keys.some(({ mechanisms }) => mechanisms?.includes(mechanism!))) return { subject };
          const reason = `${mechanismName(mechanism!)}, whose parameter may name other keys, is allowed only where mechanisms lists it`;
          return this.refuse(fn, "CKR_ACTION_PROHIBITED", reason, about);
        }
        if (use.as === undefined) return { subject };
        if (rule.readOnly && (use.as === "modify" || use.as === "destroy")) {
          return this.refuse(fn, "CKR_ACTION_PROHIBITED", `${use.as} is not allowed: readOnly`, about);
        }
        const { timeZone } = this.#options.policy;
        const outcome = grantFor(rule, subject, {
          operation: use.as,
          mechanism,
          isUnreadable,
          now: this.#now(),
          timeZone,
        });
        if (!isDenial(outcome)) return { subject, grant: outcome };
        const rv = outcome.forNow ? "CKR_FUNCTION_REJECTED" : "CKR_ACTION_PROHIBITED";
        return this.refuse(fn, rv, outcome.reason, { ...about, path: outcome.path });
      },
    );
  }

  subject(session: Ulong, handle: Ulong): Awaitable<Subject | undefined> {
    return after(
      () => readFacts(this.#inner, session, handle),
      (facts) =>
        facts === undefined
          ? undefined
          : after(
              () => this.#following.token(session),
              (token) => ({ facts, token }),
            ),
    );
  }

  /** Refuses templates that would write what may not be, or make a key that may do more than its maker. */
  requireChange(fn: FunctionName, args: AnyArgs, rule: ClientRule, used: Used | undefined): Awaitable<unknown> {
    if (fn === "C_SetAttributeValue") {
      const { facts } = used!.subject;
      requireDistinct(fn, args.template!);
      if (!facts.isToken || isSameName(facts, withTemplate(facts, args.template!))) return undefined;
      const reason = "label and id of what the policy names may not change";
      return this.refuse(fn, "CKR_ACTION_PROHIBITED", reason, { subject: used!.subject, operation: "modify" });
    }
    if (FUNCTION_OPERATIONS[fn].makes === undefined) return undefined;
    return this.requireTemplates(fn, args, rule, fn === "C_CopyObject" ? used!.subject.facts : undefined);
  }

  requireTemplates(
    fn: FunctionName,
    args: AnyArgs,
    rule: ClientRule,
    from: ObjectFacts | undefined,
  ): Awaitable<unknown> {
    const inputs = Object.entries(FUNCTIONS[fn].in as Readonly<Record<string, InputKind>>);
    const templates = inputs.filter(([, kind]) => kind === "template").map(([name]) => args[name] as Attribute[]);
    return inSequence(templates, (template) => {
      requireDistinct(fn, template);
      const facts = withTemplate(from, template);
      if (!facts.isToken) return undefined;
      if (rule.readOnly) {
        return this.refuse(fn, "CKR_ACTION_PROHIBITED", "nothing may be written to the token: readOnly");
      }
      return after(
        () => this.#following.token(args.session),
        (token) => {
          if (rule.keys.some((grant) => covers(grant, facts, token) || accompanies(grant, facts, token))) return;
          const reason = "an object that no key of the policy names would not be seen again";
          return this.refuse(fn, "CKR_ACTION_PROHIBITED", reason, { subject: { facts, token } });
        },
      );
    });
  }

  /** Counts a use of each key whose uses are limited. */
  count(fn: FunctionName, rule: ClientRule, used: readonly Used[], args: AnyArgs): Awaitable<unknown> {
    const { counters, policy } = this.#options;
    // Only its size is asked for.
    if (args.room === null) return undefined;
    return inSequence(used, ({ subject, grant }) => {
      if (grant === undefined || (grant.perMinute === undefined && grant.perDay === undefined)) return undefined;
      const { perMinute, perDay, operations, path } = grant;
      const { uri } = keyName(subject.facts, subject.token);
      const limits = {
        ...(perMinute === undefined ? {} : { perMinute }),
        ...(perDay === undefined ? {} : { perDay }),
        timeZone: policy.timeZone,
      };
      return after(
        () => counters.take(`${rule.name} ${operations.join("+")} ${uri}`, limits, this.#now()),
        (exhausted) => {
          if (exhausted === undefined) return undefined;
          const reason = `more than ${exhausted.most} uses a ${exhausted.per} are not allowed`;
          return this.refuse(fn, "CKR_FUNCTION_REJECTED", reason, { subject, path });
        },
        (error) => {
          const why = error instanceof Error ? error.message : String(error);
          return this.refuse(fn, "CKR_FUNCTION_REJECTED", `its uses cannot be counted: ${why}`, { subject, path });
        },
      );
    });
  }

  refuse(
    fn: FunctionName,
    rv: Refusal["rv"],
    reason: string,
    about: {
      readonly subject?: Subject;
      readonly operation?: Refusal["operation"];
      readonly mechanism?: number | undefined;
      readonly path?: string;
    } = {},
  ): Awaitable<never> {
    const { policy, client, log } = this.#options;
    const { subject, operation, mechanism } = about;
    const path = about.path ?? (this.#rule === undefined ? "clients" : `clients.${this.#rule.name}`);
    const refusal: Refusal = {
      client,
      function: fn,
      rv,
      by: `${policy.file}: ${path}`,
      reason,
      ...(operation === undefined ? {} : { operation }),
      ...(subject === undefined ? {} : { key: keyName(subject.facts, subject.token) }),
      ...(mechanism === undefined ? {} : { mechanism: mechanismName(mechanism) }),
    };
    return refuse(refusal, log);
  }

  /** Whether the secret attributes of an object are for this client: those of its own keys, and of keys to be extracted. */
  mayExtract(rule: ClientRule, { subject }: Used): boolean {
    if (!subject.facts.isToken || !isSecretKey(subject.facts)) return true;
    const { policy } = this.#options;
    const wanted = { operation: "extract", isUnreadable: false, now: this.#now(), timeZone: policy.timeZone } as const;
    return !isDenial(grantFor(rule, subject, wanted));
  }

  /** What a session was given a key for goes on only while the key may be used. */
  goOn(fn: FunctionName, session: Ulong, row: OperationRow): Awaitable<readonly Used[]> {
    const going = (row.continues ?? []).flatMap((ongoing) => this.#following.get(session, ongoing)?.used ?? []);
    const { timeZone } = this.#options.policy;
    const closed = going.find(({ grant }) => grant !== undefined && !isOpen(grant, this.#now(), timeZone));
    if (closed === undefined) return going;
    const reason = `it is not allowed outside ${closed.grant!.hours!.map(({ text }) => text).join(", ")} (${timeZone})`;
    return this.refuse(fn, "CKR_FUNCTION_REJECTED", reason, { subject: closed.subject, path: closed.grant!.path });
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date();
  }
}

/** Modules differ in which of two values of one attribute they take. */
function requireDistinct(fn: FunctionName, template: readonly Attribute[]): void {
  if (new Set(template.map(({ type }) => type)).size < template.length) {
    throw new CryptokiError(fn, "CKR_TEMPLATE_INCONSISTENT", "an attribute stands there twice");
  }
}
