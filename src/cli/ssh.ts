/**
 * A socket of ours at the other end of an ssh connection.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { FOR_SSH, readVariables } from "../host/environment.ts";
import { run } from "../host/processes.ts";
import { CommandError } from "./errors.ts";

/** How long the connection gets before it is looked after again, in ms. */
const POLL_MS = 50;
/** How long a command over the connection may take, in ms. */
const COMMAND_MS = 30_000;

export interface SshOptions {
  /** `user@host`, or a name of ssh's own configuration. */
  readonly destination: string;
  /** Words before the destination: `-p 2222`, `-i FILE`, `-o …`. */
  readonly words: readonly string[];
  /** A folder of ours, for the connection's control socket. */
  readonly folder: string;
}

/**
 * Where p11-kit's client on the other machine looks for its server (p11-kit-rpc.md, 1.1); a socket that is there and has
 * nobody listening is removed, for sshd does not replace it. Prints the path, and whether it has to be told to programs.
 */
const PREPARE = `
umask 077
if [ -n "$KW_PATH" ]; then path=$KW_PATH; known=no
else
  uid=$(id -u)
  if [ -n "$XDG_RUNTIME_DIR" ]; then base=$XDG_RUNTIME_DIR
  elif [ -d "/run/user/$uid" ]; then base=/run/user/$uid
  elif [ -d "/var/run/user/$uid" ]; then base=/var/run/user/$uid
  elif [ -n "$XDG_CACHE_HOME" ]; then base=$XDG_CACHE_HOME
  else base=$HOME/.cache; fi
  path=$base/p11-kit/pkcs11; known=yes
fi
mkdir -p "$(dirname "$path")" || exit 71
if [ -S "$path" ]; then
  if grep -qs " 00010000 .* $path$" /proc/net/unix; then echo "live $path"; exit 0; fi
  rm -f "$path" || exit 71
elif [ -e "$path" ]; then echo "other $path"; exit 0; fi
echo "$known $path"
`;

/** A socket on the other machine. */
export interface RemoteSocket {
  readonly path: string;
  /** Whether p11-kit's client there finds it without being told. */
  readonly isDefault: boolean;
}

export class SshConnection {
  readonly #options: SshOptions;
  readonly #control: string;
  #master: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: SshOptions) {
    this.#options = options;
    this.#control = join(options.folder, "ssh");
  }

  /** When the connection is over. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Connects; ssh asks at the terminal what it wants to know. @throws CommandError when it cannot */
  async open(): Promise<void> {
    const { destination, words } = this.#options;
    const master = spawn(
      "ssh",
      [
        "-M",
        "-S",
        this.#control,
        "-N",
        "-o",
        "ServerAliveInterval=15",
        "-o",
        "ServerAliveCountMax=3",
        ...words,
        "--",
        destination,
      ],
      { stdio: ["inherit", "ignore", "inherit"], env: { ...process.env } },
    );
    let fault: string | undefined;
    this.#master = master;
    this.#ended = new Promise((resolve) => {
      master.once("error", (error) => {
        fault = error.message;
        resolve();
      });
      master.once("exit", (code, signal) => {
        fault ??= `ssh ended ${signal === null ? `with code ${code}` : `by ${signal}`}`;
        resolve();
      });
    });
    while (!existsSync(this.#control)) {
      if (fault !== undefined) throw new CommandError(`cannot connect to ${destination}: ${fault}`);
      await delay(POLL_MS);
    }
  }

  /** Makes ready the other machine's place for the socket. @param path where, instead of where p11-kit's client looks */
  async prepare(path: string | undefined): Promise<RemoteSocket> {
    const { destination } = this.#options;
    const script = `${path === undefined ? "" : `KW_PATH=${quoted(path)}\n`}${PREPARE}`;
    const { status, output } = await this.#run([destination, "sh -s"], script);
    const [, said, where] = /^(\w+) (\/.*)\n$/.exec(output) ?? [];
    if (status !== 0 || said === undefined || where === undefined) {
      throw new CommandError(`${destination} has no place for the socket (code ${status})`, [
        "name one with --remote-socket, in a folder of yours there",
      ]);
    }
    if (said === "live") {
      throw new CommandError(`another server listens on ${destination} at ${where}`, [
        "end it there, or name another path with --remote-socket",
      ]);
    }
    if (said === "other") {
      throw new CommandError(`${where} on ${destination} is there and is no socket`, [
        "move it away, or name another path with --remote-socket",
      ]);
    }
    return { path: where, isDefault: said === "yes" };
  }

  /** Forwards connections to the socket there to the one here. */
  async forward(remote: string, local: string): Promise<void> {
    const { destination } = this.#options;
    const { status } = await this.#run(["-O", "forward", "-R", `${remote}:${local}`, destination], "");
    if (status === 0) return;
    throw new CommandError(`${destination} does not forward a socket (code ${status})`, [
      "sshd there needs AllowStreamLocalForwarding yes (the default), and must be able to make the socket",
    ]);
  }

  /** Removes the socket there, and ends the connection. */
  async close(remote: string | undefined): Promise<void> {
    if (this.#master === undefined || this.#master.exitCode !== null) return;
    const { destination } = this.#options;
    if (remote !== undefined) {
      await this.#run([destination, `rm -f -- ${quoted(remote)}`], "").catch(() => undefined);
    }
    await this.#run(["-O", "exit", destination], "").catch(() => undefined);
    this.#master.kill();
    await this.#ended;
  }

  async #run(words: readonly string[], input: string): Promise<{ status: number | null; output: string }> {
    const { status, output } = await run("ssh", {
      arguments: ["-q", "-S", this.#control, "-o", "BatchMode=yes", ...words],
      environment: readVariables(FOR_SSH),
      input,
      output: "return",
      timeoutMs: COMMAND_MS,
    });
    return { status, output: output.toString() };
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
