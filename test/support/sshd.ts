/** OpenSSH's server on the loopback, for whoever runs the tests. */
import { mkdirSync } from "node:fs";
import { userInfo } from "node:os";
import { freePort, isListening, type Programs, type Running } from "./programs.ts";

export interface Sshd {
  readonly server: Running;
  readonly port: number;
  /** `user@127.0.0.1` */
  readonly destination: string;
  /** ssh's words that lead there, and to nothing of the user's own. */
  readonly words: readonly string[];
  /** Who may log in, from now on: lines of an authorized_keys file. */
  authorise(lines: string): void;
}

/** Starts one. @param setting more lines of its configuration */
export async function startSshd(programs: Programs, setting = ""): Promise<Sshd> {
  // The folder that it goes to without its rights; Debian's service makes it.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  const port = await freePort();
  await programs.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "host"]);
  const [type, key] = programs.read("host.pub").split(" ");
  programs.write("known_hosts", `[127.0.0.1]:${port} ${type} ${key}\n`);
  programs.write("authorized_keys", "");
  programs.write(
    "sshd_config",
    `ListenAddress 127.0.0.1
Port ${port}
HostKey ${programs.path("host")}
AuthorizedKeysFile ${programs.path("authorized_keys")}
StrictModes no
UsePAM no
PidFile none
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
${setting}
`,
  );
  const server = programs.start(["/usr/sbin/sshd", "-D", "-e", "-f", programs.path("sshd_config")]);
  await server.until(() => isListening(port));
  return {
    server,
    port,
    destination: `${userInfo().username}@127.0.0.1`,
    words: [
      ...["-F", "none", "-p", String(port), "-o", `UserKnownHostsFile=${programs.path("known_hosts")}`],
      ...["-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no"],
    ],
    authorise: (lines) => programs.write("authorized_keys", lines),
  };
}
