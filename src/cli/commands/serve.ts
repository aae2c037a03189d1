/**
 * `keywright serve`
 * @module
 */
import { join, resolve } from "node:path";
import { Duplex } from "node:stream";
import { notifyServiceManager, takeActivated } from "../../host/activation.ts";
import { closeAtExit } from "../../host/exit.ts";
import { runtimeFolder } from "../../host/folders.ts";
import { keepMemory } from "../../host/processes.ts";
import { Connections } from "../../serving/connections.ts";
import { makeService } from "../../serving/service.ts";
import { command, EXIT, type ExitCode, flag, type Input, offering, text } from "../command.ts";
import { UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { type Guarded, guard } from "../serving/guards.ts";
import { SERVING_OPTIONS, workersOf } from "../serving/options.ts";
import { ADDRESS_VARIABLE, addressOf, listenFor } from "../serving/socket.ts";
import { findServed, lookAtServed } from "../serving/tokens.ts";
import { SHELLS, type Shell, serveView } from "../views/serve.ts";

const SHELL_NAMES = Object.keys(SHELLS);

export const spec = command({
  name: "serve",
  summary: "serve tokens to other programs, over p11-kit's protocol",
  words: { usage: "[TOKEN…]", least: 0, most: 64 },
  options: {
    unlock: flag("log clients in from here: they need no PIN, and none that they send is taken"),
    ...SERVING_OPTIONS,
    uninitialised: flag("offer slots whose token was never initialised too, so that clients can make one"),
    socket: text(
      "PATH",
      "where to listen (default: pkcs11 in the runtime folder, $RUNTIME_DIRECTORY, /run/keywright for root, else $XDG_RUNTIME_DIR/keywright)",
    ),
    stdio: flag("serve one client on standard input and output: for ssh, and for remote: of p11-kit"),
    shell: offering(
      SHELL_NAMES,
      text("SHELL", `whose words the variables are printed in: ${SHELL_NAMES.join(", ")} (default: sh)`),
    ),
    json: flag("print JSON (schema keywright/serve/1)"),
  },
  notes: [
    "TOKEN is a declared name or a PKCS#11 URI. Without one: the tokens of the module, or of the built-in store.",
    "Where TOKEN names a key, clients see and use that key alone, unless a policy says otherwise.",
    "Programs load p11-kit-client.so (keywright module-path) with the variable that is printed in their environment.",
    "Only this user can connect, and with a policy whom that names. Every connection is an application of its own: one client's login opens nothing to another.",
    "A socket that systemd hands over is used in place of one of our own. SIGTERM lets calls under way be answered, for 1.5 s.",
  ],
  examples: [
    "keywright serve demo --socket /run/user/1000/keywright/demo",
    "keywright serve 'pkcs11:token=demo' --unlock --pin file:demo.pin --audit audit.jsonl",
    "keywright key list --module '|ssh host keywright serve --stdio demo'",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const shell = input.shell ?? "sh";
  if (!Object.hasOwn(SHELLS, shell)) {
    throw new UsageError(`--shell takes ${SHELL_NAMES.join(", ")}, not ${JSON.stringify(shell)}`);
  }
  const workers = workersOf(input);
  if (input.stdio && input.socket !== undefined) throw new UsageError("--stdio and --socket exclude each other");
  if (input.stdio && process.stdin.isTTY === true) {
    throw new UsageError("--stdio is for a program at the other end, and this is a terminal", [
      "for programs on this machine: keywright serve",
    ]);
  }
  const served = await findServed(input.words, input.unlock ? "always" : "never", input, io);
  if (!input.uninitialised) await lookAtServed(served, input, io);
  const guarded = await guard(served, input, { uninitialised: input.uninitialised }, io);
  if (input.stdio) return serveStdio(guarded);
  const [activated, ...more] = takeActivated();
  if (more.length > 0) throw new UsageError(`systemd handed over ${more.length + 1} sockets, and one is served`);
  const path = resolve(input.socket ?? join(runtimeFolder(), "pkcs11"));
  const socket = await listenFor(guarded, activated ?? path, workers);
  closeAtExit({ isBusy: () => false, close: () => socket.close() });
  // Whoever made the socket knows where it is.
  if (activated === undefined) {
    const environment = { [ADDRESS_VARIABLE]: addressOf(path) };
    io.show(serveView(shell as Shell), { environment, pid: process.pid, tokens: served.uris });
  }
  notifyServiceManager("READY=1");
  await socket.closed;
  return EXIT.done;
}

async function serveStdio({ plan, host, close }: Guarded): Promise<ExitCode> {
  keepMemory();
  const report = (fault: string, error: unknown) => host.report(fault, error instanceof Error ? error.message : "", []);
  const connections = new Connections(await makeService(plan, { ...host, report }));
  const finish = async () => {
    await connections.finish();
    await close();
  };
  const forget = closeAtExit({ isBusy: () => false, close: finish });
  const stream = Duplex.from({ readable: process.stdin, writable: process.stdout });
  await connections.serve(stream, { socket: "standard input" });
  await finish();
  forget();
  return EXIT.done;
}
