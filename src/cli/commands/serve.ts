/**
 * `keywright serve`
 * @module
 */
import { join, resolve } from "node:path";
import { Duplex } from "node:stream";
import { notifyServiceManager, takeActivated } from "../../host/activation.ts";
import { closeAtExit } from "../../host/exit.ts";
import { runtimeFolder } from "../../host/folders.ts";
import { Connections } from "../../serving/connections.ts";
import { makeService } from "../../serving/service.ts";
import { command, EXIT, type ExitCode, flag, type Input, offering, text } from "../command.ts";
import { UsageError } from "../errors.ts";
import type { Io } from "../io.ts";
import { listenFor } from "../served-socket.ts";
import {
  ADDRESS_VARIABLE,
  addressOf,
  findServing,
  reporter,
  SERVING_OPTIONS,
  type Serving,
  workersOf,
} from "../serving.ts";
import { SHELLS, type Shell, serveView } from "../views/serve.ts";

export const spec = command({
  name: "serve",
  summary: "serve tokens to other programs, over p11-kit's protocol",
  words: { usage: "[TOKEN…]", least: 0, most: 64 },
  options: {
    ...SERVING_OPTIONS,
    socket: text("PATH", "where to listen (default: pkcs11 in the runtime folder, $XDG_RUNTIME_DIR/keywright)"),
    stdio: flag("serve one client on standard input and output: for ssh, and for remote: of p11-kit"),
    shell: offering(
      Object.keys(SHELLS),
      text("SHELL", `whose words the variables are printed in: ${Object.keys(SHELLS).join(", ")} (default: sh)`),
    ),
    verbose: flag("tell what clients were refused, and why"),
    json: flag("print JSON (schema keywright/serve/1)"),
  },
  notes: [
    "TOKEN is a declared name or a PKCS#11 URI. Without one: the tokens of the module, or of the built-in store.",
    "Programs load p11-kit-client.so (keywright module-path) with the variable that is printed in their environment.",
    "Only this user can connect. Every connection is an application of its own: one client's login opens nothing to another.",
    "A socket that systemd hands over is used in place of one of our own. SIGTERM lets calls under way be answered first.",
  ],
  examples: [
    "keywright serve demo --socket /run/user/1000/keywright/demo",
    "keywright serve 'pkcs11:token=demo' --unlock --pin file:demo.pin",
    "ssh host 'P11_KIT_SERVER_ADDRESS=\"|keywright serve --stdio demo\" program'",
  ],
});

export async function run(input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  const shell = input.shell ?? "sh";
  if (!Object.hasOwn(SHELLS, shell)) {
    throw new UsageError(`--shell takes ${Object.keys(SHELLS).join(", ")}, not ${JSON.stringify(shell)}`);
  }
  const workers = workersOf(input);
  if (input.stdio && input.socket !== undefined) throw new UsageError("--stdio and --socket exclude each other");
  const serving = await findServing(input, io);
  return input.stdio ? serveStdio(serving, input, io) : serveSocket(serving, workers, input, shell as Shell, io);
}

async function serveStdio(serving: Serving, input: Input<typeof spec>, io: Io): Promise<ExitCode> {
  if (process.stdin.isTTY === true) {
    throw new UsageError("--stdio is for a program at the other end, and this is a terminal", [
      "for programs on this machine: keywright serve",
    ]);
  }
  const report = reporter(input.verbose, io);
  const connections = new Connections(
    makeService(serving.plan, {
      pin: serving.pin,
      report: (fault, error) => report(fault, error instanceof Error ? error.message : "", []),
    }),
  );
  const forget = closeAtExit({ isBusy: () => false, close: () => connections.finish() });
  const stream = Duplex.from({ readable: process.stdin, writable: process.stdout });
  await connections.serve(stream, undefined);
  await connections.finish();
  forget();
  return EXIT.done;
}

async function serveSocket(
  serving: Serving,
  count: number,
  input: Input<typeof spec>,
  shell: Shell,
  io: Io,
): Promise<ExitCode> {
  const [activated, ...more] = takeActivated();
  if (more.length > 0) throw new UsageError(`systemd handed over ${more.length + 1} sockets, and one is served`);
  const path = resolve(input.socket ?? join(runtimeFolder(), "pkcs11"));
  const socket = await listenFor(serving, activated ?? path, count, reporter(input.verbose, io));
  closeAtExit({ isBusy: () => false, close: () => socket.close() });
  // Whoever made the socket knows where it is.
  if (activated === undefined) {
    const environment = { [ADDRESS_VARIABLE]: addressOf(path) };
    io.show(serveView(shell), { environment, pid: process.pid, tokens: serving.uris });
  }
  notifyServiceManager("READY=1");
  await socket.closed;
  return EXIT.done;
}
