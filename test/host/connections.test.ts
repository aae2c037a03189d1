/** Connected sockets: who is at the other end, reading and writing at once, other threads. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect, test } from "vitest";
import { descriptorOf, handOver, peerOf, receiveNow, sendNow, takeOver } from "../../src/host/connections.ts";

let folder: string;
let path: string;
let server: Server;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "keywright-connections-"));
  path = join(folder, "socket");
});

afterEach(async () => {
  await new Promise((done) => server.close(done));
  rmSync(folder, { recursive: true, force: true });
});

/** Both ends of a connection; the server reads nothing by itself. */
async function pair(): Promise<{ ours: Socket; theirs: Socket }> {
  server = createServer({ pauseOnConnect: true }).listen(path);
  await once(server, "listening");
  const theirs = connect(path);
  const [ours] = (await once(server, "connection")) as [Socket];
  return { ours, theirs };
}

const descriptors = () => readdirSync("/proc/self/fd").length;

test("the process that connected is known by its number, user and program", async () => {
  server = createServer({ pauseOnConnect: true }).listen(path);
  await once(server, "listening");
  chmodSync(folder, 0o755);
  chmodSync(path, 0o666);
  const code = `require("node:net").connect(${JSON.stringify(path)})`;
  const isRoot = process.getuid?.() === 0;
  const asNobody = ["setpriv", "--reuid", "65534", "--regid", "65533", "--clear-groups"];
  const line = [...(isRoot ? asNobody : []), process.execPath, "-e", code];
  const child = spawn(line[0]!, line.slice(1), { cwd: "/", stdio: "inherit" });
  const [socket] = (await once(server, "connection")) as [Socket];
  expect(peerOf(socket)).toEqual({
    pid: child.pid,
    uid: isRoot ? 65534 : process.getuid?.(),
    gid: isRoot ? 65533 : process.getgid?.(),
    program: realpathSync(process.execPath),
  });
  child.kill("SIGKILL");
  await once(child, "exit");
  // What it was when it connected stays known; its program does not.
  expect(peerOf(socket)).toMatchObject({ pid: child.pid, program: undefined });
  socket.destroy();
});

test("a connection of another kind has no peer; a closed one is told", async () => {
  server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const theirs = connect((server.address() as { port: number }).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [Socket];
  expect(peerOf(socket)).toBeUndefined();
  theirs.destroy();
  socket.destroy();
  expect(() => descriptorOf(socket)).toThrow("the socket is closed");
});

test("reads what is there, says when nothing is, and the end", async () => {
  const { ours, theirs } = await pair();
  const fd = descriptorOf(ours);
  const buffer = Buffer.alloc(8);
  expect(receiveNow(fd, buffer)).toBe(-1);
  await new Promise((done) => theirs.write("0123456789", done));
  expect(receiveNow(fd, buffer)).toBe(8);
  expect(buffer.toString()).toBe("01234567");
  expect(receiveNow(fd, buffer)).toBe(2);
  expect(buffer.toString()).toBe("89234567");
  expect(receiveNow(fd, buffer)).toBe(-1);
  await new Promise<void>((done) => theirs.end(done));
  expect(receiveNow(fd, buffer)).toBe(0);
  ours.destroy();
});

test("takes the rest of what Node began to read", async () => {
  const { ours, theirs } = await pair();
  const heard: string[] = [];
  const rest = Buffer.alloc(100);
  ours.on("data", (data) => {
    heard.push(data.toString());
    const more = receiveNow(descriptorOf(ours), rest);
    if (more > 0) heard.push(`${rest.toString("utf8", 0, more)}, at once`);
  });
  ours.resume();
  theirs.write("one");
  await once(ours, "data");
  theirs.write("two");
  await once(ours, "data");
  theirs.end();
  await once(ours, "end");
  expect(heard.join("|")).toMatch(/^one\|two$/);
});

test("writes as much as fits, says when nothing does, and when nobody is there any more", async () => {
  const { ours, theirs } = await pair();
  const fd = descriptorOf(ours);
  theirs.pause();
  const block = Buffer.alloc(65_536, 7);
  let sent = 0;
  for (let count = sendNow(fd, block); count > 0; count = sendNow(fd, block)) sent += count;
  expect(sent).toBeGreaterThan(0);
  expect(sendNow(fd, block)).toBe(-1);
  let heard = 0;
  theirs.on("data", (data) => {
    heard += data.length;
  });
  theirs.resume();
  while (heard < sent) await new Promise((done) => setTimeout(done, 5));
  expect(sendNow(fd, Buffer.from("more"))).toBe(4);
  await once(theirs, "data");
  theirs.destroy();
  await once(theirs, "close");
  expect(() => sendNow(fd, block)).toThrow("send: errno 32");
  ours.destroy();
});

test("a hundred connections are handed to two threads, and no descriptor is left", async () => {
  const code = `
    const { parentPort } = require("node:worker_threads");
    const { Socket } = require("node:net");
    const echo = (fd) => {
      const socket = new Socket({ fd, readable: true, writable: true });
      socket.on("data", (data) => socket.write(data.toString() + " from " + require("node:worker_threads").threadId));
      socket.on("error", () => {});
      socket.on("close", () => parentPort.postMessage("closed"));
    };
    parentPort.on("message", (fd) => fd === null ? process.exit(0) : echo(fd));
  `;
  const workers = [0, 1].map(() => new Worker(code, { eval: true }));
  await Promise.all(workers.map((worker) => once(worker, "online")));
  let closed = 0;
  for (const worker of workers) worker.on("message", () => (closed += 1));
  let next = 0;
  server = createServer({ pauseOnConnect: true }, (socket) => {
    workers[next++ % 2]!.postMessage(handOver(socket));
  }).listen(path);
  await once(server, "listening");
  // What the first use of threads and sockets opens for good.
  await talk("warm");
  await talk("up");
  while (closed < 2) await new Promise((done) => setTimeout(done, 5));
  const before = descriptors();
  const count = 100;
  const answers = await Promise.all(Array.from({ length: count }, (_, index) => talk(`client ${index}`)));
  for (const [index, worker] of workers.entries()) {
    expect(answers.filter((answer) => answer.endsWith(` from ${worker.threadId}`))).toHaveLength(count / 2);
    expect(answers[index]).toMatch(/^client \d+ from/);
  }
  expect(new Set(answers).size).toBe(count);
  while (closed < count + 2) await new Promise((done) => setTimeout(done, 5));
  expect(descriptors()).toBe(before);
  for (const worker of workers) worker.postMessage(null);
  await Promise.all(workers.map((worker) => once(worker, "exit")));

  /** Says something, and answers what comes back. */
  async function talk(text: string): Promise<string> {
    const socket = connect(path);
    // Before the server may have looked: it must not be lost.
    socket.write(text);
    const [data] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    await once(socket, "close");
    return data.toString();
  }
});

test("who takes a connection over has it alone, and what was sent before", async () => {
  const { ours, theirs } = await pair();
  await new Promise((done) => theirs.write("early", done));
  const taken = takeOver(handOver(ours));
  expect(ours.destroyed).toBe(true);
  expect(String(await once(taken, "data"))).toBe("early");
  taken.end("bye");
  expect(String(await once(theirs, "data"))).toBe("bye");
  theirs.destroy();
});

test("a socket that Node reads from already is not handed over", async () => {
  server = createServer().listen(path);
  await once(server, "listening");
  const theirs = connect(path);
  const [socket] = (await once(server, "connection")) as [Socket];
  expect(() => handOver(socket)).toThrow("pauseOnConnect");
  theirs.destroy();
  socket.destroy();
});
