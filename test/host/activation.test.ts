/** systemd's socket activation and notification, in processes that are started as it starts them. Needs dist. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, lstatSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { notifyServiceManager, takeActivated } from "../../src/host/activation.ts";
import { listenAt } from "../../src/host/sockets.ts";
import { peer } from "../support/peers.ts";

const ACTIVATION = resolve(import.meta.dirname, "../../dist/host/activation.js");

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "keywright-activation-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const descriptorOf = (server: Server) => (server as unknown as { _handle: { fd: number } })._handle.fd;

/** Runs code with these descriptors from 3 on, and LISTEN_PID as its own number. */
function activated(code: string, descriptors: readonly number[]) {
  const script = `import { notifyServiceManager, takeActivated } from ${JSON.stringify(ACTIVATION)};\n${code}`;
  const line = `LISTEN_PID=$$ LISTEN_FDS=${descriptors.length} LISTEN_FDNAMES=a exec "$0" --input-type=module -e "$1"`;
  return spawn("sh", ["-c", line, process.execPath, script], { stdio: ["ignore", "pipe", "pipe", ...descriptors] });
}

async function output(child: ReturnType<typeof activated>): Promise<string> {
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(child, "close");
  return Buffer.concat(chunks).toString();
}

test("a socket that was handed over is served, no child gets it or hears of it, and its file stays", async () => {
  const path = join(folder, "socket");
  const server = createServer();
  await listenAt(server, path);
  const child = activated(
    `import { createServer } from "node:net";
     import { execFileSync } from "node:child_process";
     const [fd] = takeActivated();
     const seen = () => execFileSync("sh", ["-c", "env | grep ^LISTEN_; ls -d /proc/$$/fd/3 2>&-; echo no more"]);
     const server = createServer((socket) => {
       socket.end(JSON.stringify([fd, takeActivated(), seen().toString()]));
       server.close();
     }).listen({ fd });`,
    [descriptorOf(server)],
  );
  // Ours does not accept any more; what is connected to now waits for the child.
  server.close();
  const [said] = (await once(connect(path), "data")) as [Buffer];
  expect(said.toString()).toBe(JSON.stringify([3, [], "no more\n"]));
  expect(await output(child)).toBe("");
  expect(lstatSync(path).isSocket()).toBe(true);
});

test("what is another process's is left alone, and no child hears of it", () => {
  process.env.LISTEN_PID = String(process.ppid);
  process.env.LISTEN_FDS = "1";
  expect(takeActivated()).toEqual([]);
  expect(process.env).not.toHaveProperty("LISTEN_PID");
  expect(process.env).not.toHaveProperty("LISTEN_FDS");
});

test("what is no Unix stream socket that listens is refused", async () => {
  const tcp = createServer().listen(0, "127.0.0.1");
  await once(tcp, "listening");
  const file = openSync("/dev/null", "r");
  for (const fd of [descriptorOf(tcp), file]) {
    const said = await output(
      activated("try { takeActivated(); } catch (error) { console.log(error.message); }", [fd]),
    );
    expect(said).toBe("file descriptor 3, handed over by LISTEN_FDS, is not a Unix stream socket that listens\n");
  }
  closeSync(file);
  tcp.close();
});

test("nobody is told where nobody asks", () => {
  expect(() => notifyServiceManager("READY=1")).not.toThrow();
});

test.skipIf(!peer("python3"))(
  "the service manager is told, by a path or a name in the abstract namespace",
  async () => {
    const code = [
      "import socket, sys",
      "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1].replace('@', chr(0), 1))",
      "print('there', flush=True); print(s.recv(100).decode(), flush=True)",
    ].join("\n");
    for (const path of [join(folder, "notify"), `@keywright-test-${process.pid}`]) {
      const receiver = spawn("python3", ["-c", code, path], { stdio: ["ignore", "pipe", "inherit"] });
      await once(receiver.stdout, "data");
      process.env.NOTIFY_SOCKET = path;
      notifyServiceManager("READY=1");
      let heard = "";
      receiver.stdout.on("data", (chunk) => {
        heard += chunk;
      });
      await once(receiver, "close");
      expect(heard.trim()).toBe("READY=1");
      // No child hears of it, and it can be told more.
      expect(process.env).not.toHaveProperty("NOTIFY_SOCKET");
    }
  },
);

test("a service manager that is gone is named", () => {
  process.env.NOTIFY_SOCKET = join(folder, "gone");
  expect(() => notifyServiceManager("STOPPING=1")).toThrow(
    `cannot tell STOPPING=1 to the service manager at ${join(folder, "gone")}`,
  );
});
