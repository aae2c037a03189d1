/**
 * `keywright forward`
 * @module
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { closeAtExit } from "../../host/exit.ts";
import { command, EXIT, type ExitCode, flag, type Input, text, texts } from "../command.ts";
import { CommandError, UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { guard } from "../serving/guards.ts";
import { SERVING_OPTIONS, workersOf } from "../serving/options.ts";
import { ADDRESS_VARIABLE, addressOf, listenFor, privateFolder } from "../serving/socket.ts";
import { findServed } from "../serving/tokens.ts";
import { pathFault, SshConnection } from "../ssh.ts";
import { chosenState } from "../surroundings.ts";
import { SHELLS } from "../views/serve.ts";

export const spec = command({
  name: "forward",
  summary: "let programs on another machine use tokens of this one, over ssh",
  words: { usage: "[USER@]HOST", least: 1, most: 1 },
  options: {
    token: texts("TOKEN", "a declared name or a PKCS#11 URI; may be given more than once"),
    ...SERVING_OPTIONS,
    noConfirm: flag("do not ask before a key is used"),
    noAudit: flag("do not record the uses"),
    remoteSocket: text("PATH", "where on the other machine (default: where p11-kit's client looks there)"),
    ssh: texts("WORD", "a word for ssh before the host, such as -p2222; may be given more than once"),
    once: flag("end when the connection ends, and do not connect again"),
  },
  notes: [
    "The PIN stays here: programs there are logged in from here, and none that they send is taken.",
    "Before a key is used somebody is asked, here; a yes holds as long as --confirm-seconds says. Uses are recorded, in the state folder.",
    "Where TOKEN names a key, the other machine sees and uses that key alone.",
    "Runs until it is interrupted; when the connection breaks, it connects again.",
  ],
  examples: [
    "keywright forward admin@build.example.com --token demo",
    "keywright forward build --token demo --ssh=-p2222",
  ],
});

/** How long to wait before connecting again, in ms: twice as long each time, up to the last. */
const [FIRST_MS, LAST_MS] = [1000, 60_000];

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const [destination] = input.words as [string];
  if (destination.startsWith("-")) throw new UsageError(`${JSON.stringify(destination)} is no host`);
  const fault = input.remoteSocket === undefined ? undefined : pathFault(input.remoteSocket);
  if (fault !== undefined) throw new UsageError(`--remote-socket: ${JSON.stringify(input.remoteSocket)} ${fault}`);
  const served = await findServed(input.token, "always", input, io);
  const guarded = await guard(served, withDefaults(input, destination, io), {}, io);
  // The process that connects is ssh, whoever is behind it.
  const host = { ...guarded.host, client: { socket: destination } };
  const folder = privateFolder("forward-");
  const local = join(folder, "pkcs11");
  const socket = await listenFor({ ...guarded, host }, local, workersOf(input, 1));
  const connection = new SshConnection({ destination, words: input.ssh, folder });
  let wasConnected = false;
  let isEnding = false;
  const forget = closeAtExit({
    isBusy: () => false,
    async close() {
      isEnding = true;
      await connection.close();
      await socket.close();
      rmSync(folder, { recursive: true, force: true });
    },
  });
  try {
    for (let wait = FIRST_MS; ; wait = Math.min(wait * 2, LAST_MS)) {
      try {
        await connection.open();
        const place = await connection.prepare(input.remoteSocket);
        await connection.forward(place.path, local);
        if (!wasConnected) tellPlace(destination, place, io);
        else io.tell(`keywright: connected to ${destination} again`);
        wasConnected = true;
        wait = FIRST_MS;
        await connection.ended;
      } catch (error) {
        if (isEnding) break;
        // What fails at first is told at once; later, the other machine may only be away.
        if (!wasConnected || !(error instanceof CommandError)) throw error;
        io.tell(`keywright: ${error.message}`);
        await connection.drop();
      }
      if (isEnding || input.once) break;
      io.tell(`keywright: the connection to ${destination} ended; connecting again in ${wait / 1000} s`);
      await delay(wait);
      if (isEnding) break;
    }
  } finally {
    await connection.close();
    await socket.close();
    rmSync(folder, { recursive: true, force: true });
    forget();
  }
  return EXIT.done;
}

/** What is on unless it is turned off: somebody asks, and uses are recorded. */
function withDefaults(input: Input<typeof spec>, destination: string, io: Io): Input<typeof spec> {
  const { noConfirm, noAudit, confirm, confirmCommand, audit } = input;
  const asks = !noConfirm && confirmCommand === undefined;
  if (asks && !confirm && !io.interactive) {
    throw new UsageError("nobody can be asked here before a key is used", [
      "ask by a command (--confirm-command), or do not ask (--no-confirm)",
    ]);
  }
  const host = destination.replaceAll(/[^\w.@-]/g, "_");
  const usual = join(chosenState(input), "audit", `forward-${host}.jsonl`);
  return { ...input, confirm: asks, ...(noAudit ? { audit: undefined } : { audit: audit ?? usual }) };
}

function tellPlace(destination: string, { path, isDefault }: { path: string; isDefault: boolean }, io: Io): void {
  io.tell(`keywright: tokens are served on ${destination} at ${path}`);
  if (isDefault) io.tell("keywright: programs there that load p11-kit-client.so find them");
  else io.tell(`keywright: for programs there: ${SHELLS.sh(ADDRESS_VARIABLE, addressOf(path))}`);
}
