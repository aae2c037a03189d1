/** One connection, seen by its client: what it is answered, and what it cannot do to others. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { concat, utf8 } from "../../src/codec/bytes.ts";
import type { Cryptoki, Provider } from "../../src/cryptoki/port.ts";
import { dialectOf } from "../../src/rpc/dialect.ts";
import type { Fields } from "../../src/rpc/forms.ts";
import { encodeFrame, type Frame, FrameReader } from "../../src/rpc/frames.ts";
import { MAX_BODY } from "../../src/rpc/limits.ts";
import { decodeResponse, encodeRequest, type Request } from "../../src/rpc/messages.ts";
import { ServedConnection } from "../../src/rpc/server.ts";
import { softToken } from "../../src/softtoken/index.ts";
import type { CallName } from "../../src/spec/calls.ts";
import { CKU } from "../../src/spec/objects.ts";
import { CKR, returnName } from "../../src/spec/returns.ts";
import { initialiseToken, LABEL } from "../conformance/targets.ts";
import { type Served, served } from "../support/served.ts";

const NOTHING = new Uint8Array();
const MAGIC = utf8("PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1");
const [SO_PIN, USER_PIN] = [utf8("so PIN 1234"), utf8("user PIN 1234")];

/** A client that sends what it is told to, frame by frame. */
class Client {
  readonly socket: Socket;
  readonly #reader = new FrameReader();
  readonly #frames: Frame[] = [];
  #version: number | undefined;
  isClosed = false;
  #code = 0x10;

