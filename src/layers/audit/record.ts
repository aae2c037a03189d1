/**
 * The audit as a layer: a line for each use of a key, written before its result is given away.
 * @module
 */
import { performance } from "node:perf_hooks";
import { after } from "../../cryptoki/awaitable.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type { Args, Awaitable, Cryptoki, FunctionName, Mechanism, Reply, Ulong } from "../../cryptoki/port.ts";
import { CALL_FLAGS, hasFlag } from "../../spec/flags.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import { CKU, userName } from "../../spec/objects.ts";
import { FUNCTION_OPERATIONS, type Ongoing, type OperationRow } from "../../spec/operations.ts";
import { returnName } from "../../spec/returns.ts";
import { isSecretAttribute } from "../../spec/secrecy.ts";
import type { Client } from "../client.ts";
import { isSecretKey, keyName, readFacts } from "../facts.ts";
import { Following, toldSize } from "../following.ts";
import { inSequence } from "../sequence.ts";
import { type UsedKey, type UseEntry, usedKey } from "./lines.ts";

export interface AuditOptions {
  readonly client: Client;
  /** Writes an entry; what was done is not answered before. */
  readonly append: (entry: UseEntry) => Awaitable<void>;
}

/** A layer for one connection. */
export function recordUses(options: AuditOptions): (inner: Cryptoki) => Cryptoki {
  return (inner) => {
    const recorder = new Recorder(inner, options);
    return { call: (fn, args) => recorder.call(fn, args) };
  };
}

/** An operation of a session that works with keys. */
interface Begun {
  readonly keys: readonly UsedKey[];
  readonly mechanism: string | undefined;
  bytes: number;
  /** Whether a part of its data is recorded. */
  isStarted: boolean;
}

type AnyArgs = {
  readonly session: Ulong;
  readonly mechanism?: Mechanism | null;
} & Readonly<Record<string, unknown>>;

class Recorder {
  readonly #inner: Cryptoki;
  readonly #options: AuditOptions;
  readonly #following: Following<Begun>;

