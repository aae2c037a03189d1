/**
 * The server's end of one connection: requests from a peer, answered by an application of its own.
 *
 * Calls are answered one after the other, in their order. A connection is never closed from here while its client may be
 * idle: the next call of a stock client would then end the program that makes it (SIGPIPE); what cannot be answered is
 * answered with an error. From p11-kit-rpc.md, 1 and 7.
 * @module
 */
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { sameBytes } from "../codec/bytes.ts";
import { CodecError } from "../codec/errors.ts";
import { after, isPromise } from "../cryptoki/awaitable.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import type { Awaitable, Cryptoki, FunctionName } from "../cryptoki/port.ts";
import { functionOf } from "../spec/calls.ts";
import { CKR } from "../spec/returns.ts";
import { type Dialect, dialectOf, EXTENDED, VERSION } from "./dialect.ts";
import { encodeFrame, type Frame, FrameReader, type Oversized } from "./frames.ts";
import { decodeRequest, encodeError, encodeResponse, RequestError } from "./messages.ts";
import { PRODUCT } from "./product.ts";
import { toResponse } from "./replies.ts";
import { toArgs } from "./requests.ts";

const NOTHING = new Uint8Array();
const GENERAL_ERROR = CKR.CKR_GENERAL_ERROR[0];

/** Reading and writing a stream's socket past the event loop. */
export interface Shortcut {
  /** Reads what is there now: how many bytes; 0 at the end; -1 where nothing is there yet. */
  receive(into: Uint8Array): number;
  /** Writes as much as fits now: how many bytes; -1 where none fit. Nothing of the stream's may be waiting to be written. */
  send(bytes: Uint8Array): number;
  /** Lets other programs run, if any wait for this core. */
  yield(): void;
}

export interface ServeOptions {
  /** Where there is one: p11-kit's client writes each request in three pieces, and waits for nothing but the answer. */
  readonly shortcut?: Shortcut;
  /** Is told what could not be answered, and why: a request that makes no sense, a fault of ours. */
  readonly report?: (fault: string, error: unknown) => void;
}

const buffer = new Uint8Array(65_536);

/** How often the rest of a request is looked for before the event loop is: about a microsecond each time. */
const TRIES = 30;
/** After so many requests in a row that no other connection of this thread came between, the next one is looked for too. */
const ALONE = 4;

/** How long that may go on before the event loop has its turn, in ms. */
const LONGEST_MS = 2;

/** Whose request came last to this thread, and how many in a row. */
const turns = { last: undefined as ServedConnection | undefined, inRow: 0 };

/** One connection that is served. */
export class ServedConnection {
  readonly #stream: Duplex;
  readonly #application: Cryptoki;
  readonly #report: (fault: string, error: unknown) => void;
  readonly #shortcut: Shortcut | undefined;
  readonly #frames = new FrameReader();
  readonly #waiting: (Frame | Oversized)[] = [];
  #dialect: Dialect | undefined;
  #offered = 0;
  #isInitialised = false;
  /** The call under way. */
  #pending: FunctionName | undefined;
  /** When its answer was sent, where it did not come at once. */
  #answered: Promise<void> = Promise.resolve();
  /** Whether answers wait for the client to read: nothing more is read from it, nor answered, until it has. */
  #isFull = false;
  #isClosing = false;
  #isOver = false;
  /** When the connection is closed, and its application finalised. */
  readonly ended: Promise<void>;
  #end: () => void = () => undefined;

  /** @param application not yet initialised; nobody else uses it */
  constructor(stream: Duplex, application: Cryptoki, { report = () => undefined, shortcut }: ServeOptions = {}) {
    this.#stream = stream;
    this.#application = application;
    this.#report = report;
    this.#shortcut = shortcut;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    stream.on("data", (chunk: Uint8Array) => this.#contained(() => this.#arrived(chunk)));
    stream.once("end", () => this.finish());
    stream.once("close", () => void this.#finalise());
    // What can be said of it was said by what follows it: "close".
    stream.on("error", () => undefined);
  }

  /** Whether a call is under way. */
  get isBusy(): boolean {
    return this.#pending !== undefined || this.#waiting.length > 0;
  }

  /** Lets the calls that have arrived be answered, then closes the connection. */
  finish(): void {
    this.#isClosing = true;
    if (!this.isBusy) this.#stream.end(() => this.#stream.destroy());
    else if (this.#pending === "C_WaitForSlotEvent") void this.#finalise();
  }

  /** Closes the connection now; the call under way is not answered any more. */
  cut(): void {
    this.#stream.destroy();
  }

  /**
   * Takes what arrived, and what can be had without another turn of the event loop, which takes longer than the call: the
   * rest of a request that came in pieces, and, from a client that is alone, the next one.
   */
  #arrived(chunk: Uint8Array): void {
    turns.inRow = turns.last === this ? turns.inRow + 1 : 0;
    turns.last = this;
    this.#take(chunk);
    if (this.#shortcut === undefined) return;
    const until = performance.now() + LONGEST_MS;
    for (let tries = 0; tries < TRIES && this.#isListening; tries += 1) {
      if (tries > 0 && turns.inRow < ALONE && !this.#frames.isWithin) return;
      const count = this.#shortcut.receive(buffer);
      // The end is the stream's to notice.
      if (count === 0) return;
      if (count > 0) {
        this.#take(buffer.slice(0, count));
        tries = 0;
      }
      // Others wait for the event loop.
      if (performance.now() > until) return;
      // An answer wakes the client on the core that it came from: while we look for more there, it waits for us.
      if (count < 0) this.#shortcut.yield();
    }
  }

  get #isListening(): boolean {
    return this.#pending === undefined && !this.#isFull && !this.#isClosing;
  }

  /** What goes wrong with one connection, for a fault of ours, ends that one. */
  #contained(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#report("a connection is closed for a fault of ours", error);
      this.#break();
    }
  }

