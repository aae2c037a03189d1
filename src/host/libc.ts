/**
 * The few functions of the C library that Node has none for.
 * @module
 */
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import type Koffi from "koffi";

export interface Libc {
  /** 0, or -1 with {@link errno}. */
  flock(fd: number, operation: number): number;
  /** fcntl(F_SETFD). 0, or -1. */
  setDescriptorFlags(fd: number, flags: number): number;
  errno(): number;
}

const F_SETFD = 2;
const FD_CLOEXEC = 1;

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
    type: "int",
    value: number,
  ) => number;
  loaded = {
    flock,
    setDescriptorFlags: (fd, flags) => fcntl(fd, F_SETFD, "int", flags),
    errno: () => koffi.errno(),
  };
  return loaded;
}

let isKept = false;

/**
 * Keeps what this process was started with (a descriptor with a PIN, say) from the programs that it starts. Node opens
 * its own files so; those that it inherited it hands on.
 */
export function keepDescriptors(): void {
  if (isKept) return;
  isKept = true;
  for (const fd of inherited()) libc().setDescriptorFlags(fd, FD_CLOEXEC);
}

function inherited(): number[] {
  try {
    return readdirSync("/proc/self/fd")
      .map(Number)
      .filter((fd) => fd > 2);
  } catch {
    // Not on Linux: there is nothing to read them from.
    return [];
  }
}
