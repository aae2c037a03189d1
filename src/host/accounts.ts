/**
 * Users and groups by name.
 * @module
 */
import { HostError } from "./errors.ts";
import { run } from "./processes.ts";

/**
 * The numbers of `user`, `user:group` or `:group`, by name or number, as chown(1) reads them.
 * @throws HostError for a name that this machine does not know
 */
export async function findOwner(owner: string): Promise<{ uid: number; gid: number }> {
  const [user, group] = owner.split(":") as [string, string | undefined];
  const account = user === "" ? undefined : await lookUp("passwd", user);
  const uid = account === undefined ? -1 : Number(account[2]);
  if (group !== undefined && group !== "") return { uid, gid: Number((await lookUp("group", group))[2]) };
  return { uid, gid: group === "" && account !== undefined ? Number(account[3]) : -1 };
}

/** getent(1) asks what the machine is set up to ask: files, LDAP, systemd. */
async function lookUp(database: "passwd" | "group", name: string): Promise<string[]> {
  if (/^\d+$/.test(name)) return [name, "", name, name];
  const { status, output } = await run("getent", { arguments: [database, name], output: "return" });
  if (status === 0) return output.toString("utf8").trim().split(":");
  throw new HostError(`this machine knows no ${database === "passwd" ? "user" : "group"} ${JSON.stringify(name)}`);
}
