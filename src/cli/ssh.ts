/**
 * A socket of ours at the other end of an ssh connection.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { FOR_SSH, readVariables } from "../host/environment.ts";
import { run } from "../host/processes.ts";
import { CommandError } from "./errors.ts";

/** How long the connection gets before it is looked after again, in ms. */
const POLL_MS = 50;
/** How long a command over the connection may take, in ms; and over one that is made to tidy up, in s. */
const [COMMAND_MS, TIDY_S] = [30_000, 5];

/**
 * Ctrl-C goes to every process in the terminal's foreground, where ssh has to be to ask for a password; what is ignored
 * stays so over exec, so that the connection is still there to tidy up by. It ends with us, for `cat` ends then.
 */
const MASTER = `trap "" INT HUP; exec ssh "$@" 'exec cat >/dev/null'`;

export interface SshOptions {
  /** `user@host`, or a name of ssh's own configuration. */
  readonly destination: string;
  /** Words before the destination: `-p 2222`, `-i FILE`, `-o …`. */
  readonly words: readonly string[];
  /** A folder of ours, for the connection's control socket. */
  readonly folder: string;
}

/** Whether somebody listens at `$path`: the kernel's table has the path as it is, last in the line, after the first " /". */
const IS_LIVE = `
is_live() {
  [ -n "$(grep -sF -- " $path" /proc/net/unix | while IFS= read -r line; do
    where=/\${line#*" /"}
    case $line in *" 00010000 "*) if [ "$where" = "$path" ]; then echo live; fi ;; esac
  done)" ]
}
`;

/**
 * Where p11-kit's client on the other machine looks for its server (p11-kit-rpc.md, 1.1); a socket that is there and has
 * nobody listening is removed, for sshd does not replace it. Prints the path, and whether it has to be told to programs.
 */
const PREPARE = `${IS_LIVE}
umask 077
if [ -n "$KW_PATH" ]; then path=$KW_PATH; said=no
else
  uid=$(id -u)
  if [ -n "$XDG_RUNTIME_DIR" ]; then base=$XDG_RUNTIME_DIR
  elif [ -d "/run/user/$uid" ]; then base=/run/user/$uid
  elif [ -d "/var/run/user/$uid" ]; then base=/var/run/user/$uid
  elif [ -n "$XDG_CACHE_HOME" ]; then base=$XDG_CACHE_HOME
  else base=$HOME/.cache; fi
  path=$base/p11-kit/pkcs11; said=yes
fi
mkdir -p "$(dirname "$path")" || exit 71
if [ -S "$path" ]; then
  if is_live; then said=live; else rm -f "$path" || exit 71; fi
elif [ -e "$path" ]; then said=other; fi
printf '%s %s\\n' "$said" "$path"
`;

/** The longest path of a socket, in bytes (sun_path). */
const LONGEST = 107;

/** Why a socket at this path cannot be forwarded; undefined where it can. */
export function pathFault(path: string): string | undefined {
  if (!path.startsWith("/")) return "is no absolute path";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
  if (/[\x00-\x1f\x7f]/.test(path)) return "has a control character";
  // ssh puts a variable of ours in its place, and has no way to write it otherwise.
  if (path.includes("${")) return 'has "${" in it, which ssh replaces';
  if (Buffer.byteLength(path) > LONGEST) return `is longer than a socket's path can be (${LONGEST} bytes)`;
  return undefined;
}

