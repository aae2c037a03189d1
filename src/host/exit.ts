/**
 * Ending this process although a C call may be blocked.
 *
 * `process.exit` waits for every thread of libuv's pool and every Worker, so it hangs for as long as one of them is
 * inside C: a module that waits for a card, for a person, or for nothing.
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";

/** Something that is in use until it is closed. */
export interface InUse {
  /** Whether a call is inside C at this moment, so that `process.exit` would hang. */
  isBusy(): boolean;
  /** Waits for calls under way, then lets go. What waits for an event is ended by it. */
  close(): void | Promise<void>;
}

const inUse = new Set<InUse>();

/**
 * Runs work that the process's end waits for, but not longer than calls under way get: what `process.exit` would hang on
 * (a thread of libuv's pool that makes a large key), or what should be noted before the end.
 */
export async function endingWaitsFor<T>(work: () => Promise<T>): Promise<T> {
  let isBusy = true;
  const forget = closeAtExit({ isBusy: () => isBusy, close: () => undefined });
  try {
    return await work();
  } finally {
    isBusy = false;
    forget();
  }
}

/** How long calls under way get to return, in ms. */
const GRACE_MS = 2000;
const POLL_MS = 20;

/** Has this closed before the process ends by {@link exit}. Answers a function that takes it back. */
export function closeAtExit(it: InUse): () => void {
  inUse.add(it);
  return () => inUse.delete(it);
}

/** The end of this process, once it has begun. */
let ending: Promise<never> | undefined;

/**
 * Ends the process within two seconds or little more. Everything in use is closed first; if a call is still inside C by
 * then, the process ends by libc's `_exit`, without what runs at exit. Who comes first says the code: a program that fails
 * since its module is closed under it has nothing to add.
 */
export function exit(code: number): Promise<never> {
  ending ??= end(code);
  return ending;
}

async function end(code: number): Promise<never> {
  const closing = Promise.allSettled([...inUse].map(closeFully));
  await Promise.race([closing, delay(GRACE_MS)]);
  if ([...inUse].some((it) => it.isBusy())) await exitNow(code);
  process.exit(code);
}

async function closeFully(it: InUse): Promise<void> {
  await it.close();
  while (it.isBusy()) await delay(POLL_MS);
}

/** The signals by which a person or the system ends a program, and the exit codes that shells give them. */
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

/** What SIGINT does here; undefined where it is left to the system. */
let onInterrupt: (() => void) | undefined;

/** Who runs C on the event loop. */
const onLoop = new Set<object>();

/**
 * From now on SIGINT, SIGQUIT, SIGTERM and SIGHUP end the process by {@link exit}, a second one at once. They are noticed by the
 * event loop: a module that may block has to be called elsewhere (placement `thread` or `process`), but for Ctrl-C, see
 * {@link leaveInterrupt}.
 * @param first done before all else when a signal begins to end the process
 */
export function exitOnSignals(first: () => void = () => undefined): void {
  let isSecond = false;
  for (const [signal, code] of Object.entries(SIGNALS)) {
    const onSignal = () => {
      if (ending === undefined) first();
      void (isSecond ? exitNow(code) : exit(code));
      isSecond = true;
    };
    if (signal === "SIGINT") onInterrupt = onSignal;
    if (signal !== "SIGINT" || onLoop.size === 0) process.on(signal, onSignal);
  }
}

/**
 * Leaves Ctrl-C to the system, which ends the process at once, for as long as C may run on the event loop: a handler would
 * not run before the call returns. Nothing is lost by that: locks end with the process, files are replaced whole, and a
 * login is noted before it is sent. Answers a function that takes it back.
 */
export function leaveInterrupt(): () => void {
  const it = {};
  onLoop.add(it);
  if (onInterrupt !== undefined) process.off("SIGINT", onInterrupt);
  return () => {
    if (onLoop.delete(it) && onLoop.size === 0 && onInterrupt !== undefined) process.on("SIGINT", onInterrupt);
  };
}

async function exitNow(code: number): Promise<never> {
  const { default: koffi } = await import("koffi");
  try {
    koffi.load(null).func("_exit", "void", ["int"])(code);
  } catch {
    // No _exit on this system: then at least the process ends.
  }
  process.kill(process.pid, "SIGKILL");
  return new Promise<never>(() => {});
}
