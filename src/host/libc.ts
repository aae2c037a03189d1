/**
 * The few functions of the C library that Node has none for.
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createRequire } from "node:module";
import type Koffi from "koffi";
import { HostError } from "./errors.ts";

export interface Libc {
  /** 0, or -1 with {@link errno}. */
  flock(fd: number, operation: number): number;
  /** fcntl(F_SETFD). 0, or -1. */
  setDescriptorFlags(fd: number, flags: number): number;
  /** fcntl(F_GETLK): what keeps the lock from being taken is put in its place. 0, or -1. */
  getRecordLock(fd: number, lock: RecordLock): number;
  /** poll(2) of one descriptor. 0 where nothing is there within the time; 1, or -1 with {@link errno}. */
  poll(request: PollRequest, count: 1, timeoutMs: number): number;
  /** fcntl(F_DUPFD_CLOEXEC): another descriptor of the same, which no child inherits. It, or -1. */
  duplicate(fd: number): number;
  /** getsockopt(2) of SOL_SOCKET into `value`, whose length `length` says and is told. 0, or -1. */
  getSocketOption(fd: number, option: number, value: Uint8Array, length: [number]): number;
  /** How many bytes were read or taken; 0 at the end; -1 with {@link errno}. */
  recv(fd: number, into: Uint8Array, length: number, flags: number): number;
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  /** sched_yield(2): 0. */
  yield(): number;
  /** socket(2): a descriptor, or -1. */
  socket(domain: number, type: number, protocol: number): number;
  /** To a socket of this address, struct sockaddr. */
  sendto(fd: number, bytes: Uint8Array, length: number, flags: number, to: Uint8Array, size: number): number;
  /** prctl(PR_SET_DUMPABLE): 0, or -1. Linux alone has it; elsewhere nothing is done. */
  setDumpable(value: 0 | 1): number;
  /** The process group in the foreground of a terminal, or -1. */
  tcgetpgrp(fd: number): number;
  getpgrp(): number;
  errno(): number;
}

/** struct flock, fcntl(2). */
interface RecordLock {
  l_type: number;
  l_whence: number;
  l_start: number;
  l_len: number;
  l_pid: number;
}

/** struct pollfd, poll(2). */
interface PollRequest {
  fd: number;
  events: number;
  revents: number;
}

/** flock(2) */
export const LOCK_EX = 2;
export const LOCK_NB = 4;

/** poll(2): there is something to read, or the end. */
export const POLLIN = 1;

const F_SETFD = 2;
const F_DUPFD_CLOEXEC = process.platform === "darwin" ? 67 : 1030;
const PR_SET_DUMPABLE = 4;
const SOL_SOCKET = process.platform === "darwin" ? 0xffff : 1;
const F_GETLK = 5;
const F_WRLCK = 1;
const F_UNLCK = 2;
export const FD_CLOEXEC = 1;

let loaded: Libc | undefined;

