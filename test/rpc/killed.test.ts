/** Clients that are killed: nobody else hears of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import type { Cryptoki } from "../../src/cryptoki/port.ts";
import { dialectOf } from "../../src/rpc/dialect.ts";
import type { Fields } from "../../src/rpc/forms.ts";
import { encodeFrame } from "../../src/rpc/frames.ts";
import { encodeRequest } from "../../src/rpc/messages.ts";
import { Connections } from "../../src/serving/connections.ts";
import type { CallName } from "../../src/spec/calls.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "keywright-killed-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function frame(call: CallName, ...fields: Fields): Uint8Array {
  return encodeFrame({ code: 1, options: new Uint8Array(), body: encodeRequest({ call, fields }, dialectOf(0)) });
}

const initialise = () => frame("C_Initialize", utf8("PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1"), 0, utf8("\0"));

/** Serves one connection whose call is answered as is given; the client sends it twice, after C_Initialize. */
async function served(
  call: "C_Logout" | "C_Login",
  answer: (client: Socket, finalised: Promise<void>) => unknown,
  ...fields: Fields
): Promise<readonly string[]> {
  const calls: string[] = [];
  let client: Socket | undefined;
  let finalise = () => {};
  const finalised = new Promise<void>((done) => {
    finalise = done;
  });
  const application: Cryptoki = {
    call(fn) {
      calls.push(fn);
      if (fn === "C_Finalize") finalise();
      return (fn === call ? answer(client!, finalised) : {}) as never;
    },
  };
  const connections = new Connections({
    applications: {
      start: async () => ({ cryptoki: application, end: async () => undefined }),
      close: async () => undefined,
    },
    layered: (inner) => inner,
    report: (fault) => calls.push(fault),
  });
  const path = join(folder, "socket");
  const ended = new Promise<void>((done) => {
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      server.close();
      void connections.serve(socket, { socket: path }).then(done);
      socket.resume();
    });
    server.listen(path, () => {
      client = connect(path, () => {
        client!.write(Buffer.concat([Uint8Array.of(0), initialise(), frame(call, ...fields), frame(call, ...fields)]));
      });
      client.on("error", () => undefined).resume();
    });
  });
  await ended;
  return calls;
}

test("a client that is gone when its answer comes costs nobody else a thing, and its sessions end", async () => {
  const calls = await served(
    "C_Logout",
    (client) => {
      // Node closes it at once, and the server's end learns of it in its next turn.
      client.destroy();
      return {};
    },
    1,
  );
  expect(calls).toEqual(["C_Initialize", "C_Logout", "C_Finalize"]);
});

test("the same where the answer takes its time", async () => {
  const calls = await served(
    "C_Logout",
    async (client) => {
      await Promise.resolve();
      client.destroy();
      return {};
    },
    1,
  );
  expect(calls).toEqual(["C_Initialize", "C_Logout", "C_Finalize"]);
});

test("a login that waits is given up with its client, so that those behind it come sooner", async () => {
  const calls = await served(
    "C_Login",
    async (client, finalised) => {
      setTimeout(() => client.destroy(), 10);
      await finalised;
      return {};
    },
    1,
    1,
    utf8("1234"),
  );
  expect(calls).toEqual(["C_Initialize", "C_Login", "C_Finalize"]);
});