/** A path as `ssh -R` reads it: a colon ends it, a backslash keeps what follows, and % begins a token (ssh_config, TOKENS). */
function forwardWord(path: string): string {
  return path.replaceAll(/[\\:]/g, "\\$&").replaceAll("%", "%%");
}

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
  /** Why there is no connection; undefined while there is one. */
  #fault: string | undefined = "not connected";
  /** The socket that was made there. */
  #socket: string | undefined;
  /** Whether the socket is this connection's, or one's that is gone. */
  #isForwarded = false;
  #closing: Promise<void> | undefined;

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
    // That of a connection that was killed would be taken for this one's, by ssh too.
    rmSync(this.#control, { force: true });
    this.#isForwarded = false;
    // Of options ssh takes the first, of -S the last. With ControlPersist it would go to the background.
    const first = ["ControlMaster=yes", "ControlPersist=no", "ServerAliveInterval=15", "ServerAliveCountMax=3"];
    const options = first.map((option) => `-o${option}`);
    const master = spawn("sh", ["-c", MASTER, "sh", ...options, ...words, "-S", this.#control, "--", destination], {
      stdio: ["pipe", "ignore", "inherit"],
      env: { ...process.env },
    });
    master.stdin.on("error", () => undefined);
    this.#fault = undefined;
    this.#master = master;
    this.#ended = new Promise((resolve) => {
      master.once("error", (error) => {
        this.#fault = error.message;
        resolve();
      });
      master.once("exit", (code, signal) => {
        this.#fault ??= `ssh ended ${signal === null ? `with code ${code}` : `by ${signal}`}`;
        resolve();
      });
    });
    // ssh puts it there when it is logged in and listens.
    while (!existsSync(this.#control)) {
      if (this.#fault !== undefined) throw new CommandError(`cannot connect to ${destination}: ${this.#fault}`);
      await delay(POLL_MS);
    }
  }

  /** Makes ready the other machine's place for the socket. @param path where, instead of where p11-kit's client looks */
  async prepare(path: string | undefined): Promise<RemoteSocket> {
    const { destination } = this.#options;
    const { status, output } = await this.#run(["sh -s"], `KW_PATH=${quoted(path ?? "")}\n${PREPARE}`);
    if (this.#fault !== undefined) throw new CommandError(`the connection to ${destination} broke: ${this.#fault}`);
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
    const fault = pathFault(where);
    if (fault !== undefined) {
      throw new CommandError(`${JSON.stringify(where)}, where p11-kit's client on ${destination} looks, ${fault}`, [
        "name another path with --remote-socket",
      ]);
    }
    return { path: where, isDefault: said === "yes" };
  }

  /** Forwards connections to the socket there to the one here. */
  async forward(remote: string, local: string): Promise<void> {
    const { destination } = this.#options;
    const before = this.#socket;
    // From here on, for it is removed by whoever ends this meanwhile.
    [this.#socket, this.#isForwarded] = [remote, true];
    const { status } = await this.#run([], "", ["-O", "forward", "-R", [remote, local].map(forwardWord).join(":")]);
    if (status === 0) return;
    // A signal that ended it says nothing of the connection.
    if (status !== null) [this.#socket, this.#isForwarded] = [before, false];
    throw new CommandError(`${destination} does not forward a socket at ${remote} (code ${status})`, [
      "sshd there must be able to make a socket in that folder; its log says why it was not",
      "it makes none with AllowStreamLocalForwarding no, DisableForwarding yes, or restrict in authorized_keys",
    ]);
  }

  /** Ends the connection; a socket there is left to the next one. */
  async drop(): Promise<void> {
    if (this.#master === undefined || this.#fault !== undefined) return;
    await this.#run([], "", ["-O", "exit"]).catch(() => undefined);
    this.#master.kill();
    await this.#ended;
  }

  /** Removes the socket there, and ends the connection. Safe to repeat. */
  close(): Promise<void> {
    this.#closing ??= this.#tidy()
      .catch(() => undefined)
      .then(() => this.drop());
    return this.#closing;
  }

  async #tidy(): Promise<void> {
    if (this.#socket === undefined) return;
    const [path, remove] = [`path=${quoted(this.#socket)}`, 'rm -f -- "$path"'];
    if (this.#isForwarded && this.#fault === undefined) {
      const { status } = await this.#run(["sh -s"], `${path}\n${remove}\n`);
      if (status === 0) return;
    }
    // The connection is gone: over one more, that asks nothing. Somebody else's may be there by now.
    const { destination, words } = this.#options;
    const options = ["BatchMode=yes", "ControlMaster=no", "ClearAllForwardings=yes", `ConnectTimeout=${TIDY_S}`];
    await run("ssh", {
      arguments: ["-q", ...options.map((option) => `-o${option}`), ...words, "-S", "none", "--", destination, "sh -s"],
      environment: readVariables(FOR_SSH),
      input: `${path}${IS_LIVE}is_live || ${remove}\n`,
      output: "return",
      timeoutMs: TIDY_S * 1000,
    });
  }

  /**
   * Runs a command over the connection. Where that is gone, it fails: without the words and the configuration a
   * connection of its own would lead elsewhere, or be somebody else's (`-J` among the words rules out ProxyCommand).
   */
  async #run(command: readonly string[], input: string, words: readonly string[] = []) {
    const { status, output } = await run("ssh", {
      arguments: [
        ...["-q", "-F", "none", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ProxyCommand=false"],
        ...["-S", this.#control, ...words, "--", this.#options.destination, ...command],
      ],
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
