/**
 * systemd: sockets that it hands over (sd_listen_fds(3)), and telling it that we are ready (sd_notify(3)).
 * @module
 */
import { closeSync } from "node:fs";
import { takeVariable } from "./environment.ts";
import { HostError } from "./errors.ts";
import { FD_CLOEXEC, libc } from "./libc.ts";

/** SD_LISTEN_FDS_START */
const FIRST = 3;
/** socket(7) */
const [SO_TYPE, SO_ACCEPTCONN, SO_DOMAIN] = [3, 30, 39];
const [AF_UNIX, SOCK_STREAM, SOCK_DGRAM, SOCK_CLOEXEC, MSG_NOSIGNAL] = [1, 1, 2, 0o2000000, 0x4000];

/**
 * The descriptors of the sockets that this process was handed, for `server.listen({ fd })`; none where there are none, or
 * they are another process's. Their variables are taken from the environment, so that no child takes them for its own.
 * @throws HostError for one that is not a Unix stream socket that listens
 */
export function takeActivated(): number[] {
  const [owner, count] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map((name) => {
    const value = process.env[name];
    delete process.env[name];
    return value;
  });
  if (owner !== String(process.pid) || !/^[1-9]\d*$/.test(count ?? "")) return [];
  const sockets = Array.from({ length: Number(count) }, (_, index) => FIRST + index);
  for (const fd of sockets) {
    requireListening(fd);
    libc().setDescriptorFlags(fd, FD_CLOEXEC);
  }
  return sockets;
}

function requireListening(fd: number): void {
  const found = [SO_DOMAIN, SO_TYPE, SO_ACCEPTCONN].map((option) => socketOption(fd, option));
  if (found.join() === [AF_UNIX, SOCK_STREAM, 1].join()) return;
  throw new HostError(`file descriptor ${fd}, handed over by LISTEN_FDS, is not a Unix stream socket that listens`, {
    hints: ["in the socket unit: ListenStream=/run/…, and Accept=no"],
  });
}

/** undefined where it is no socket. */
function socketOption(fd: number, option: number): number | undefined {
  const value = Buffer.alloc(4);
  return libc().getSocketOption(fd, option, value, [value.length]) === 0 ? value.readInt32LE() : undefined;
}

/**
 * Tells systemd how this service is, if it was asked to be told: `READY=1`, `STOPPING=1`, `STATUS=…`.
 * @throws HostError when it cannot be reached
 */
export function notifyServiceManager(state: string): void {
  const path = takeVariable("NOTIFY_SOCKET");
  if (path === undefined || path === "") return;
  const address = Buffer.alloc(2 + Buffer.byteLength(path) + 1);
  address.writeUInt16LE(AF_UNIX);
  // A name that begins with @ is in Linux's abstract namespace: a zero, and no zero at its end (unix(7)).
  const isAbstract = path.startsWith("@");
  address.write(isAbstract ? `\0${path.slice(1)}` : path, 2);
  const fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new HostError(`socket: errno ${libc().errno()}`);
  try {
    const message = Buffer.from(state);
    const size = address.length - (isAbstract ? 1 : 0);
    if (libc().sendto(fd, message, message.length, MSG_NOSIGNAL, address, size) < 0) {
      throw new HostError(`cannot tell ${state} to the service manager at ${path}: errno ${libc().errno()}`);
    }
  } finally {
    closeSync(fd);
  }
}
