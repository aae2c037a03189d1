/** Modules elsewhere: their addresses, what a peer may do wrong, and what becomes of an application whose peer goes. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import type { Cryptoki } from "../../src/cryptoki/port.ts";
import { isPeer, parsePeer, resolveModule } from "../../src/modules/address.ts";
import { openProvider } from "../../src/modules/index.ts";
import { encodeFrame, type Frame, FrameReader } from "../../src/rpc/frames.ts";
import { encodeError } from "../../src/rpc/messages.ts";
import { softToken } from "../../src/softtoken/index.ts";
import { initialiseToken } from "../conformance/targets.ts";
import { peer } from "../support/peers.ts";
import { served } from "../support/served.ts";
import { softHsm } from "../support/softhsm.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "keywright-remote-"));
  ends.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function initialised(module: string, timeoutMs?: number): Promise<Cryptoki> {
  const provider = openProvider({ module, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  ends.push(() => provider.close());
  const p11 = await provider.open();
  await p11.call("C_Initialize", { args: {} });
  return p11;
}

describe("addresses", () => {
  test.each([
    ["unix:path=/run/a b,c;d", { kind: "socket", path: "/run/a b,c;d" }],
    ["unix:path=/run/a%20b%25", { kind: "socket", path: "/run/a b%" }],
    [
      '|p11-kit remote \'a b\' "c \\" d" e\\ f',
      { kind: "command", program: "p11-kit", words: ["remote", "a b", 'c " d', "e f"] },
    ],
    [
      "| ssh -p2222  host  keywright serve --stdio",
      { kind: "command", program: "ssh", words: ["-p2222", "host", "keywright", "serve", "--stdio"] },
    ],
    ["|x ''", { kind: "command", program: "x", words: [""] }],
    ["|a'b'\"c\"d", { kind: "command", program: "abcd", words: [] }],
  ])("%s", (module, expected) => {
    expect(isPeer(module)).toBe(true);
    expect(parsePeer(module)).toEqual(expected);
    expect(resolveModule(module, "/elsewhere")).toBe(module);
  });

  test.each([
    ["|", "there is no command after |"],
    ["|ssh 'host", "a quote in the command is not closed"],
    ["unix:path=relative", "a socket is written unix:path=/… with its whole path"],
    ["unix:/run/x", "a socket is written unix:path=/… with its whole path"],
    ["unix:path=/run/%zz", "a % in the path is followed by two hexadecimal digits"],
    ["vsock:cid=2;port=99", "addresses of virtual machines (vsock) are not supported"],
  ])("%s is refused", async (module, fault) => {
    expect(() => parsePeer(module)).toThrow(fault);
    await expect(async () => openProvider({ module }).open()).rejects.toThrow(fault);
  });

  test("what is for libraries is refused", () => {
    expect(() => openProvider({ module: "|x", placement: "thread" })).toThrow("placement is for a library");
    expect(() => openProvider({ module: "|x", reserved: "a" })).toThrow("reserved is for a library");
  });
});

describe("nobody there", () => {
  test.each([
    ["unix:path=/nowhere/socket", "cannot connect: it does not exist (ENOENT)"],
    ["|/nowhere/program", "cannot connect: it does not exist (ENOENT)"],
    ["|false", "false ended with code 1"],
    ["|true", "the peer closes the connection without an answer"],
  ])("%s", async (module, fault) => {
    await expect(openProvider({ module }).open()).rejects.toThrow(fault);
  });
});

/** A peer that does with each request what it is told. */
async function odd(answer: (socket: Socket, frame: Frame, offer: number) => void, refuse = -1): Promise<string> {
  const path = join(folder(), "socket");
  const server: Server = createServer((socket) => {
    const frames = new FrameReader();
    let offer: number | undefined;
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      let rest: Uint8Array = chunk;
      if (offer === undefined) {
        offer = chunk[0]!;
        if (offer > refuse && refuse >= 0) {
          socket.end();
          return;
        }
        socket.write(Uint8Array.of(Math.min(offer, 2)));
        rest = chunk.subarray(1);
      }
      for (const frame of frames.take(rest) as Frame[]) answer(socket, frame, offer);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  ends.push(() => server.close());
  return `unix:path=${path}`;
}

const NOTHING = new Uint8Array();
const EMPTY = Uint8Array.of(0, 0, 0, 0);
/** The answer to a call without fields. */
const done = ({ code, body }: Frame) =>
  encodeFrame({ code, options: NOTHING, body: Uint8Array.of(...body.subarray(0, 4), ...EMPTY) });

describe("what a peer may do wrong", () => {
  test("one that refuses the offer by closing is offered 0, as p11-kit 0.24.0 wants it", async () => {
    const offers: number[] = [];
    const module = await odd((socket, frame, offer) => {
      offers.push(offer);
      socket.write(done(frame));
    }, 0);
    await initialised(module);
    expect(offers).toEqual([0]);
  });

  test.each<[string, (socket: Socket, frame: Frame) => void, string]>([
    [
      "answers another call",
      (socket, frame) =>
        socket.write(encodeFrame({ ...frame, options: NOTHING, body: Uint8Array.of(0, 0, 0, 9, ...EMPTY) })),
      "call 9 is answered, not call 3",
    ],
    [
      "answers another signature",
      (socket, frame) =>
        socket.write(encodeFrame({ ...frame, options: NOTHING, body: Uint8Array.of(0, 0, 0, 3, 0, 0, 0, 1, 117) })),
      'signature "u" where "vsusv" is expected',
    ],
    [
      "ends early",
      (socket, frame) => socket.write(encodeFrame({ ...frame, options: NOTHING, body: Uint8Array.of(0, 0, 0, 3, 0) })),
      "length 4 exceeds the 1 bytes left",
    ],
    [
      "answers the error 0",
      (socket, frame) => socket.write(encodeFrame({ ...frame, options: NOTHING, body: encodeError(0) })),
      "CKR_DEVICE_ERROR",
    ],
  ])("%s: that call fails, and the connection goes on", async (_name, answer, fault) => {
    let asked = 0;
    const module = await odd((socket, frame) => {
      asked += 1;
      if (asked === 2) answer(socket, frame);
      else if (asked === 3) socket.write(encodeFrame({ ...frame, options: NOTHING, body: encodeError(0x54) }));
      else socket.write(done(frame));
    });
    const p11 = await initialised(module);
    await expect(p11.call("C_GetInfo", {})).rejects.toThrow(fault);
    await expect(p11.call("C_GetInfo", {})).rejects.toThrow("CKR_FUNCTION_NOT_SUPPORTED");
    expect(asked).toBeGreaterThanOrEqual(3);
  });

  test.each<[string, (socket: Socket) => void, string]>([
    ["closes", (socket) => socket.end(), "the connection to the peer ended"],
    ["sends no frame", (socket) => socket.write(new Uint8Array(12)), "what the peer sent is no frame: frame/code"],
    ["never answers", () => undefined, "the peer did not answer C_GetInfo within 200 ms"],
  ])("one that %s: the call fails, the next one connects anew", async (_name, fail, fault) => {
    let connections = 0;
    const module = await odd((socket, frame) => {
      const call = frame.body[3];
      if (call === 1) connections += 1;
      if (call === 3) fail(socket);
      else socket.write(done(frame));
    });
    const p11 = await initialised(module, 200);
    await expect(p11.call("C_GetInfo", {})).rejects.toThrow(fault);
    await expect(p11.call("C_GetInfo", {})).rejects.toThrow(fault);
    expect(connections).toBe(2);
  });
});

test("a peer that takes the connection and says nothing is given up after the time limit", async () => {
  const path = join(folder(), "socket");
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  ends.push(() => server.close());
  await expect(openProvider({ module: `unix:path=${path}`, timeoutMs: 200 }).open()).rejects.toThrow(
    "the peer did not answer within 200 ms",
  );
});

test("a peer whose lists never end is asked a few times, and whose lengths are absurd is not believed", async () => {
  let lists = 0;
  const module = await odd((socket, frame) => {
    const call = frame.body[3];
    const answer = (...bytes: number[]) =>
      socket.write(encodeFrame({ ...frame, options: NOTHING, body: Uint8Array.from(bytes) }));
    if (call === 4) {
      lists += 1;
      answer(0, 0, 0, 4, 0, 0, 0, 2, 97, 117, 0, 0, 0, 1, lists);
    } else if (call === 24) {
      // CKA_WRAP_TEMPLATE of 4 GiB, without a value.
      const attribute = [0x40, 0, 2, 0x11, 1, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 0];
      answer(0, 0, 0, 24, 0, 0, 0, 3, 97, 65, 117, 0, 0, 0, 1, ...attribute, 0, 0, 0, 0, 0, 0, 0, 0);
    } else socket.write(done(frame));
  });
  const p11 = await initialised(module);
  await expect(p11.call("C_GetSlotList", { tokenPresent: true })).rejects.toThrow("longer each of 5 times");
  expect(lists).toBe(5);
  const { values } = await p11.call("C_GetAttributeValue", { session: 1, object: 1, requests: [{ type: 0x40000211 }] });
  expect(values.values).toEqual([{ type: 0x40000211 }]);
});

describe("a peer that goes and comes back", () => {
  test("sessions are lost, and say so; what needs none connects anew", async () => {
    const store = join(folder(), "store");
    const inner = softToken({ store, scryptCost: 10 });
    ends.push(() => inner.close());
    await initialiseToken(inner, utf8("so PIN 1234"), utf8("user PIN 1234"));
    const server = await served(inner);
    ends.push(() => server.close());
    const p11 = await initialised(server.address);
    const [slot] = (await p11.call("C_GetSlotList", { tokenPresent: true })).slots;
    const { session } = await p11.call("C_OpenSession", { slot: slot!, flags: 4 });
    for (const connection of server.connections) connection.cut();
    await expect(p11.call("C_GetSessionInfo", { session })).rejects.toThrow(
      /CKR_(DEVICE_REMOVED|SESSION_HANDLE_INVALID)/,
    );
    const again = await p11.call("C_OpenSession", { slot: slot!, flags: 4 });
    expect(again.session).not.toBe(session);
    expect((await p11.call("C_GetSessionInfo", { session: again.session })).info.slotID).toBe(slot);
    const lost = await Promise.resolve(p11.call("C_GetSessionInfo", { session })).catch((error: unknown) => error);
    expect(lost).toMatchObject({ hints: ["its sessions are lost: open a session again, which connects anew"] });
  });

  test("waiting for a slot event keeps no other call, and ends with C_Finalize", async () => {
    const inner = softToken({ store: join(folder(), "store"), scryptCost: 10 });
    ends.push(() => inner.close());
    const server = await served(inner);
    ends.push(() => server.close());
    const p11 = await initialised(server.address);
    const waiting = Promise.resolve(p11.call("C_WaitForSlotEvent", { flags: 0 })).catch(
      (error: Error) => error.message,
    );
    expect((await p11.call("C_GetSlotList", { tokenPresent: false })).slots.length).toBeGreaterThan(0);
    await p11.call("C_Finalize", {});
    expect(await waiting).toMatch(/CKR_(CRYPTOKI_NOT_INITIALIZED|DEVICE_REMOVED|FUNCTION_NOT_SUPPORTED)/);
  });

  test.skipIf(!peer("softhsm2") || !peer("p11-kit"))("a command that is done with is ended", async () => {
    const mark = join(folder(), "ended");
    const hsm = softHsm();
    ends.push(() => hsm.remove());
    const module = `|sh -c 'p11-kit remote ${hsm.path}; echo "$?" > ${mark}'`;
    const provider = openProvider({ module, environment: hsm.environment });
    const p11 = await provider.open();
    await p11.call("C_Initialize", { args: {} });
    expect((await p11.call("C_GetSlotList", { tokenPresent: true })).slots.length).toBe(1);
    await provider.close();
    await expect.poll(() => existsSync(mark) && readFileSync(mark, "utf8"), { timeout: 4000 }).toBe("0\n");
  });
});
