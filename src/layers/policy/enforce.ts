/**
 * The policy as a layer: what a client's rule does not allow is refused, and what it does not show is not there.
 *
 * Every function is looked up in the table of operations; one that is not in it is refused. What each handle stands for is
 * read from the token at each use.
 * @module
 */
import { after } from "../../cryptoki/awaitable.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Reply, Ulong } from "../../cryptoki/port.ts";
import { TOKEN_FLAGS } from "../../spec/flags.ts";
import { CKU } from "../../spec/objects.ts";
import { type ObjectUse, type OperationRow, operationOf } from "../../spec/operations.ts";
import { Following } from "../following.ts";
import { keysInParameter } from "../parameters.ts";
import { inSequence } from "../sequence.ts";
import { readAttributes } from "./attributes.ts";
import { type AnyArgs, type Begun, Gate, type PolicyOptions, type Used } from "./gate.ts";
import { isVisible } from "./objects.ts";
import { type ClientRule, ruleFor } from "./policy.ts";
import { findVisible } from "./search.ts";

/**
 * A layer for one connection, which has to be an application of its own: what it has in its sessions is taken for the
 * client's own.
 */
export function enforcePolicy(options: PolicyOptions): (inner: Cryptoki) => Cryptoki {
  const rule = ruleFor(options.policy, options.client);
  return (inner) => {
    const enforcer = new Enforcer(inner, options, rule);
    return { call: (fn, args) => enforcer.call(fn, args) };
  };
}

class Enforcer {
  readonly #inner: Cryptoki;
  readonly #rule: ClientRule | undefined;
  readonly #following: Following<Begun>;
  readonly #gate: Gate;

  constructor(inner: Cryptoki, options: PolicyOptions, rule: ClientRule | undefined) {
    this.#inner = inner;
    this.#rule = rule;
    this.#following = new Following(inner);
    this.#gate = new Gate(inner, options, rule, this.#following);
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    const row = operationOf(fn);
    if (row === undefined) return this.#gate.refuse(fn, "CKR_FUNCTION_REJECTED", "policies do not know this function");
    const rule = this.#rule;
    if (rule === undefined) {
      if (row.group === "library") return this.#pass(fn, args);
      return this.#gate.refuse(fn, "CKR_FUNCTION_REJECTED", "no rule is for this client");
    }
    const given = args as unknown as AnyArgs;
    switch (row.group) {
      case "token":
        return fn === "C_GetTokenInfo" ? this.#tokenInfo(fn, args, rule) : this.#pass(fn, args);
      case "library":
      case "session":
      case "random":
        return this.#pass(fn, args);
      case "setUp":
        if (rule.setUp) return this.#pass(fn, args);
        return this.#gate.refuse(fn, "CKR_ACTION_PROHIBITED", "setUp is not allowed");
      case "login":
        return this.#login(fn, args, rule);
      case "state":
        // What is saved may hold a key, or have been saved by another client.
        return this.#gate.refuse(fn, "CKR_FUNCTION_REJECTED", "the state of operations is neither saved nor restored");
      case "find":
        return this.#find(fn, args, rule);
      case "make":
        if (!rule.createObjects) return this.#gate.refuse(fn, "CKR_ACTION_PROHIBITED", "createObjects is not allowed");
        return after(
          () => this.#gate.requireTemplates(fn, given, rule, undefined),
          () => this.#pass(fn, args),
        );
      case "object":
      case "use":
        return this.#use(fn, args, rule, row);
    }
  }