  constructor(inner: Cryptoki, options: AuditOptions) {
    this.#inner = inner;
    this.#options = options;
    this.#following = new Following(inner);
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    const row = FUNCTION_OPERATIONS[fn];
    const given = args as unknown as AnyArgs;
    switch (row.group) {
      case "library":
      case "token":
      case "session":
      case "find":
      case "random":
        return this.#pass(fn, args);
      case "login":
        return fn === "C_Logout" ? this.#pass(fn, args) : this.#single(fn, args, row, { user: user(given) });
      case "setUp":
        return this.#single(fn, args, row, {});
      case "make":
        return this.#single(fn, args, row, mechanismOf(given));
      case "state":
        return fn === "C_GetOperationState" ? this.#pass(fn, args) : this.#restore(fn, args);
      case "object":
        return this.#object(fn, args, row);
      case "use":
        if (row.begins !== undefined) return this.#begin(fn, args, row, row.begins);
        if (row.continues !== undefined && row.objects === undefined) return this.#goOn(fn, args, row, row.continues);
        return this.#single(fn, args, row, { ...mechanismOf(given), ...sizeOf(given) });
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

  /** A use in one call. */
  #single<F extends FunctionName>(
    fn: F,
    args: Args<F>,
    row: OperationRow,
    about: Partial<UseEntry>,
  ): Awaitable<Reply<F>> {
    return after(
      () => this.#keys(args as unknown as AnyArgs, row),
      (keys) =>
        this.#record(fn, args, keys, about, (reply) => (toldSize(reply) ? undefined : this.#made(args, row, reply))),
    );
  }

  /** Reading is a use where it gives away what is secret of a key; the rest is but looked at. */
  #object<F extends FunctionName>(fn: F, args: Args<F>, row: OperationRow): Awaitable<Reply<F>> {
    if (fn === "C_GetObjectSize") return this.#pass(fn, args);
    if (fn !== "C_GetAttributeValue") return this.#single(fn, args, row, {});
    const { session, object, requests } = args as Args<"C_GetAttributeValue">;
    if (!requests.some(({ type }) => isSecretAttribute(type))) return this.#pass(fn, args);
    return after(
      () => readFacts(this.#inner, session, object),
      (facts) => {
        if (facts === undefined || !isSecretKey(facts)) return this.#pass(fn, args);
        return after(
          () => this.#name("extract", session, object),
          (key) =>
            this.#record(fn, args, [key], {}, (reply) => {
              const { values } = (reply as Reply<"C_GetAttributeValue">).values;
              const isGiven = values.some(
                ({ type, value }) => value !== undefined && isSecretAttribute(type, facts.class),
              );
              return isGiven ? [] : undefined;
            }),
        );
      },
    );
  }

  #begin<F extends FunctionName>(fn: F, args: Args<F>, row: OperationRow, begins: Ongoing): Awaitable<Reply<F>> {
    const { session, mechanism } = args as unknown as AnyArgs;
    if (mechanism === null) return this.#pass(fn, args);
    return after(
      () => this.#keys(args as unknown as AnyArgs, row),
      (keys) => {
        const about = mechanismOf(args as unknown as AnyArgs);
        // What has begun is recorded when it is used; what has not, now.
        return this.#record(fn, args, keys, about, () => {
          this.#following.begin(session, begins, { keys, mechanism: about.mechanism, bytes: 0, isStarted: false });
          return undefined;
        });
      },
    );
  }

  #goOn<F extends FunctionName>(
    fn: F,
    args: Args<F>,
    row: OperationRow,
    continues: readonly Ongoing[],
  ): Awaitable<Reply<F>> {
    const given = args as unknown as AnyArgs;
    // Digests are uses only where a key goes into them; C_DigestKey says so.
    const ongoing = continues.filter((one) => one !== "digest" && one !== "find");
    if (ongoing.length === 0) return this.#pass(fn, args);
    const begun = ongoing.map((one) => this.#following.get(given.session, one));
    const part = partOf(row, given, begun[0]);
    const bytes = (begun[0]?.bytes ?? 0) + (sizeOf(given).bytes ?? 0);
    const [mechanism] = begun.flatMap((one) => one?.mechanism ?? []);
    const about = { ...(mechanism === undefined ? {} : { mechanism }), ...(part === undefined ? {} : { part }), bytes };
    const keys = begun.flatMap((one) => one?.keys ?? []);
    const isEnd = row.ends === true && ongoing[0]!.startsWith("message");
    return this.#record(fn, args, keys, about, (reply) => {
      if (toldSize(reply)) return undefined;
      const isFirst = begun.some((one) => one === undefined || !one.isStarted);
      for (const one of begun) {
        if (one === undefined) continue;
        one.bytes = row.message === undefined || row.message === "next" ? bytes : 0;
        one.isStarted = row.message === undefined;
      }
      // The end of all messages is none; updates between the first and the last say nothing new.
      if (isEnd) return undefined;
      return row.ends === true || row.message !== undefined || isFirst ? [] : undefined;
    });
  }

  /** Operations that were saved go on with these keys; which, the state alone knows. */
  #restore<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    const { session, encryptionKey, authenticationKey } = args as Args<"C_SetOperationState">;
    const named = Object.entries({ encryptionKey, authenticationKey }).filter(([, key]) => key !== 0);
    if (named.length === 0) return this.#pass(fn, args);
    return after(
      () => inSequence(named, ([, key]) => this.#name("restore", session, key)),
      (keys) =>
        this.#record(fn, args, keys, {}, () => {
          for (const [i, [name]] of named.entries()) {
            const restored: Ongoing[] = name === "encryptionKey" ? ["encrypt", "decrypt"] : ["sign", "verify"];
            const begun = { keys: [keys[i]!], mechanism: undefined, bytes: 0, isStarted: false };
            for (const one of restored) this.#following.begin(session, one, { ...begun });
          }
          return [];
        }),
    );
  }

  /**
   * Does a call and records it.
   * @param made tells which keys it made; undefined where it was no use after all
   */
  #record<F extends FunctionName>(
    fn: F,
    args: Args<F>,
    keys: readonly UsedKey[],
    about: Partial<UseEntry>,
    made: (reply: Reply<F>) => Awaitable<readonly UsedKey[] | undefined>,
  ): Awaitable<Reply<F>> {
    const from = performance.now();
    const entry = (result: string, more: readonly UsedKey[]): UseEntry => ({
      type: "use",
      client: this.#options.client,
      function: fn,
      keys: [...keys, ...more],
      ...about,
      result,
      ms: Math.round((performance.now() - from) * 1000) / 1000,
    });
    return after(
      () => this.#pass(fn, args),
      (reply) => {
        const told = (more: readonly UsedKey[] | undefined) =>
          more === undefined
            ? reply
            : after(
                () => this.#options.append(entry("CKR_OK", more)),
                () => reply,
                (error) => {
                  throw withheld(fn, error);
                },
              );
        return after(() => made(reply), told);
      },
      (error) => {
        const fail = () => {
          throw error;
        };
        const result = error instanceof CryptokiError ? returnName(error.rv) : "no answer";
        return after(() => this.#options.append(entry(result, [])), fail, fail);
      },
    );
  }

  #keys(args: AnyArgs, { objects = {} }: OperationRow): Awaitable<readonly UsedKey[]> {
    return inSequence(Object.entries(objects), ([name, { as }]) =>
      this.#name(as ?? "read", args.session, args[name] as Ulong),
    );
  }

  #made(args: object, { makes = [] }: OperationRow, reply: object): Awaitable<readonly UsedKey[]> {
    const { session } = args as AnyArgs;
    return inSequence(makes, (name) => this.#name("made", session, (reply as Record<string, Ulong>)[name]!));
  }

  /** A key as the log names it; by its handle alone where the token does not tell more. */
  #name(as: string, session: Ulong, handle: Ulong): Awaitable<UsedKey> {
    const unnamed = { as, handle: String(handle) };
    return after<UsedKey, UsedKey>(
      () =>
        after(
          () => readFacts(this.#inner, session, handle),
          (facts) =>
            facts === undefined
              ? unnamed
              : after(
                  () => this.#following.token(session),
                  (token) => usedKey(as, keyName(facts, token)),
                ),
        ),
      (key) => key,
      () => unnamed,
    );
  }
}

