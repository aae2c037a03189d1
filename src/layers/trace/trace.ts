/**
 * The trace as a layer: every call, decoded, to a sink. It makes no call of its own: what it knows of handles it has seen.
 * @module
 */
import { performance } from "node:perf_hooks";
import { fromUtf8 } from "../../codec/bytes.ts";
import { after } from "../../cryptoki/awaitable.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type {
  Args,
  Attribute,
  AttributeReplies,
  AttributeRequest,
  Awaitable,
  Cryptoki,
  FunctionName,
  InitArgs,
  Mechanism,
  Output,
  Reply,
  Structure,
  Ulong,
} from "../../cryptoki/port.ts";
import { attributeName } from "../../spec/attributes.ts";
import { CALL_FLAGS, flagNames, MECHANISM_FLAGS, SESSION_FLAGS } from "../../spec/flags.ts";
import { FUNCTIONS, type InputKind, type OutputKind } from "../../spec/functions.ts";
import { mechanismName } from "../../spec/mechanisms.ts";
import { CKO, userName } from "../../spec/objects.ts";
import { FUNCTION_OPERATIONS, type OperationRow } from "../../spec/operations.ts";
import { returnName } from "../../spec/returns.ts";
import { Following } from "../following.ts";
import {
  type KnownObject,
  knownFrom,
  makesPublic,
  Shower,
  type Shown,
  shownHandle,
  shownStructure,
  shownUlong,
} from "./shown.ts";

/** A call that was made. */
export interface TracedCall {
  readonly function: FunctionName;
  /** By the names of the function's row. */
  readonly arguments: Readonly<Record<string, Shown>>;
  readonly results: Readonly<Record<string, Shown>>;
  /** Such as `CKR_OK`. */
  readonly result: string;
  /** Why there was no answer at all. */
  readonly error?: string;
  /** When it began. */
  readonly time: string;
  readonly ms: number;
}

export interface TraceOptions {
  readonly sink: (call: TracedCall) => void;
  /** Shows secrets; PINs never. */
  readonly secrets?: boolean;
}

/** A layer for one connection. */
export function traceCalls(options: TraceOptions): (inner: Cryptoki) => Cryptoki {
  return (inner) => {
    const tracer = new Tracer(inner, options);
    return { call: (fn, args) => tracer.call(fn, args) };
  };
}

/** More objects than this are forgotten again. */
const MOST_OBJECTS = 100_000;

type Values = Readonly<Record<string, unknown>>;

class Tracer {
  readonly #inner: Cryptoki;
  readonly #sink: TraceOptions["sink"];
  readonly #show: Shower;
  readonly #objects = new Map<Ulong, KnownObject>();
  /** Of an operation its key, of a search what it looks for. */
  readonly #following: Following<KnownObject>;

  constructor(inner: Cryptoki, { sink, secrets = false }: TraceOptions) {
    this.#inner = inner;
    this.#sink = sink;
    this.#show = new Shower(secrets);
    this.#following = new Following(inner);
  }