  #pass<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    return after(
      () => this.#inner.call(fn, args),
      (reply) => {
        this.#following.answered(fn, args, reply);
        return reply;
      },
    );
  }

  #tokenInfo<F extends FunctionName>(fn: F, args: Args<F>, rule: ClientRule): Awaitable<Reply<F>> {
    if (!rule.readOnly) return this.#pass(fn, args);
    return after(
      () => this.#inner.call("C_GetTokenInfo", args as Args<"C_GetTokenInfo">),
      ({ info }) => {
        const flags = (Number(info.flags) | TOKEN_FLAGS.CKF_WRITE_PROTECTED[0]) >>> 0;
        return { info: { ...info, flags } } as Reply<"C_GetTokenInfo"> as Reply<F>;
      },
    );
  }

  #login<F extends FunctionName>(fn: F, args: Args<F>, rule: ClientRule): Awaitable<Reply<F>> {
    if (fn === "C_Logout") return this.#pass(fn, args);
    const { userType } = args as unknown as { userType: Ulong };
    const isUser = userType === CKU.CKU_USER[0] || userType === CKU.CKU_CONTEXT_SPECIFIC[0];
    const [allowed, option] = isUser ? [rule.login, "login"] : [rule.setUp, "a login as the SO (setUp)"];
    if (allowed) return this.#pass(fn, args);
    return this.#gate.refuse(fn, "CKR_ACTION_PROHIBITED", `${option} is not allowed`);
  }

  /** A search is made whole at its beginning: what is not shown is left out, and the session is free for questions. */
  #find<F extends FunctionName>(fn: F, args: Args<F>, rule: ClientRule): Awaitable<Reply<F>> {
    const { session, max } = args as unknown as { session: Ulong; max: number };
    const begun = this.#following.get(session, "find");
    switch (fn) {
      case "C_FindObjectsInit":
        if (begun !== undefined) throw new CryptokiError(fn, "CKR_OPERATION_ACTIVE");
        return after(
          () =>
            findVisible(this.#inner, args as Args<"C_FindObjectsInit">, (object) =>
              after(
                () => this.#gate.subject(session, object),
                (subject) => subject !== undefined && isVisible(rule, subject),
              ),
            ),
          (found) => {
            this.#following.begin(session, "find", { found });
            return {} as Reply<F>;
          },
        );
      case "C_FindObjects": {
        if (begun?.found === undefined) throw new CryptokiError(fn, "CKR_OPERATION_NOT_INITIALIZED");
        const objects = begun.found.slice(0, max);
        begun.found = begun.found.slice(max);
        return { objects } as Reply<"C_FindObjects"> as Reply<F>;
      }
      default:
        if (begun === undefined) throw new CryptokiError(fn, "CKR_OPERATION_NOT_INITIALIZED");
        this.#following.end(session, "find");
        return {} as Reply<F>;
    }
  }

  #use<F extends FunctionName>(fn: F, args: Args<F>, rule: ClientRule, row: OperationRow): Awaitable<Reply<F>> {
    const given = args as unknown as AnyArgs;
    // 3.0, 5.6: an Init without a mechanism cancels; the key's handle means nothing then.
    if (row.begins !== undefined && given.mechanism === null) return this.#pass(fn, args);
    const uses = usesIn(row, given);
    return after(
      () => inSequence(uses, ([use, handle]) => this.#gate.judge(fn, given, rule, use, handle)),
      (used) =>
        after(
          () => this.#gate.requireChange(fn, given, rule, used[0]),
          () =>
            after(
              () => this.#gate.goOn(fn, given.session, row),
              (going) =>
                after(
                  () => this.#gate.count(fn, rule, usesOf(row, used, going), given),
                  () => this.#send(fn, args, row, rule, used[0]),
                ),
            ),
        ),
    );
  }

  #send<F extends FunctionName>(
    fn: F,
    args: Args<F>,
    row: OperationRow,
    rule: ClientRule,
    used: Used | undefined,
  ): Awaitable<Reply<F>> {
    if (fn === "C_GetAttributeValue") {
      const read = args as Args<"C_GetAttributeValue">;
      return after(
        () => this.#gate.mayExtract(rule, used!),
        (may) => readAttributes(this.#inner, read, may ? undefined : used!.subject.facts),
      ) as Awaitable<Reply<F>>;
    }
    return after(
      () => this.#pass(fn, args),
      (reply) => {
        const { session, mechanism } = args as unknown as AnyArgs;
        if (row.begins !== undefined && mechanism !== null) {
          this.#following.begin(session, row.begins, { mechanism: mechanism?.type, used });
        }
        return reply;
      },
    );
  }
}

/** The handles of a call, and what each is used for; those in its mechanism's parameter too. */
function usesIn({ objects = {} }: OperationRow, args: AnyArgs): readonly (readonly [ObjectUse, Ulong])[] {
  const named = Object.entries(objects).map(([name, use]) => [use, args[name] as Ulong] as const);
  const keys = args.mechanism == null ? [] : keysInParameter(args.mechanism);
  if (keys === "unreadable") return named;
  const inParameter: ObjectUse = { as: "derive", unknown: "CKR_MECHANISM_PARAM_INVALID" };
  return [...named, ...keys.map((key) => [inParameter, key] as const)];
}

/** A key is used when an operation begins; of messages each is a use, and what they begin with is none. */
function usesOf({ message, begins }: OperationRow, used: readonly Used[], going: readonly Used[]): readonly Used[] {
  if (message === "whole" || message === "begin") return [...used, ...going];
  return begins?.startsWith("message") === true ? [] : used;
}
