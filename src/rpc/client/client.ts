/**
 * The client's end of one connection, as an application. From p11-kit-rpc.md, 3, 5.2 and 7.
 * @module
 */
import { sameBytes, utf8 } from "../../codec/bytes.ts";
import { CodecError } from "../../codec/errors.ts";
import { readAttributes } from "../../cryptoki/attribute-reading.ts";
import { checkRequests, checkUlong } from "../../cryptoki/checks.ts";
import { describeCall, type Values } from "../../cryptoki/describe.ts";
import { CryptokiError, failedWith } from "../../cryptoki/errors.ts";
import type { Args, Cryptoki, FunctionName, Mechanism, ParameterValue, Reply } from "../../cryptoki/port.ts";
import { small } from "../../cryptoki/ulong.ts";
import { type CallName, callByName, callRow, isOwnCall } from "../../spec/calls.ts";
import type { WireUlongs } from "../atoms.ts";
import { type Dialect, dialectOf, EXTENDED, mechanismVariants, VERSION } from "../dialect.ts";
import type { WireParameter } from "../mechanisms.ts";
import { decodeResponse, encodeRequest, type Request, type Response } from "../messages.ts";
import { fromWireMechanism } from "../parameters.ts";
import { PRODUCT } from "../product.ts";
import { toReply } from "../replies.ts";
import { toRequestOf } from "../requests.ts";
import { askingFor } from "./asking.ts";
import { type Answer, type Channel, PeerError } from "./channel.ts";

/** What p11-kit's own client puts into the options of every call. */
const CLIENT = utf8("client");

/** How often a list is asked for that grows meanwhile. */
const LIST_ROUNDS = 5;

/** What to do about a peer that is gone. */
const HINTS = ["its sessions are lost: open a session again, which connects anew"];

/** One connection, and with it one application of the peer's. */
export class ClientConnection implements Cryptoki {
  readonly #channel: Channel;
  readonly #version: number;
  #dialect: Dialect;
  #isInitialised = false;
  /** Whether the peer has understood a mechanism, or its version says how it wants them. */
  #isEncodingKnown: boolean;

  /** @param version what the peer answered to the offer */
  constructor(channel: Channel, version: number) {
    this.#channel = channel;
    this.#version = version;
    this.#dialect = dialectOf(version);
    this.#isEncodingKnown = version >= VERSION;
  }

  /** Why nothing can be called any more; undefined as long as it can. */
  get gone(): string | undefined {
    return this.#channel.gone;
  }

  /** Whether the peer is a Keywright, as it told when it was initialised. */
  get isKeywright(): boolean {
    return this.#dialect.extended;
  }

  /** Ends the connection; calls under way fail with CKR_DEVICE_REMOVED. */
  close(reason = "the connection was closed"): void {
    this.#channel.close(reason);
  }

  async call<F extends FunctionName>(fn: F, args: Args<F>): Promise<Reply<F>> {
    // p11-kit's server would answer CKR_OK, and some releases crash.
    if (fn === "C_Initialize" && this.#isInitialised) throw new CryptokiError(fn, "CKR_CRYPTOKI_ALREADY_INITIALIZED");
    const reply = (await this.#reply(fn, args as Values)) as Reply<F>;
    if (fn === "C_Initialize") this.#isInitialised = true;
    return reply;
  }

  #reply(fn: FunctionName, args: Values): Promise<Reply<FunctionName>> {
    if (fn === "C_GetFunctionStatus" || fn === "C_CancelFunction") {
      throw new CryptokiError(fn, "CKR_FUNCTION_NOT_PARALLEL");
    }
    if (fn === "C_GetAttributeValue") return this.#attributes(args as unknown as Args<"C_GetAttributeValue">);
    if (fn === "C_GetSlotList" || fn === "C_GetMechanismList") return this.#list(fn, args);
    return fn.endsWith("Init") && "mechanism" in args ? this.#init(fn, args) : this.#plain(fn, args);
  }

  async #plain(fn: FunctionName, args: Values): Promise<Reply<FunctionName>> {
    const call = this.#callOf(fn);
    const request = this.#request(call, fn, args);
    const { fields, parameter } = await this.#ask(fn, request, args);
    const reply = toReply(call, fields);
    return parameter === undefined ? reply : { ...reply, parameter: changed(fn, args, parameter, this.#dialect) };
  }

  /** The beginning of an operation: where a peer may want mechanisms written another way than it should, that is tried. */
  async #init(fn: FunctionName, args: Values): Promise<Reply<FunctionName>> {
    const dialect = this.#dialect;
    try {
      const reply = await this.#plain(fn, args);
      this.#isEncodingKnown = true;
      return reply;
    } catch (error) {
      if (this.#isEncodingKnown || !failedWith(error, "CKR_DEVICE_ERROR")) throw error;
      this.#isEncodingKnown = true;
      this.#dialect = mechanismVariants(dialect)[1]!;
      return await this.#plain(fn, args).catch(() => {
        this.#dialect = dialect;
        throw error;
      });
    }
  }