  #break(): void {
    this.#isClosing = true;
    this.#stream.destroy();
  }

  #take(chunk: Uint8Array): void {
    if (this.#isClosing) return;
    let rest = chunk;
    if (this.#dialect === undefined) {
      this.#offered = chunk[0]!;
      this.#dialect = dialectOf(this.#offered);
      this.#stream.write(Uint8Array.of(Math.min(this.#offered, VERSION)));
      rest = chunk.subarray(1);
    }
    try {
      this.#waiting.push(...this.#frames.take(rest));
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.#report("what a client sent is no frame", error);
      this.#break();
      return;
    }
    this.#work();
  }

  /** Answers what has arrived, as long as there are answers at once and the client takes them. */
  #work(): void {
    while (this.#pending === undefined && !this.#isFull && !this.#isOver) {
      const frame = this.#waiting.shift();
      if (frame === undefined) {
        if (this.#isClosing) this.#stream.end(() => this.#stream.destroy());
        else this.#stream.resume();
        return;
      }
      const answer = this.#answer(frame);
      if (isPromise(answer)) {
        // What comes meanwhile stays in the socket, so that a client that only sends is held up and nothing else is.
        this.#stream.pause();
        this.#answered = answer.then((bytes) => {
          this.#pending = undefined;
          this.#contained(() => {
            if (this.#write(bytes)) this.#work();
          });
        });
        return;
      }
      this.#pending = undefined;
      if (!this.#write(answer)) return;
    }
  }

  /** Whether there is room for more; else the work goes on once the client has read. */
  #write(bytes: Uint8Array): boolean {
    if (this.#isOver || !this.#stream.writable) return false;
    const sent = this.#stream.writableLength === 0 ? Math.max(this.#shortcut?.send(bytes) ?? 0, 0) : 0;
    if (sent === bytes.length || this.#stream.write(bytes.subarray(sent))) return true;
    this.#isFull = true;
    this.#stream.pause();
    void once(this.#stream, "drain").then(
      () => {
        this.#isFull = false;
        this.#contained(() => this.#work());
      },
      () => undefined,
    );
    return false;
  }

  #answer(frame: Frame | Oversized): Awaitable<Uint8Array> {
    const { code } = frame;
    if ("fault" in frame) {
      this.#report("a request is refused", new Error(frame.fault));
      return encodeFrame({ code, options: NOTHING, body: encodeError(CKR.CKR_DEVICE_MEMORY[0]) });
    }
    const { body, options } = frame;
    // PINs, keys and what is encrypted: nobody needs a request once it was answered.
    const answered = (answer: Uint8Array, by: Uint8Array = NOTHING) => {
      body.fill(0);
      return encodeFrame({ code, options: by, body: answer });
    };
    return after(
      () => this.#call(body, options),
      (answer) => answered(answer.body, answer.options),
      (error) => answered(encodeError(this.#rvOf(error))),
    );
  }

  #call(
    body: Uint8Array,
    options: Uint8Array,
  ): Awaitable<{ readonly body: Uint8Array; readonly options?: Uint8Array }> {
    const request = decodeRequest(body, this.#dialect!);
    const { dialect, call } = request;
    const fn = functionOf(call);
    if (!this.#isInitialised && fn !== "C_Initialize") throw new CryptokiError(fn, "CKR_CRYPTOKI_NOT_INITIALIZED");
    const args = toArgs(request, dialect);
    this.#pending = fn;
    return after(
      () => this.#application.call(fn, args),
      (reply) => {
        const answer = encodeResponse(request, toResponse(request, reply, dialect), dialect);
        if (fn === "C_Finalize") this.#isInitialised = false;
        if (fn !== "C_Initialize") return { body: answer };
        this.#isInitialised = true;
        // Two Keywrights have more to say to each other than p11-kit's protocol has words for.
        if (this.#offered < VERSION || !sameBytes(options, PRODUCT)) return { body: answer };
        this.#dialect = EXTENDED;
        return { body: answer, options: PRODUCT };
      },
    );
  }

  #rvOf(error: unknown): number {
    if (error instanceof CryptokiError) return error.rv === 0 ? GENERAL_ERROR : error.rv;
    if (error instanceof RequestError) {
      this.#report("a request is refused", error);
      return CKR[error.rv][0];
    }
    this.#report("a call failed for no reason of the token's", error);
    return GENERAL_ERROR;
  }

  /** Ends the application's sessions: its client is gone, or will be. */
  async #finalise(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isClosing = true;
    this.#waiting.length = 0;
    try {
      const pending = this.#pending;
      // Of a login that waits for others, nothing is to come; one that was sent has its outcome noted, and is waited for.
      const isLogin = pending === "C_Login" || pending === "C_LoginUser";
      if (!isLogin && pending !== "C_WaitForSlotEvent") await this.#answered;
      if (this.#isInitialised) await this.#application.call("C_Finalize", {});
      if (isLogin) await this.#answered;
    } catch (error) {
      this.#report("the sessions of a client that is gone could not be ended", error);
    }
    this.#stream.destroy();
    this.#end();
  }
}