/** Nothing leaves without its line: the result is lost with it. */
function withheld(fn: FunctionName, error: unknown): CryptokiError {
  const why = error instanceof Error ? error.message : String(error);
  return new CryptokiError(fn, "CKR_FUNCTION_FAILED", `it was done, and its result is withheld: ${why}`, {
    cause: error,
    hints: ["keys are used only while the audit log can be written"],
  });
}

function mechanismOf({ mechanism }: AnyArgs): { mechanism?: string } {
  return mechanism == null ? {} : { mechanism: mechanismName(mechanism.type) };
}

/** How many bytes of data a call was given. */
function sizeOf({ data, wrapped, ciphertext }: AnyArgs): { bytes?: number } {
  const given = data ?? wrapped ?? ciphertext;
  return given instanceof Uint8Array ? { bytes: given.length } : {};
}

function user({ userType }: AnyArgs): string {
  return userName(Number(userType ?? CKU.CKU_USER[0]));
}

function partOf({ ends, message }: OperationRow, { flags }: AnyArgs, begun: Begun | undefined): UseEntry["part"] {
  if (message === "begin") return "first";
  if (message === "next") {
    return typeof flags === "number" && hasFlag(flags, CALL_FLAGS.CKF_END_OF_MESSAGE[0]) ? "last" : "next";
  }
  if (message === "whole") return undefined;
  if (ends === true) return begun?.isStarted === true ? "last" : undefined;
  return "first";
}
