/**
 * Reading to the end what may not come at once: a pipe that nobody writes to yet, a terminal.
 *
 * Never by a read that blocks: on the event loop no signal would be noticed meanwhile, and one in a thread of libuv's
 * pool keeps `process.exit` from ending.
 * @module
 */
import { constants, fstatSync, openSync, readSync } from "node:fs";
import { setTimeout as delay, setImmediate as otherEvents } from "node:timers/promises";
import { HostError, systemCode } from "./errors.ts";
import { libc, POLLIN } from "./libc.ts";

/** How long a pipe that nobody has open for writing is waited for, in ms: its writer may be started just now. */
const GRACE_MS = 5000;
const POLL_MS = 20;
/** What is read at a time where the length is not known, in bytes. */
const CHUNK = 65_536;
/** Node reads less than 2 GiB at a time. */
const MOST_AT_ONCE = 2 ** 30;

/** Opens a file for {@link readOpened}; a pipe too, although nobody writes to it yet. @throws a system error */
export function openForReading(path: string): number {
  // Undefined on Windows, which has no such pipes.
  return openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
}

/** Reads to the end what {@link openForReading} opened; `most` bytes at most. @throws a system error, or HostError */
export function readOpened(fd: number, most: number = Number.POSITIVE_INFINITY): Promise<Buffer> {
  return readToEnd(fd, most, true);
}

/** Reads a descriptor that this process was started with to its end; `most` bytes at most. @throws a system error */
export function readInherited(fd: number, most: number = Number.POSITIVE_INFINITY): Promise<Buffer> {
  return readToEnd(fd, most, false);
}

async function readToEnd(fd: number, most: number, isOurs: boolean): Promise<Buffer> {
  const stat = fstatSync(fd);
  const isNow = stat.isFile();
  const deadline = stat.isFIFO() && isOurs ? Date.now() + GRACE_MS : undefined;
  // One byte more than a file has: its end is seen without another buffer.
  let buffer: Buffer = Buffer.alloc(Math.min(most, isNow && stat.size > 0 ? stat.size + 1 : CHUNK));
  let length = 0;
  try {
    while (length < most) {
      if (length === buffer.length) buffer = grown(buffer, most);
      const read = isNow || isOurs || hasInput(fd) ? tryRead(fd, buffer, length) : undefined;
      const isEarly = read === 0 && length === 0 && deadline !== undefined;
      if (isEarly && Date.now() > deadline) {
        throw new HostError("a pipe that nobody writes to", {
          hints: ["start the program that writes to it first, or together with this one"],
        });
      }
      if (read === 0 && !isEarly) break;
      if (read === undefined || read === 0) await delay(POLL_MS);
      else {
        length += read;
        // A device may have no end.
        if (!isNow) await otherEvents();
      }
    }
  } catch (error) {
    buffer.fill(0);
    throw error;
  }
  return buffer.subarray(0, length);
}

/** The bytes read; 0 at the end, or where nobody has the pipe open for writing; undefined where nothing is there yet. */
function tryRead(fd: number, buffer: Buffer, offset: number): number | undefined {
  try {
    return readSync(fd, buffer, offset, Math.min(buffer.length - offset, MOST_AT_ONCE), null);
  } catch (error) {
    if (systemCode(error) === "EAGAIN") return undefined;
    throw error;
  }
}

/** Whether reading would not block. An inherited descriptor is not made non-blocking: others have it too. */
function hasInput(fd: number): boolean {
  const request = { fd, events: POLLIN, revents: 0 };
  return libc().poll(request, 1, 0) === 1;
}

/** Twice as long; what was read may be a PIN and stays in no other buffer. */
function grown(buffer: Buffer, most: number): Buffer {
  const larger = Buffer.alloc(Math.min(most, buffer.length * 2));
  buffer.copy(larger);
  buffer.fill(0);
  return larger;
}
