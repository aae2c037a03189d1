/**
 * Where state files and sockets live on this machine.
 * @module
 */
import { existsSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { HostError } from "./errors.ts";

function root(): boolean {
  return process.getuid?.() === 0;
}

/** `$STATE_DIRECTORY` and `$RUNTIME_DIRECTORY` may name several folders, separated by colons (systemd.exec(5)); the first is ours. */
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

/**
 * The folder for what ends with the session or the machine, sockets: `$RUNTIME_DIRECTORY`, else /run/keywright for root,
 * else `$XDG_RUNTIME_DIR/keywright`, which is /run/user/UID/keywright where the variable is not set (su, cron).
 * @throws HostError where there is none of these
 */
export function runtimeFolder(): string {
  const { RUNTIME_DIRECTORY: service, XDG_RUNTIME_DIR: session } = process.env;
  const given = first(service);
  if (given !== undefined) return given;
  if (root()) return "/run/keywright";
  if (session !== undefined && session !== "") return join(session, "keywright");
  const usual = `/run/user/${process.getuid?.()}`;
  if (existsSync(usual)) return join(usual, "keywright");
  throw new HostError("there is no runtime folder for sockets: $XDG_RUNTIME_DIR is not set", {
    hints: ["log in as this user (loginctl enable-linger keeps the folder), or name the socket's path"],
  });
}

/**
 * Where the locks on tokens are, one place for this machine and user: `$KEYWRIGHT_LOCKS`, else /var/lib/keywright/locks for
 * root, else ~/.local/state/keywright/locks. It does not move with the state, since two runs with states of their own may
 * work on one token; nor with `$HOME` or the XDG variables, which differ between a login, cron and a service. A service's
 * user that has no home of its own, or none that the service can write, has `$STATE_DIRECTORY`.
 * @returns the places to try, in order
 */
export function lockFolders(): string[] {
  const { KEYWRIGHT_LOCKS: chosen, STATE_DIRECTORY: service } = process.env;
  if (chosen !== undefined && chosen !== "") return [resolve(chosen)];
  const usual = root() ? "/var/lib/keywright/locks" : join(home(), ".local/state/keywright/locks");
  const state = first(service);
  return state === undefined ? [usual] : [usual, join(state, "locks")];
}

/** The home of the user database; of the environment for a user that is not in it. */
function home(): string {
  try {
    return userInfo().homedir;
  } catch {
    return homedir();
  }
}
