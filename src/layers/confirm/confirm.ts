/**
 * Confirmation as a layer: a person is asked before a private or secret key of the token is used.
 * @module
 */
import { randomUUID } from "node:crypto";
import { after } from "../../cryptoki/awaitable.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Mechanism, Reply, Ulong } from "../../cryptoki/port.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import { FUNCTION_OPERATIONS, type Operation, type OperationRow } from "../../spec/operations.ts";
import { isSecretAttribute } from "../../spec/secrecy.ts";
import type { Client } from "../client.ts";
import { isSecretKey, keyName, readFacts } from "../facts.ts";
import { Following } from "../following.ts";
import { keysInParameter } from "../parameters.ts";
import { type Refusal, refuse } from "../refusals.ts";
import { inSequence } from "../sequence.ts";
import type { Confirmer, Question } from "./confirmer.ts";

export interface ConfirmOptions {
  /** One for all connections, wherever it is. */
  readonly confirmer: Pick<Confirmer, "isRemembered" | "confirm">;
  readonly client: Client;
  /** Told each refusal, before it is answered. */
  readonly log: (refusal: Refusal) => Awaitable<void>;
}

/** A layer for one connection. */
export function confirmUses(options: ConfirmOptions): (inner: Cryptoki) => Cryptoki {
  return (inner) => {
    const asking = new Asking(inner, options);
    return { call: (fn, args) => asking.call(fn, args) };
  };
}

type AnyArgs = { readonly session: Ulong; readonly mechanism?: Mechanism | null } & Readonly<Record<string, unknown>>;

class Asking {
  readonly #inner: Cryptoki;
  readonly #options: ConfirmOptions;
  readonly #connection = randomUUID();
  readonly #following: Following<readonly Question[]>;

  constructor(inner: Cryptoki, options: ConfirmOptions) {
    this.#inner = inner;
    this.#options = options;
    this.#following = new Following(inner);
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    const row = FUNCTION_OPERATIONS[fn];
    const given = args as unknown as AnyArgs;
    return after(
      () => this.#questions(fn, row, given),
      (questions) =>
        after(
          () => inSequence(isAskedLater(row) || given.room === null ? [] : questions, (one) => this.#ask(fn, one)),
          () =>
            after(
              () => this.#inner.call(fn, args),
              (reply) => {
                this.#following.answered(fn, args, reply);
                if (row.begins !== undefined && given.mechanism !== null) {
                  this.#following.begin(given.session, row.begins, questions);
                }
                return reply;
              },
            ),
        ),
    );
  }

  /** What a call asks a person. */
  #questions(fn: FunctionName, row: OperationRow, args: AnyArgs): Awaitable<readonly Question[]> {
    if (row.message === "whole" || row.message === "begin") {
      return row.continues!.flatMap((one) => this.#following.get(args.session, one) ?? []);
    }
    if (row.begins !== undefined && args.mechanism === null) return [];
    return after(
      () => inSequence(usesIn(fn, row, args), ([as, handle]) => this.#question(as, handle, args)),
      (questions) => questions.flat(),
    );
  }

  #question(operation: Operation, handle: Ulong, { session, mechanism }: AnyArgs): Awaitable<readonly Question[]> {
    return after(
      () => readFacts(this.#inner, session, handle),
      (facts) => {
        // What a client made for itself is its own business.
        if (facts === undefined || !facts.isToken || !isSecretKey(facts)) return [];
        return after(
          () => this.#following.token(session),
          (token) => {
            const key = keyName(facts, token);
            const how = mechanism == null ? {} : { mechanism: mechanismName(mechanism.type) };
            return [{ client: this.#options.client, key, operation, ...how }];
          },
        );
      },
    );
  }

  #ask(fn: FunctionName, question: Question): Awaitable<void> {
    const { confirmer, log, client } = this.#options;
    if (confirmer.isRemembered(question, this.#connection)) return undefined;
    const decline = (reason: string): Awaitable<never> => {
      const { key, operation, mechanism } = question;
      const how = mechanism === undefined ? {} : { mechanism };
      const refusal: Refusal = {
        client,
        function: fn,
        rv: "CKR_FUNCTION_REJECTED",
        by: "the confirmation",
        reason,
        operation,
        key,
        ...how,
      };
      return refuse(refusal, log);
    };
    return confirmer.confirm(question, this.#connection).then(
      (yes) => (yes ? undefined : decline(`the person who was asked did not allow to ${question.operation}`)),
      (error) => decline(`nobody could be asked: ${error instanceof Error ? error.message : String(error)}`),
    );
  }
}

/** Keys that a call uses, and for what; to read what is secret of one is to extract it. */
function usesIn(fn: FunctionName, { objects = {} }: OperationRow, args: AnyArgs): readonly [Operation, Ulong][] {
  if (fn === "C_GetAttributeValue") {
    const { object, requests } = args as unknown as Args<"C_GetAttributeValue">;
    return requests.some(({ type }) => isSecretAttribute(type)) ? [["extract", object]] : [];
  }
  const named = Object.entries(objects).flatMap(([name, { as }]): [Operation, Ulong][] =>
    as === undefined ? [] : [[as, args[name] as Ulong]],
  );
  const keys = args.mechanism == null ? [] : keysInParameter(args.mechanism);
  return keys === "unreadable" ? named : [...named, ...keys.map((key): [Operation, Ulong] => ["derive", key])];
}

/** Messages are asked for one by one. */
function isAskedLater({ begins }: OperationRow): boolean {
  return begins?.startsWith("message") === true;
}
