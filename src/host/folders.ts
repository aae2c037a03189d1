/**
 * Where state files live on this machine.
 * @module
 */
import { homedir } from "node:os";
import { join } from "node:path";

function root(): boolean {
  return process.getuid?.() === 0;
}

/** `$STATE_DIRECTORY` may name several folders, separated by colons (systemd.exec(5)); the first is ours. */
function first(folders: string | undefined): string | undefined {
  return folders === undefined || folders === "" ? undefined : folders.split(":")[0];
}

/**
 * The folder for what must outlive a reboot: `$STATE_DIRECTORY`, else /var/lib/keywright for root, else
 * `$XDG_STATE_HOME/keywright`.
 */
export function stateFolder(): string {
  const { env } = process;
  return (
    first(env.STATE_DIRECTORY) ??
    (root() ? "/var/lib/keywright" : join(env.XDG_STATE_HOME || join(homedir(), ".local/state"), "keywright"))
  );
}
