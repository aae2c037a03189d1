/** Listening on a Unix socket: whose folder, who may connect, stale, live and replaced ones. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runtimeFolder } from "../../src/host/folders.ts";
import { listenAt } from "../../src/host/sockets.ts";
import { peer } from "../support/peers.ts";

const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;

let folder: string;
let servers: Server[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "keywright-sockets-"));
  servers = [];
});

afterEach(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A server that says its name. */
function named(name: string): Server {
  const server = createServer((socket) => socket.on("error", () => undefined).end(name));
  servers.push(server);
  return server;
}

/** What a client hears at a path; an error's code. */
async function hear(path: string): Promise<string> {
  return new Promise((done) => {
    const socket = connect(path);
    let heard = "";
    socket.on("data", (data) => {
      heard += data;
    });
    socket.on("end", () => done(heard));
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
  });
}

const closed = (server: Server) => new Promise((done) => server.close(done));

/** A socket file of a process that was killed. */
async function stale(path: string): Promise<void> {
  const code = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("there"))`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
}

describe("listening", () => {
  test("makes the folder and the socket for the owner alone, whatever the umask, which stays", async () => {
    const path = join(folder, "run", "s");
    const before = process.umask(0);
    try {
      await listenAt(named("me"), path);
      expect(process.umask()).toBe(0);
    } finally {
      process.umask(before);
    }
    expect((lstatSync(path).mode & 0o777).toString(8)).toBe("600");
    expect((statSync(join(folder, "run")).mode & 0o777).toString(8)).toBe("700");
    expect(readdirSync(join(folder, "run"))).toEqual(["s"]);
    expect(await hear(path)).toBe("me");
  });

  test("the file is gone at the end, whoever ends first: the server or its file", async () => {
    const path = join(folder, "socket");
    for (const order of ["file first", "server first"]) {
      const server = named(order);
      const file = await listenAt(server, path);
      if (order === "file first") await file.remove();
      await closed(server);
      await file.remove();
      await file.remove();
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  test("a path that is too long is refused by name, before anything is made", async () => {
    const fits = join(folder, "x".repeat(107 - folder.length - 1));
    const file = await listenAt(named("long"), fits);
    expect(await hear(fits)).toBe("long");
    await file.remove();
    const path = join(folder, "new", "é".repeat(60));
    const refused = listenAt(named("me"), path);
    await expect(refused).rejects.toThrow(
      `the socket ${path}: its path has ${Buffer.byteLength(path)} bytes, at most 107 fit`,
    );
    expect(existsSync(join(folder, "new"))).toBe(false);
  });

  test("a stale socket is replaced", async () => {
    const path = join(folder, "socket");
    await stale(path);
    expect(await hear(path)).toBe("ECONNREFUSED");
    await listenAt(named("new"), path);
    expect(await hear(path)).toBe("new");
    expect((lstatSync(path).mode & 0o777).toString(8)).toBe("600");
  });

  test("of several that find a stale socket at once, one takes it and the others are refused", async () => {
    const path = join(folder, "socket");
    await stale(path);
    const names = ["a", "b", "c", "d"];
    const ends = await Promise.allSettled(names.map((name) => listenAt(named(name), path)));
    const winners = names.filter((_, index) => ends[index]!.status === "fulfilled");
    expect(winners).toHaveLength(1);
    expect(await hear(path)).toBe(winners[0]);
  });

  test("a live one is refused, and goes on", async () => {
    const path = join(folder, "socket");
    await listenAt(named("first"), path);
    await expect(listenAt(named("second"), path)).rejects.toThrow(`another server listens on ${path}`);
    expect(await hear(path)).toBe("first");
  });

  test.skipIf(!peer("python3"))("a live one whose backlog is full is refused", async () => {
    const busy = join(folder, "busy");
    const code = [
      "import socket, sys, time",
      "server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); server.listen(0)",
      "clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]",
      "for client in clients:",
      "  client.setblocking(False)",
      "  try: client.connect(sys.argv[1])",
      "  except BlockingIOError: pass",
      "print('there', flush=True); time.sleep(60)",
    ].join("\n");
    const child = spawn("python3", ["-c", code, busy], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    await expect(listenAt(named("me"), busy)).rejects.toThrow(`another server listens on ${busy}`);
    child.kill("SIGKILL");
    await once(child, "exit");
  });

  test("what is no socket is refused, and stays", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "a file");
    const link = join(folder, "link");
    symlinkSync(join(folder, "nowhere"), link);
    mkdirSync(join(folder, "sub"));
    for (const path of [file, link, join(folder, "sub")]) {
      await expect(listenAt(named("me"), path)).rejects.toThrow(`${path} is there and is no socket`);
    }
    expect(readdirSync(folder).sort()).toEqual(["file", "link", "sub"]);
  });

  test("a socket that another server put in its place is not removed", async () => {
    const path = join(folder, "socket");
    const server = named("first");
    const file = await listenAt(server, path);
    rmSync(path);
    await listenAt(named("second"), path);
    await file.remove();
    await closed(server);
    expect(await hear(path)).toBe("second");
  });

  test("a folder of ours is refused where everybody can put another in its place; a sticky bit forbids that", async () => {
    const shared = join(folder, "shared");
    mkdirSync(join(shared, "mine"), { recursive: true, mode: 0o700 });
    chmodSync(shared, 0o777);
    await expect(listenAt(createServer(), join(shared, "mine/s"))).rejects.toThrow(
      `${shared}: everybody can write to it, and so put another folder in the place of`,
    );
    chmodSync(shared, 0o1777);
    const server = createServer();
    await (await listenAt(server, join(shared, "mine/s"))).remove();
    server.close();
  });

  test("a folder that others can write to is refused", async () => {
    for (const mode of [0o777, 0o1777, 0o770]) {
      const open = join(folder, mode.toString(8));
      mkdirSync(open);
      chmodSync(open, mode);
      const refused = listenAt(named("me"), join(open, "socket"));
      await expect(refused).rejects.toThrow(`${open}: found owner ${process.getuid?.()}, mode ${mode.toString(8)}`);
      expect(readdirSync(open)).toEqual([]);
    }
  });

  test.runIf(isRoot)("a folder of another user is refused", async () => {
    const theirs = join(folder, "theirs");
    mkdirSync(theirs, { mode: 0o700 });
    chownSync(theirs, NOBODY, NOBODY);
    await expect(listenAt(named("me"), join(theirs, "socket"))).rejects.toThrow(
      `${theirs}: found owner ${NOBODY}, mode 700, expected owner 0`,
    );
  });

  test.runIf(isRoot)("another user cannot connect, though the folder lets them in", async () => {
    const path = join(folder, "socket");
    await listenAt(named("me"), path);
    chmodSync(folder, 0o755);
    const code = `require("node:net").connect(${JSON.stringify(path)}).on("error", (e) => console.log(e.code))`;
    const options = ["--reuid", `${NOBODY}`, "--regid", `${NOBODY}`, "--clear-groups", process.execPath, "-e", code];
    const { stdout } = spawnSync("setpriv", options, { cwd: "/" });
    expect(stdout.toString()).toBe("EACCES\n");
  });
});

describe("the runtime folder", () => {
  const saved = { ...process.env };

  afterEach(() => {
    process.env = { ...saved };
  });

  test("is the service's, the machine's for root, the session's for others", () => {
    process.env.RUNTIME_DIRECTORY = "/run/first:/run/second";
    expect(runtimeFolder()).toBe("/run/first");
    delete process.env.RUNTIME_DIRECTORY;
    process.env.XDG_RUNTIME_DIR = "/run/user/7";
    expect(runtimeFolder()).toBe(isRoot ? "/run/keywright" : "/run/user/7/keywright");
  });
});
