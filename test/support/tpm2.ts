/**
 * tpm2-pkcs11 on a simulated TPM (swtpm) of its own.
 *
 * The token is set up through C_InitToken and C_InitPIN alone; tpm2_ptool is not needed. A TPM holds very few sessions,
 * and the library keeps one per login: a process that dies without C_Finalize leaks it, and after three of them every
 * C_Login fails until the TPM is reset. So whoever uses this closes its provider, also when a test fails.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { type EventEmitter, once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { peerPath } from "./peers.ts";

export interface Tpm2 {
  readonly path: string;
  readonly environment: Readonly<Record<string, string>>;
  /** How the simulator is reached, for TPM2_PKCS11_TCTI beside a declared store. */
  readonly tcti: string;
  /** A folder for `store:`; not there yet. */
  readonly store: string;
  /** Ends the simulator and removes its folder. */
  remove(): Promise<void>;
}

/** Starts a simulator with a fresh TPM and an empty store. */
export async function tpm2(): Promise<Tpm2> {
  const folder = mkdtempSync(join(tmpdir(), "keywright-tpm2-"));
  const store = join(folder, "store");
  const state = join(folder, "state");
  mkdirSync(store);
  mkdirSync(state);
  const port = await freePorts();
  // The library's TCTI takes the control channel to be at the next port.
  const swtpm = spawn(
    "swtpm",
    [
      ...["socket", "--tpm2", "--tpmstate", `dir=${state}`, "--flags", "not-need-init,startup-clear"],
      ...["--server", `type=tcp,port=${port}`, "--ctrl", `type=tcp,port=${port + 1}`],
    ],
    { stdio: "ignore" },
  );
  await listening(port + 1, swtpm);
  return {
    path: peerPath("tpm2") ?? "libtpm2_pkcs11.so.1",
    tcti: `swtpm:port=${port}`,
    store: join(folder, "declared"),
    environment: {
      TPM2_PKCS11_STORE: store,
      TPM2_PKCS11_BACKEND: "esysdb",
      TPM2_PKCS11_TCTI: `swtpm:port=${port}`,
      TPM2_PKCS11_LOG_LEVEL: "0",
      TSS2_LOG: "all+NONE",
    },
    async remove() {
      const ended = once(swtpm, "exit");
      swtpm.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A port that is free, as is the next one. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = createServer().listen(0, "127.0.0.1");
    await once(first, "listening");
    const { port } = first.address() as { port: number };
    const second = createServer().listen(port + 1, "127.0.0.1");
    const isFree = await happens(second, "listening");
    for (const server of [first, second]) server.close();
    if (isFree) return port;
  }
}

async function listening(port: number, swtpm: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (swtpm.exitCode !== null) throw new Error(`swtpm ended with code ${swtpm.exitCode}`);
    const socket = connect(port, "127.0.0.1");
    const isThere = await happens(socket, "connect");
    socket.destroy();
    if (isThere) return;
    await delay(25);
  }
  throw new Error("swtpm does not listen");
}

/** Whether an event comes before an error. */
function happens(emitter: EventEmitter, event: string): Promise<boolean> {
  return once(emitter, event).then(
    () => true,
    () => false,
  );
}
