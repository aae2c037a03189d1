/** The ways in which sessions are lost, each with real parts. Some need dist. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { ecParams } from "../../src/cryptoki/curves.ts";
import { mechanism } from "../../src/cryptoki/mechanisms.ts";
import { Module } from "../../src/cryptoki/module.ts";
import type { Args, Cryptoki, FunctionName } from "../../src/cryptoki/port.ts";
import type { KeyPair } from "../../src/cryptoki/session/keys.ts";
import type { Session } from "../../src/cryptoki/session/session.ts";
import type { Token } from "../../src/cryptoki/token.ts";
import { openGuarded } from "../../src/modules/guarded.ts";
import { type ModuleReference, openProvider } from "../../src/modules/index.ts";
import { PinMemory } from "../../src/pins/memory.ts";
import { softToken } from "../../src/softtoken/index.ts";
import { CKS } from "../../src/spec/objects.ts";
import { initialiseToken } from "../conformance/targets.ts";
import { peer, peerPath } from "../support/peers.ts";
import { served } from "../support/served.ts";
import { softHsm } from "../support/softhsm.ts";

export const SO_PIN = "so PIN 1234";
export const USER_PIN = "user PIN 1234";

/** A call that went below the PIN guard, without its PIN. */
interface Sent {
  readonly fn: FunctionName;
  readonly args: Args<FunctionName>;
}

export interface Opened {
  readonly module: Module;
  readonly sent: Sent[];
  /** Holds calls back below the guard. */
  hold?: (fn: FunctionName) => Promise<unknown> | undefined;
  /** Every session with the token is lost; the token is there again when this is over. */
  lose(): Promise<void>;
}

export interface Loss {
  readonly name: string;
  /** @param later what is to be closed, in this order */
  open(later: (end: () => unknown) => void): Promise<Opened>;
}

type Later = Parameters<Loss["open"]>[0];