/** Loads them when they are first needed: it takes 7 ms. */
export function libc(): Libc {
  if (loaded !== undefined) return loaded;
  const koffi = createRequire(import.meta.url)("koffi") as typeof Koffi;
  const library = koffi.load(null);
  const flock = library.func("int flock(int fd, int operation)") as Libc["flock"];
  const fcntl = library.func("int fcntl(int fd, int cmd, ...)") as (
    fd: number,
    cmd: number,
    type: unknown,
    value: unknown,
  ) => number;
  const recordLock = koffi.struct({ l_type: "short", l_whence: "short", l_start: "long", l_len: "long", l_pid: "int" });
  const pollRequest = koffi.struct({ fd: "int", events: "short", revents: "short" });
  const poll = library.func("poll", "int", [koffi.inout(koffi.pointer(pollRequest)), "unsigned long", "int"]);
  const getsockopt = library.func("getsockopt", "int", ["int", "int", "int", "void *", "_Inout_ uint32_t *"]) as (
    fd: number,
    level: number,
    ...rest: [option: number, value: Uint8Array, length: [number]]
  ) => number;
  const lockPointer = koffi.inout(koffi.pointer(recordLock));
  loaded = {
    flock,
    setDescriptorFlags: (fd, flags) => fcntl(fd, F_SETFD, "int", flags),
    getRecordLock: (fd, lock) => fcntl(fd, F_GETLK, lockPointer, lock),
    poll: poll as Libc["poll"],
    duplicate: (fd) => fcntl(fd, F_DUPFD_CLOEXEC, "int", 3),
    getSocketOption: (fd, option, value, length) => getsockopt(fd, SOL_SOCKET, option, value, length),
    recv: library.func("recv", "long", ["int", "void *", "size_t", "int"]) as Libc["recv"],
    send: library.func("send", "long", ["int", "void *", "size_t", "int"]) as Libc["send"],
    yield: library.func("int sched_yield()") as Libc["yield"],
    socket: library.func("socket", "int", ["int", "int", "int"]) as Libc["socket"],
    sendto: library.func("sendto", "long", ["int", "void *", "size_t", "int", "void *", "uint32_t"]) as Libc["sendto"],
    setDumpable: process.platform === "linux" ? dumpable(library) : () => 0,
    tcgetpgrp: library.func("int tcgetpgrp(int fd)") as Libc["tcgetpgrp"],
    getpgrp: library.func("int getpgrp()") as Libc["getpgrp"],
    errno: () => koffi.errno(),
  };
  return loaded;
}

function dumpable(library: ReturnType<typeof Koffi.load>): Libc["setDumpable"] {
  const prctl = library.func("int prctl(int option, ...)") as (option: number, type: string, value: number) => number;
  return (value) => prctl(PR_SET_DUMPABLE, "unsigned long", value);
}

/** The process that holds a record lock (fcntl(2)) on a part of a file; undefined if no other process does. */
export function recordLockHolder(fd: number): number | undefined {
  const lock: RecordLock = { l_type: F_WRLCK, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
  if (libc().getRecordLock(fd, lock) !== 0) throw new HostError(`fcntl(F_GETLK): errno ${libc().errno()}`);
  return lock.l_type === F_UNLCK ? undefined : lock.l_pid;
}

/**
 * Whether a descriptor is one that Node opened for itself: what it waits for events with, or a pipe of which it has both
 * ends, and which so has no end. To read it would take for ever, or take what Node waits for. False where the system does
 * not tell.
 */
export function isOfNode(fd: number): boolean {
  const target = leadsTo(fd);
  if (fd <= 2 || target === undefined) return false;
  if (target.startsWith("anon_inode:")) return true;
  return target.startsWith("pipe:") && openDescriptors().some((other) => leadsTo(other) === target && isWriting(other));
}

/** The last bits of open(2)'s flags, which /proc/PID/fdinfo shows in octal. */
const [O_ACCMODE, O_WRONLY] = [3, 1];

function isWriting(fd: number): boolean {
  let said: string;
  try {
    said = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
  } catch {
    // Kernels before 5.14 tell nobody but root, once the process is not dumpable.
    return false;
  }
  const [, flags = "0"] = /^flags:\s*([0-7]+)/m.exec(said) ?? [];
  return (Number.parseInt(flags, 8) & O_ACCMODE) === O_WRONLY;
}

function leadsTo(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

let isKept = false;

/**
 * Keeps what this process was started with (a descriptor with a PIN, say) from the programs that it starts. Node opens
 * its own files so; those that it inherited it hands on.
 */
export function keepDescriptors(): void {
  if (isKept) return;
  isKept = true;
  for (const fd of openDescriptors()) libc().setDescriptorFlags(fd, FD_CLOEXEC);
}

/** Those beyond standard input, output and error. */
function openDescriptors(): number[] {
  try {
    return readdirSync("/proc/self/fd")
      .map(Number)
      .filter((fd) => fd > 2);
  } catch {
    // Not on Linux: there is nothing to read them from.
    return [];
  }
}