  call<F extends FunctionName>(fn: F, args: Args<F>): Awaitable<Reply<F>> {
    const time = new Date().toISOString();
    const from = performance.now();
    const given = args as Values;
    const row = FUNCTIONS[fn];
    const end = (result: string, results: TracedCall["results"], error?: string) => {
      const ms = Math.round((performance.now() - from) * 1000) / 1000;
      const shown = this.#all(row.in, given, (kind, name, value) => this.#input(fn, kind, name, value, given));
      this.#sink({
        function: fn,
        arguments: shown,
        results,
        result,
        ...(error === undefined ? {} : { error }),
        time,
        ms,
      });
    };
    return after(
      () => this.#inner.call(fn, args),
      (reply) => {
        const { rv } = (reply as { values?: AttributeReplies }).values ?? {};
        this.#learn(fn, given, reply as Values);
        const results = this.#all(row.out, reply as Values, (kind, name, value) =>
          this.#output(fn, kind, name, value, given),
        );
        const { parameter } = reply as { parameter?: NonNullable<Mechanism["parameter"]> };
        const all = parameter === undefined ? results : { ...results, parameter: this.#show.parameter(parameter) };
        end(returnName(rv ?? 0), all);
        this.#follow(fn, args, reply, given);
        return reply;
      },
      (error) => {
        if (error instanceof CryptokiError) end(returnName(error.rv), {});
        else end("no answer", {}, error instanceof Error ? error.message : String(error));
        throw error;
      },
    );
  }

  #all<K extends string>(
    kinds: Readonly<Record<string, K>>,
    values: Values,
    show: (kind: K, name: string, value: unknown) => Shown,
  ): Readonly<Record<string, Shown>> {
    return Object.fromEntries(
      Object.entries(kinds)
        .filter(([name, kind]) => kind !== "null" && values[name] !== undefined)
        .map(([name, kind]) => [name, show(kind, name, values[name])]),
    );
  }

  #input(fn: FunctionName, kind: InputKind, name: string, value: unknown, args: Values): Shown {
    switch (kind) {
      case "pin":
        return value === null ? null : "(a PIN)";
      case "bytes":
      case "parameter":
        return this.#show.bytes(value as Uint8Array, this.#isPublic(fn, name, args));
      case "label":
      case "username":
        return fromUtf8(value as Uint8Array);
      case "mechanism":
      case "mechanismOrNull":
        return value === null ? null : this.#show.mechanism(value as Mechanism);
      case "template":
        return this.#show.attributes(value as readonly Attribute[], this.#classOf(name, args));
      case "requests":
        return (value as readonly AttributeRequest[]).map(({ type }) => attributeName(type));
      case "initArgs":
        return (value as InitArgs).reserved === undefined
          ? {}
          : { reserved: this.#show.bytes(Buffer.from((value as InitArgs).reserved!), false) };
      case "bool":
      case "room":
      case "count":
        return value as boolean | number | null;
      case "null":
        return null;
      case "ulong":
        return this.#number(fn, name, value as Ulong);
    }
  }

  #output(fn: FunctionName, kind: OutputKind, name: string, value: unknown, args: Values): Shown {
    switch (kind) {
      case "ulong":
        return this.#number(fn, name, value as Ulong);
      case "ulongs":
        return (value as readonly Ulong[]).map((one) =>
          name === "mechanisms" ? mechanismName(Number(one)) : shownUlong(one),
        );
      case "output": {
        const output = value as Output;
        if ("needed" in output) return { needed: output.needed };
        return this.#show.bytes(output.bytes, this.#isPublic(fn, name, args));
      }
      case "random":
        return this.#show.bytes(value as Uint8Array, false);
      case "found":
        return (value as readonly Ulong[]).map((one) => shownHandle(one, this.#objects.get(one)));
      case "values": {
        const { values } = value as AttributeReplies;
        return this.#show.attributes(values, this.#objects.get(args.object as Ulong)?.class);
      }
      case "info":
      case "slotInfo":
      case "tokenInfo":
      case "sessionInfo":
      case "mechanismInfo":
        return shownStructure(kind, value as Structure<typeof kind>);
    }
  }

  /** A number: a handle, a flag word or a code by what it is called. */
  #number(fn: FunctionName, name: string, value: Ulong): Shown {
    const { objects = {}, makes = [], message } = FUNCTION_OPERATIONS[fn];
    if (Object.hasOwn(objects, name) || makes.includes(name)) return shownHandle(value, this.#objects.get(value));
    if (name === "userType") return userName(Number(value));
    if (fn === "C_GetMechanismInfo" && name === "type") return mechanismName(Number(value));
    if (name !== "flags") return shownUlong(value);
    if (fn === "C_OpenSession") return flagNames(Number(value), SESSION_FLAGS);
    if (fn === "C_SessionCancel") return flagNames(Number(value), MECHANISM_FLAGS);
    if (message === "next") return flagNames(Number(value), { CKF_END_OF_MESSAGE: CALL_FLAGS.CKF_END_OF_MESSAGE });
    if (fn === "C_WaitForSlotEvent") return flagNames(Number(value), { CKF_DONT_BLOCK: CALL_FLAGS.CKF_DONT_BLOCK });
    return shownUlong(value);
  }

  #isPublic(fn: FunctionName, name: string, args: Values): boolean {
    const { bytes = {}, continues = [] }: OperationRow = FUNCTION_OPERATIONS[fn];
    if (bytes[name] !== "signature") return bytes[name] === "public";
    // Of C_VerifySignatureInit the key is among the arguments.
    const [ongoing] = continues;
    if (ongoing === undefined) return makesPublic(this.#objects.get(args.key as Ulong));
    return makesPublic(this.#following.get(args.session as Ulong, ongoing));
  }

  /** The class that the place of a template tells. */
  #classOf(name: string, args: Values): Ulong | undefined {
    if (name === "publicTemplate") return CKO.CKO_PUBLIC_KEY[0];
    if (name === "privateTemplate") return CKO.CKO_PRIVATE_KEY[0];
    return this.#objects.get(args.object as Ulong)?.class;
  }

  /** What a call tells of objects. */
  #learn(fn: FunctionName, args: Values, reply: Values): void {
    const { makes = [] } = FUNCTION_OPERATIONS[fn];
    for (const name of makes) {
      const template =
        args[name === "publicKey" || name === "privateKey" ? `${name.slice(0, -3)}Template` : "template"];
      const objectClass =
        this.#classOf(`${name.slice(0, -3)}Template`, {}) ?? (name === "key" ? CKO.CKO_SECRET_KEY[0] : undefined);
      const from = fn === "C_CopyObject" ? this.#objects.get(args.object as Ulong) : undefined;
      const told = knownFrom(template as readonly Attribute[]);
      this.#know(reply[name] as Ulong, {
        ...(objectClass === undefined ? {} : { class: objectClass }),
        ...from,
        ...told,
      });
    }
    if (fn === "C_GetAttributeValue") {
      const object = args.object as Ulong;
      const { values } = reply.values as AttributeReplies;
      this.#know(object, { ...this.#objects.get(object), ...knownFrom(values) });
    }
    if (fn === "C_FindObjects") {
      const known = this.#following.get(args.session as Ulong, "find");
      if (known !== undefined) {
        for (const one of reply.objects as readonly Ulong[]) this.#know(one, { ...this.#objects.get(one), ...known });
      }
    }
  }

  #follow<F extends FunctionName>(fn: F, args: Args<F>, reply: Reply<F>, given: Values): void {
    this.#following.answered(fn, args, reply);
    const { begins } = FUNCTION_OPERATIONS[fn];
    if (begins === "find")
      this.#following.begin(given.session as Ulong, begins, knownFrom(given.template as Attribute[]));
    else if (begins !== undefined && given.mechanism !== null) {
      this.#following.begin(given.session as Ulong, begins, this.#objects.get(given.key as Ulong) ?? {});
    }
    if (fn === "C_DestroyObject") this.#objects.delete(given.object as Ulong);
    if (fn === "C_SetAttributeValue") {
      const object = given.object as Ulong;
      this.#know(object, { ...this.#objects.get(object), ...knownFrom(given.template as Attribute[]) });
    }
    // Handles begin anew.
    if (fn === "C_Finalize" || fn === "C_InitToken") this.#objects.clear();
  }

  #know(object: Ulong, known: KnownObject): void {
    if (this.#objects.size >= MOST_OBJECTS) this.#objects.clear();
    this.#objects.set(object, known);
  }
}