  /** A list of any length: asked for with room for more than there usually are. */
  async #list(fn: "C_GetSlotList" | "C_GetMechanismList", args: Values): Promise<Reply<FunctionName>> {
    const request = this.#request(fn, fn, args);
    let asked = request;
    for (let round = 0; round < LIST_ROUNDS; round += 1) {
      const { fields } = await this.#ask(fn, asked, args);
      const [list] = fields as [WireUlongs];
      if (typeof list !== "number") return toReply(fn, fields);
      if (list === 0) return toReply(fn, [[]]);
      asked = { ...request, fields: [...request.fields.slice(0, -1), list] };
    }
    throw new CryptokiError(fn, "CKR_DEVICE_ERROR", `the peer's list was longer each of ${LIST_ROUNDS} times`);
  }

  async #attributes(args: Args<"C_GetAttributeValue">): Promise<Reply<"C_GetAttributeValue">> {
    const fn = "C_GetAttributeValue";
    checkUlong(fn, "session", args.session);
    checkUlong(fn, "object", args.object);
    checkRequests(fn, args.requests);
    const asking = askingFor(
      args,
      this.#dialect,
      async (fields) => (await this.#ask(fn, { call: fn, fields }, { ...args })).fields,
    );
    return { values: await readAttributes(args.requests, asking) };
  }

  #request(call: CallName, fn: FunctionName, args: Values): Request {
    return toRequestOf(call, fn, args as Args<FunctionName>, this.#dialect);
  }

  /** The call that carries a function to this peer. @throws CryptokiError CKR_FUNCTION_NOT_SUPPORTED where none does */
  #callOf(fn: FunctionName): CallName {
    const call = callByName(newest(fn, this.#version));
    const isCarried = call !== undefined && (this.#dialect.extended || !isOwnCall(call));
    if (isCarried && (callRow(call)[3] ?? 0) <= this.#version) return call;
    const version = isCarried ? `, version ${this.#version}` : "";
    throw new CryptokiError(fn, "CKR_FUNCTION_NOT_SUPPORTED", `p11-kit's protocol${version}, does not have it`);
  }

  async #ask(fn: FunctionName, request: Request, args: Values): Promise<Exclude<Response, { rv: unknown }>> {
    const response = await this.#exchange(fn, request);
    if (!("rv" in response)) return response;
    const rv = small(response.rv);
    throw new CryptokiError(fn, rv === 0 ? "CKR_DEVICE_ERROR" : rv, describeCall(fn, args));
  }

  async #exchange(fn: FunctionName, request: Request): Promise<Response> {
    const dialect = this.#dialect;
    const answer = await this.#send(fn, encodeRequest(request, dialect));
    if (fn === "C_Initialize" && sameBytes(answer.options, PRODUCT)) this.#dialect = EXTENDED;
    try {
      return decodeResponse(answer.body, request, dialect);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      const detail = `the peer's answer makes no sense: ${error.message}`;
      throw new CryptokiError(fn, "CKR_DEVICE_ERROR", detail, { cause: error });
    }
  }

  async #send(fn: FunctionName, body: Uint8Array): Promise<Answer> {
    // A peer of p11-kit's does not look at it.
    const options = fn === "C_Initialize" && this.#version >= VERSION ? PRODUCT : CLIENT;
    try {
      return await this.#channel.send(body, options);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      throw new CryptokiError(fn, "CKR_DEVICE_REMOVED", error.message, { cause: error, hints: HINTS });
    }
  }
}

/** The parameter that a call changed: of its mechanism, or of its message. */
function changed(fn: FunctionName, args: Values, wire: WireParameter, dialect: Dialect): ParameterValue {
  const { mechanism } = args as { mechanism?: Mechanism };
  if (mechanism === undefined) return wire as Uint8Array;
  const { parameter } = fromWireMechanism(fn, { type: mechanism.type, parameter: wire }, dialect)!;
  return parameter ?? new Uint8Array();
}

/** The name of the call for a function, in this version of the protocol. */
function newest(fn: FunctionName, version: number): string {
  if (fn === "C_InitToken" && version >= 1) return "C_InitToken2";
  return fn === "C_DeriveKey" && version >= VERSION ? "C_DeriveKey2" : fn;
}
