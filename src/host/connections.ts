/**
 * What Node does not do with a connected socket: who is at its other end, reading and writing without the event loop, and
 * handing it to another thread.
 * @module
 */
import { readlinkSync } from "node:fs";
import { Socket } from "node:net";
import { constants } from "node:os";
import { HostError } from "./errors.ts";
import { libc } from "./libc.ts";

const { EAGAIN, EINTR } = constants.errno;
const MSG_DONTWAIT = process.platform === "darwin" ? 0x80 : 0x40;
/** Node ignores SIGPIPE; a program that it is embedded in may not. */
const MSG_NOSIGNAL = process.platform === "darwin" ? 0 : 0x4000;
/** socket(7) */
const SO_PEERCRED = 17;

/** The process that connected. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /**
   * Its program's file, as far as it can be told: asked for after it connected, when it may have ended, and another process
   * have its number, or run another program. Nothing to decide by. Undefined for another user's process.
   */
  readonly program: string | undefined;
}

/** Who connected, as it was at that moment (SO_PEERCRED). Undefined where the system does not tell, or it is no Unix socket. */
export function peerOf(socket: Socket): Peer | undefined {
  if (process.platform !== "linux") return undefined;
  const credentials = Buffer.alloc(12);
  const answer = libc().getSocketOption(descriptorOf(socket), SO_PEERCRED, credentials, [credentials.length]);
  const pid = credentials.readInt32LE(0);
  // What is no Unix socket has neither process nor user.
  if (answer !== 0 || pid <= 0) return undefined;
  return { pid, uid: credentials.readUInt32LE(4), gid: credentials.readUInt32LE(8), program: programOf(pid) };
}

function programOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

/** The descriptor of a socket that is open; Node keeps it, and closes it. @throws HostError for one that is closed */
export function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  const fd = handle?.fd;
  if (fd === undefined || fd < 0) throw new HostError("the socket is closed");
  return fd;
}

/**
 * Reads what is there now. Only between two events of a socket that Node reads: what is taken here Node does not see.
 * @returns how many bytes; 0 at the end; -1 where nothing is there yet
 * @throws HostError when the connection broke
 */
export function receiveNow(fd: number, into: Uint8Array): number {
  return orLater("recv", fd, libc().recv(fd, into, into.length, MSG_DONTWAIT));
}

/**
 * Writes as much as fits now. Only while Node has nothing of this socket to write itself, or it would come before that.
 * @returns how many bytes were taken; -1 where none fit yet
 * @throws HostError when the connection broke
 */
export function sendNow(fd: number, bytes: Uint8Array): number {
  return orLater("send", fd, libc().send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/** Lets another program have this core, if one waits for it. */
export function yieldNow(): void {
  libc().yield();
}

function orLater(call: string, fd: number, count: number): number {
  if (count >= 0) return count;
  const errno = libc().errno();
  if (errno === EAGAIN || errno === EINTR) return -1;
  throw new HostError(`${call}: errno ${errno} on descriptor ${fd}`);
}

/**
 * Takes a connection from this thread, for another one, which makes it a socket again by {@link takeOver}: post it the
 * number. Whoever posts it answers for that it is taken over: a descriptor that nobody takes stays open.
 * @param socket of a server made with `pauseOnConnect: true`; Node may have read from another one
 * @throws HostError for a socket that is closed, and when there are too many descriptors
 */
export function handOver(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { reading?: boolean } | null };
  if (handle?.reading === true) throw new Error("handOver: the socket is read from already; use pauseOnConnect");
  const fd = libc().duplicate(descriptorOf(socket));
  if (fd < 0) throw new HostError(`cannot hand a connection over: errno ${libc().errno()}`);
  socket.destroy();
  return fd;
}

/** The socket of a descriptor that another thread handed over. It belongs to this thread now. */
export function takeOver(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: true });
}