export function temporary(later: Later): string {
  const folder = mkdtempSync(join(tmpdir(), "keywright-loss-"));
  later(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A module with the guard, and what it sends. @param attended whether a person types the PINs: the guard lets those pass */
export async function watched(
  reference: ModuleReference,
  later: Later,
  attended = false,
): Promise<Omit<Opened, "lose">> {
  const sent: Sent[] = [];
  const holding: Pick<Opened, "hold"> = {};
  const watch = (inner: Cryptoki): Cryptoki => ({
    call: (fn, args) => {
      sent.push({ fn, args });
      const held = holding.hold?.(fn);
      return held === undefined ? inner.call(fn, args) : held.then(() => inner.call(fn, args));
    },
  });
  const memory = new PinMemory(join(temporary(later), "state"));
  const module = await Module.open(openGuarded(reference, { memory, attended: () => attended }, watch));
  later(() => module.close());
  return Object.assign(holding, { module, sent });
}

/** The built-in token with a token in it, behind a server. */
async function servedToken(later: Later) {
  const inner = softToken({ store: join(temporary(later), "store"), scryptCost: 10 });
  later(() => inner.close());
  await initialiseToken(inner, utf8(SO_PIN), utf8(USER_PIN));
  const server = await served(inner);
  later(() => server.close());
  return server;
}

async function hsmToken(later: Later) {
  const hsm = softHsm();
  later(() => hsm.remove());
  const maker = openProvider({ module: hsm.path, environment: hsm.environment, placement: "process" });
  await initialiseToken(maker, utf8(SO_PIN), utf8(USER_PIN));
  await maker.close();
  return hsm;
}

async function started(program: string, words: string[], env: NodeJS.ProcessEnv = {}): Promise<ChildProcess> {
  const child = spawn(program, words, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  await createInterface({ input: child.stdout! })[Symbol.asyncIterator]().next();
  return child;
}

/** Ends it as a crash would, with its own children (p11-kit has one per connection), and waits until it is gone. */
async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  process.kill(-child.pid!, "SIGKILL");
  await once(child, "exit");
}

/** The process ids of children of this process that run libraries. */
function libraryProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((id) => {
      try {
        const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${id}/status`, "utf8"))?.[1];
        return Number(parent) === process.pid && readFileSync(`/proc/${id}/cmdline`, "utf8").includes("module-process");
      } catch {
        return false; // it ended meanwhile
      }
    })
    .map(Number);
}

const cut: Loss = {
  name: "our server cuts the connection",
  async open(later) {
    const server = await servedToken(later);
    const lose = async () => {
      const ended = [...server.connections].map((connection) => connection.ended);
      for (const connection of server.connections) connection.cut();
      await Promise.all(ended);
    };
    return Object.assign(await watched({ module: server.address }, later), { lose });
  },
};

const restarted: Loss = {
  name: "our server stops and starts",
  async open(later) {
    const server = await servedToken(later);
    const lose = async () => {
      await server.stop();
      await server.start();
    };
    return Object.assign(await watched({ module: server.address }, later), { lose });
  },
};

const daemon: Loss = {
  name: "keywright serve is killed and started again",
  async open(later) {
    const folder = temporary(later);
    const store = join(folder, "store");
    const inner = softToken({ store, scryptCost: 10 });
    await initialiseToken(inner, utf8(SO_PIN), utf8(USER_PIN));
    await inner.close();
    const path = join(folder, "socket");
    const command = resolve(import.meta.dirname, "../../dist/bin/keywright.js");
    const words = ["serve", "--module", "softtoken", "--store", store, "--socket", path, "--state", join(folder, "s")];
    const start = () => started(process.execPath, [command, ...words, "pkcs11:token=conformance"]);
    let child = await start();
    later(() => killed(child));
    const lose = async () => {
      await killed(child);
      child = await start();
    };
    return Object.assign(await watched({ module: `unix:path=${path}` }, later), { lose });
  },
};

export const crashed: Loss = {
  name: "the process of a library (SoftHSM2) is killed",
  async open(later) {
    const hsm = await hsmToken(later);
    const before = libraryProcesses();
    const opened = await watched({ module: hsm.path, environment: hsm.environment, placement: "process" }, later);
    const lose = async () => {
      const [id] = libraryProcesses().filter((one) => !before.includes(one));
      process.kill(id!, "SIGKILL");
      while (existsSync(`/proc/${id}`)) await delay(5);
    };
    return Object.assign(opened, { lose });
  },
};

/** A library in a thread is one instance per process and environment: so it is always the same socket. */
const SOCKET = join(tmpdir(), `keywright-loss-${process.pid}.socket`);

/** @param reach how the server is reached at its socket */
function p11Kit(name: string, reach: (path: string) => ModuleReference): Loss {
  return {
    name: `p11-kit server (SoftHSM2) is killed and started again, ${name}`,
    async open(later) {
      const hsm = await hsmToken(later);
      later(() => rmSync(SOCKET, { force: true }));
      const words = ["server", "-f", "-n", SOCKET, "--provider", hsm.path, "pkcs11:token=conformance"];
      let child = await started("p11-kit", words, hsm.environment);
      later(() => killed(child));
      const lose = async () => {
        await killed(child);
        rmSync(SOCKET, { force: true });
        child = await started("p11-kit", words, hsm.environment);
      };
      return Object.assign(await watched(reach(SOCKET), later), { lose });
    },
  };
}

/** What another part of the program may do. */
function closedAll(name: string, reach: (later: Later) => Promise<ModuleReference>): Loss {
  return {
    name: `all sessions are closed (C_CloseAllSessions, ${name})`,
    async open(later) {
      const opened = await watched(await reach(later), later);
      const lose = async () => {
        const { slot } = await opened.module.token({ label: "conformance" });
        await opened.module.call("C_CloseAllSessions", { slot });
      };
      return Object.assign(opened, { lose });
    },
  };
}

export const losses: Loss[] = [
  cut,
  restarted,
  daemon,
  closedAll("the built-in token", async (later) => {
    const store = join(temporary(later), "store");
    const inner = softToken({ store, scryptCost: 10 });
    await initialiseToken(inner, utf8(SO_PIN), utf8(USER_PIN));
    await inner.close();
    return { module: "softtoken", store };
  }),
  ...(peer("softhsm2")
    ? [
        crashed,
        closedAll("SoftHSM2", async (later) => {
          const { path, environment } = await hsmToken(later);
          return { module: path, environment, placement: "direct" };
        }),
      ]
    : []),
  ...(peer("softhsm2") && peer("p11-kit")
    ? [p11Kit("with our client", (path) => ({ module: `unix:path=${path}` }))]
    : []),
  ...(peer("softhsm2") && peer("p11-kit") && peer("p11-kit-client")
    ? (["process", "thread"] as const).map((placement) =>
        p11Kit(`with p11-kit's own client in a ${placement}`, (path) => ({
          module: peerPath("p11-kit-client")!,
          environment: { P11_KIT_SERVER_ADDRESS: `unix:path=${path}` },
          placement,
        })),
      )
    : []),
];

/** Signs with ECDSA over P-256, under id 7. */
export function pair(session: Session, label: string, token = true): Promise<KeyPair> {
  const both = { CKA_TOKEN: token, CKA_LABEL: label, CKA_ID: Uint8Array.of(7) };
  return session.generateKeyPair(
    mechanism("CKM_EC_KEY_PAIR_GEN"),
    { ...both, CKA_EC_PARAMS: ecParams("P-256"), CKA_VERIFY: true },
    { ...both, CKA_PRIVATE: true, CKA_SIGN: true },
  );
}

/** What a call fails with. */
export async function thrown(answer: Promise<unknown>): Promise<Error> {
  const error = await answer.then(
    () => "nothing was thrown",
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(Error);
  return error as Error;
}

/** How often a function was called below the guard. */
export function count({ sent }: Pick<Opened, "sent">, fn: FunctionName): number {
  return sent.filter((call) => call.fn === fn).length;
}

/** Whether the application of the token's module is logged in. */
export function loggedIn(token: Token): Promise<boolean> {
  return token.withSession({}, async (session) => {
    const { info } = await session.call("C_GetSessionInfo", { session: session.handle });
    return info.state !== CKS.CKS_RO_PUBLIC_SESSION[0];
  });
}

/** The built-in token behind our server, which stops and starts. */
export async function restartable(later: Later, attended = false) {
  const server = await servedToken(later);
  const opened = await watched({ module: server.address }, later, attended);
  const token = await opened.module.token({ label: "conformance" });
  const lose = async () => {
    await server.stop();
    await server.start();
  };
  return Object.assign(opened, { server, token, lose });
}
