/**
 * How C functions are called: at once, or on another thread.
 * @module
 */
import type { KoffiFunc } from "koffi";
import type { Awaitable, Ulong } from "../../cryptoki/port.ts";
import { Arena } from "./arena.ts";

/** A C function: numbers and addresses in, CK_RV out. */
export type CFunction = KoffiFunc<(...args: Ulong[]) => Ulong>;

/** What a C argument is declared as. */
export type CType = "ulong" | "uint8_t" | "uintptr_t";

/** A way of calling, and the arenas that go with it. */
export interface Calling {
  /** Answers CK_RV. The arguments are read before it returns. */
  invoke(cFunction: CFunction, argv: readonly Ulong[]): Awaitable<number>;
  /** An arena of at least that many bytes, to be used until the call's outputs are read. */
  arena(space: number): Arena;
  /** Whether the arena stays as it is after the call. */
  readonly keepsArena?: boolean;
}

/** Enough for nearly every call; a larger one gets an arena of its own. */
const SHARED_ARENA = 0x1_0000;

let shared: Arena | undefined;

/** Calls at once, on this thread. Nothing runs in between, so all such calls share one arena. */
export const now: Calling = {
  invoke: (cFunction, argv) => Number(cFunction(...argv)),
  arena(space) {
    if (space > SHARED_ARENA) return new Arena(space);
    shared ??= new Arena(SHARED_ARENA);
    return shared;
  },
};

/** How many calls koffi gets at a time; it refuses more than 256, and libuv's pool runs a few of them at once anyway. */
const MOST_AT_ONCE = 64;

let atOnce = 0;
const waiting: (() => void)[] = [];

/** Calls on a thread of libuv's pool; the event loop goes on meanwhile. The arena lives in the caller's closure. */
export const later: Calling = {
  invoke(cFunction, argv) {
    // The plan's own array is written anew by its next call.
    const args = [...argv];
    return new Promise((resolve, reject) => {
      const start = () => {
        atOnce++;
        cFunction.async(...args, (error: unknown, rv: Ulong) => {
          atOnce--;
          waiting.shift()?.();
          if (error !== null && error !== undefined) reject(error as Error);
          else resolve(Number(rv));
        });
      };
      if (atOnce < MOST_AT_ONCE) start();
      else waiting.push(start);
    });
  },
  arena: (space) => new Arena(space),
};