  constructor(path: string) {
    this.socket = connect(path);
    this.socket.on("data", (chunk: Buffer) => {
      let rest: Uint8Array = chunk;
      if (this.#version === undefined) {
        this.#version = chunk[0];
        rest = chunk.subarray(1);
      }
      this.#frames.push(...(this.#reader.take(rest) as Frame[]));
    });
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      this.isClosed = true;
    });
    onTestFinished(() => void this.socket.destroy());
  }

  async version(offer: number): Promise<number> {
    this.socket.write(Uint8Array.of(offer));
    await until(() => this.#version !== undefined);
    return this.#version!;
  }

  async next(): Promise<Frame> {
    await until(() => this.#frames.length > 0);
    return this.#frames.shift()!;
  }

  frame(body: Uint8Array, options: Uint8Array = NOTHING): Uint8Array {
    this.#code += 1;
    return encodeFrame({ code: this.#code, options, body });
  }

  /** The fields of the answer, or its return value. */
  async ask(call: CallName, ...fields: unknown[]): Promise<Fields | string> {
    const request: Request = { call, fields };
    this.socket.write(this.frame(encodeRequest(request, dialectOf(0))));
    const { code, options, body } = await this.next();
    expect(code).toBe(this.#code);
    expect(options.length).toBe(0);
    return told(body, request);
  }

  async initialised(): Promise<this> {
    await this.version(0);
    expect(await this.ask("C_Initialize", MAGIC, 0, utf8("\0"))).toEqual([]);
    return this;
  }

  async session(): Promise<number> {
    const [slots] = (await this.ask("C_GetSlotList", 1, 8)) as [number[]];
    const [session] = (await this.ask("C_OpenSession", slots[0], 6)) as [number];
    return session;
  }
}

function told(body: Uint8Array, request: Request): Fields | string {
  const response = decodeResponse(body, request, dialectOf(0));
  return "rv" in response ? returnName(Number(response.rv)) : response.fields;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i += 1) await delay(5);
  expect(condition()).toBe(true);
}

describe("a connection that is served", () => {
  let folder: string;
  let provider: Provider;
  let server: Served;
  const faults: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "keywright-rpc-server-"));
    provider = softToken({ store: join(folder, "store"), scryptCost: 10 });
    await initialiseToken(provider, SO_PIN, USER_PIN);
    server = await served(provider, { report: (fault) => faults.push(fault) });
  });
  afterAll(async () => {
    await server.close();
    await provider.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const client = () => new Client(server.path);

  test.each([
    [0, 0],
    [1, 1],
    [2, 2],
    [3, 2],
    [255, 2],
  ])("an offer of version %i is answered %i", async (offer, answer) => {
    expect(await client().version(offer)).toBe(answer);
  });

  test("a client that sends its first request with the offer, without waiting, is served", async () => {
    const one = client();
    const request: Request = { call: "C_Initialize", fields: [MAGIC, 0, utf8("\0")] };
    one.socket.write(concat(Uint8Array.of(0), one.frame(encodeRequest(request, dialectOf(0)), utf8("client"))));
    expect(told((await one.next()).body, request)).toEqual([]);
  });

  test("before C_Initialize nothing is answered, nor to a client that begins it otherwise", async () => {
    const one = client();
    await one.version(0);
    expect(await one.ask("C_GetInfo")).toBe("CKR_CRYPTOKI_NOT_INITIALIZED");
    expect(await one.ask("C_Initialize", utf8("hello"), 0, utf8("\0"))).toBe("CKR_GENERAL_ERROR");
    expect(await one.ask("C_Initialize", MAGIC, 0, utf8("\0"))).toEqual([]);
    expect(await one.ask("C_Initialize", MAGIC, 0, utf8("\0"))).toBe("CKR_CRYPTOKI_ALREADY_INITIALIZED");
    // p11-kit's own server does not survive this on one connection.
    expect(await one.ask("C_Finalize")).toEqual([]);
    expect(await one.ask("C_GetInfo")).toBe("CKR_CRYPTOKI_NOT_INITIALIZED");
    expect(await one.ask("C_Initialize", MAGIC, 0, utf8("\0"))).toEqual([]);
  });

  test("a request that makes no sense is answered with an error, and the next one as if nothing had been", async () => {
    const one = await client().initialised();
    const unknown = Uint8Array.of(0, 0, 0, 200, 0, 0, 0, 0);
    const session = encodeRequest({ call: "C_GetSessionInfo", fields: [1] }, dialectOf(0));
    const signature = session.slice();
    signature[8] = "y".charCodeAt(0);
    const answers: string[] = [];
    for (const body of [unknown, signature, session.subarray(0, 12), NOTHING, Uint8Array.of(1)]) {
      one.socket.write(one.frame(body));
      answers.push(told((await one.next()).body, { call: "C_GetInfo", fields: [] }) as string);
    }
    expect(answers).toEqual(["CKR_FUNCTION_NOT_SUPPORTED", ...Array(4).fill("CKR_DEVICE_ERROR")]);
    expect(faults.at(-1)).toBe("a request is refused");
    expect(await one.ask("C_GetSessionInfo", 77)).toBe("CKR_SESSION_HANDLE_INVALID");
  });

  test("a frame that is larger than is taken is answered with an error, once, and passed over", async () => {
    const one = await client().initialised();
    const header = new Uint8Array(12);
    const view = new DataView(header.buffer);
    view.setUint32(0, 99);
    view.setUint32(8, MAX_BODY + 10);
    const before = process.memoryUsage().rss;
    one.socket.write(header);
    const { code, body } = await one.next();
    expect(code).toBe(99);
    expect(told(body, { call: "C_GetInfo", fields: [] })).toBe("CKR_DEVICE_MEMORY");
    one.socket.write(new Uint8Array(MAX_BODY + 10));
    expect(await one.ask("C_GetSlotList", 1, 0)).toEqual([2]);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  });

  test("more room than is given is refused, and room is no amount of memory", async () => {
    const one = await client().initialised();
    const session = await one.session();
    expect(await one.ask("C_GenerateRandom", session, 0xffff_fff0)).toBe("CKR_DEVICE_MEMORY");
    const [random] = (await one.ask("C_GenerateRandom", session, 100)) as [Uint8Array];
    expect(random.length).toBe(100);
    const huge = Array.from({ length: 8 }, () => ({ type: 3, room: 0xffff_fff0 }));
    expect(await one.ask("C_GetAttributeValue", session, 1, huge)).toBe("CKR_DEVICE_MEMORY");
  });

  test("a code of 0 ends the connection, for nobody could be answered", async () => {
    const one = await client().initialised();
    one.socket.write(new Uint8Array(12));
    await until(() => one.isClosed);
    expect(faults.at(-1)).toBe("what a client sent is no frame");
  });

  test("requests that are sent ahead are answered in their order", async () => {
    const one = await client().initialised();
    const frames = [1, 2, 3, 4].map((n) =>
      one.frame(encodeRequest({ call: "C_GetSessionInfo", fields: [n] }, dialectOf(0))),
    );
    const codes = frames.map((frame) => new DataView(frame.buffer).getUint32(0));
    one.socket.write(concat(...frames));
    const answered: number[] = [];
    for (const _ of codes) answered.push((await one.next()).code);
    expect(answered).toEqual(codes);
  });

  test("one client's login opens nothing to another", async () => {
    const [one, other] = [await client().initialised(), await client().initialised()];
    const [session, theirs] = [await one.session(), await other.session()];
    expect(await one.ask("C_Login", session, CKU.CKU_USER[0], USER_PIN)).toEqual([]);
    const state = async (who: Client, of: number) => ((await who.ask("C_GetSessionInfo", of)) as Fields)[1];
    expect([await state(one, session), await state(other, theirs)]).toEqual([3, 2]);
  });

  test("a client that goes, even in the midst of a request, takes its sessions along", async () => {
    const count = async () => {
      const one = await client().initialised();
      const [slots] = (await one.ask("C_GetSlotList", 1, 8)) as [number[]];
      const fields = (await one.ask("C_GetTokenInfo", slots[0])) as Fields;
      one.socket.destroy();
      return Number(fields[6]);
    };
    const before = await count();
    const clients = await Promise.all(Array.from({ length: 10 }, () => client().initialised()));
    for (const one of clients) {
      await one.session();
      one.socket.write(Uint8Array.of(0, 0, 0, 50, 0, 0));
    }
    for (const one of clients) one.socket.destroy();
    await until(() => server.connections.size === 0);
    expect(await count()).toBe(before);
  });

  test("a client that sends and never reads, and one that sends a byte at a time, hold up nobody else", async () => {
    const greedy = await client().initialised();
    const session = await greedy.session();
    greedy.socket.pause();
    const random = encodeRequest({ call: "C_GenerateRandom", fields: [session, 1_000_000] }, dialectOf(0));
    for (let i = 0; i < 200; i += 1) greedy.socket.write(greedy.frame(random));
    const slow = await client().initialised();
    const frame = slow.frame(encodeRequest({ call: "C_GetInfo", fields: [] }, dialectOf(0)));
    const trickle = (async () => {
      for (const byte of frame) {
        slow.socket.write(Uint8Array.of(byte));
        await delay(3);
      }
    })();
    const before = process.memoryUsage().rss;
    const one = await client().initialised();
    for (let i = 0; i < 50; i += 1) expect(await one.ask("C_GetSlotList", 1, 0)).toEqual([2]);
    await trickle;
    expect((await slow.next()).body.length).toBeGreaterThan(90);
    // What it does not read stays few: the server stops reading from it.
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
    // Idle all the while, and still there.
    greedy.socket.destroy();
  });

  test("while answers wait for a client that does not read, nothing more is read from it, not even past its stream", async () => {
    let release: () => void = () => undefined;
    let received = 0;
    const stream = new Duplex({
      highWaterMark: 16,
      read: () => undefined,
      write: (_chunk, _encoding, written) => {
        release = written;
      },
    });
    // A byte of a request that never ends, each time.
    const receive = (into: Uint8Array) => {
      received += 1;
      into[0] = 0;
      return 1;
    };
    const shortcut = { receive, send: () => -1, yield: () => undefined };
    const connection = new ServedConnection(stream, await provider.open(), { shortcut });
    onTestFinished(() => void stream.destroy());
    const body = encodeRequest({ call: "C_Initialize", fields: [MAGIC, 0, utf8("\0")] }, dialectOf(0));
    stream.push(concat(Uint8Array.of(0), encodeFrame({ code: 1, options: NOTHING, body })));
    await until(() => stream.writableNeedDrain);
    await delay(20);
    expect({ received, isPaused: stream.isPaused() }).toEqual({ received: 0, isPaused: true });
    while (stream.writableNeedDrain) {
      release();
      await delay(1);
    }
    await until(() => !stream.isPaused());
    expect(connection.isBusy).toBe(false);
  });

  test("what waits for a slot event does not keep the connection from ending", async () => {
    const one = await client().initialised();
    one.socket.write(one.frame(encodeRequest({ call: "C_WaitForSlotEvent", fields: [0] }, dialectOf(0))));
    await delay(50);
    const before = server.connections.size;
    one.socket.destroy();
    await until(() => server.connections.size < before);
  });

  test("the memory of a request is wiped once it is answered: a PIN may be in it", async () => {
    const seen: Uint8Array[] = [];
    const peeking: Provider = {
      open: async () => {
        const inner = await provider.open();
        const peek: Cryptoki["call"] = (fn, args) => {
          if (fn === "C_Login") seen.push((args as { pin: Uint8Array }).pin);
          return inner.call(fn, args);
        };
        return { call: peek };
      },
      close: () => undefined,
    };
    const peeked = await served(peeking);
    onTestFinished(() => peeked.close());
    const one = await new Client(peeked.path).initialised();
    const session = await one.session();
    expect(await one.ask("C_Login", session, CKU.CKU_USER[0], USER_PIN)).toEqual([]);
    expect(seen.map((pin) => [...pin])).toEqual([Array(USER_PIN.length).fill(0)]);
    one.socket.destroy();
  });

  test("a fault of ours is a general error to the client, and is reported", async () => {
    const broken: Provider = {
      open: async () => ({
        call: (fn) => {
          if (fn === "C_GetInfo") throw new TypeError("of ours");
          return {} as never;
        },
      }),
      close: () => undefined,
    };
    const told: unknown[] = [];
    const peeked = await served(broken, { report: (_fault, error) => told.push(error) });
    onTestFinished(() => peeked.close());
    const one = await new Client(peeked.path).initialised();
    expect(await one.ask("C_GetInfo")).toBe(returnName(CKR.CKR_GENERAL_ERROR[0]));
    expect(told).toEqual([new TypeError("of ours")]);
    one.socket.destroy();
  });

  test("a client that goes before it reads its answer, or sends nonsense, ends its own connection alone", async () => {
    const bystander = await client().initialised();
    for (let i = 0; i < 30; i += 1) {
      const one = await client().initialised();
      one.socket.write(one.frame(encodeRequest({ call: "C_GetInfo", fields: [] }, dialectOf(0))));
      one.socket.destroy();
      const other = await client().initialised();
      other.socket.write(new Uint8Array(16));
    }
    await until(() => server.connections.size <= 1);
    expect(await bystander.ask("C_GetSlotList", 1, 0)).toHaveLength(1);
  });

  test("the label of a token that is initialised by an old client is cut to its field", async () => {
    const one = await client().initialised();
    const [slots] = (await one.ask("C_GetSlotList", 0, 8)) as [number[]];
    const blank = slots.at(-1)!;
    expect(await one.ask("C_InitToken", blank, SO_PIN, utf8(`${"label".padEnd(32)}garbage behind it`))).toEqual([]);
    const fields = (await one.ask("C_GetTokenInfo", blank)) as [Uint8Array];
    expect(Buffer.from(fields[0]).toString()).toBe("label".padEnd(32));
    expect(LABEL).not.toBe("label");
  });
});
