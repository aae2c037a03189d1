/**
 * How often each key was used: in the last minute, and today. The days' counts outlive the process.
 * @module
 */
import { join } from "node:path";
import type { Awaitable } from "../../cryptoki/port.ts";
import { explainSystem, HostError, systemCode } from "../../host/errors.ts";
import { readFile, writeAtomic } from "../../host/files.ts";
import { withLocks } from "../../host/locks.ts";
import { dayOf } from "./hours.ts";

export interface Limits {
  readonly perMinute?: number;
  readonly perDay?: number;
  readonly timeZone: string;
}

/** A limit that is reached. */
export interface Exhausted {
  readonly per: "minute" | "day";
  readonly most: number;
}

/**
 * Where uses are counted: one for all connections, wherever they run. Threads ask the one that keeps it.
 */
export interface UseCounters {
  /**
   * Takes one use, unless a limit is reached.
   * @param use which key, and by whom
   */
  take(use: string, limits: Limits, now: Date): Awaitable<Exhausted | undefined>;
}

const MINUTE = 60_000;
/** A day's uses are noted on disk ahead, this part of the limit at once: a process that dies loses as many. */
const AHEAD = 100;
const FILE = "policy-counts.json";
const LOCK = "policy-counts";

interface DayCount {
  readonly day: string;
  /** Uses that may have been made: those made, and those noted ahead. */
  readonly noted: number;
}

interface Today {
  day: string;
  /** Noted on disk for this process, and not yet made. */
  left: number;
}

/** Counts in this process, and days in a file of the state folder, which several processes may share. */
export class StoredCounters implements UseCounters {
  readonly #folder: string;
  readonly #minutes = new Map<string, number[]>();
  readonly #days = new Map<string, Today>();
  #last: Promise<unknown> = Promise.resolve();

  /** @param folder the state folder; there has to be one */
  constructor(folder: string) {
    this.#folder = folder;
  }

  take(use: string, limits: Limits, now: Date): Awaitable<Exhausted | undefined> {
    const { perMinute, perDay } = limits;
    const recent = this.#recent(use, now);
    if (perMinute !== undefined && recent.length >= perMinute) return { per: "minute", most: perMinute };
    const taken = () => {
      if (perMinute !== undefined) recent.push(now.getTime());
      return undefined;
    };
    if (perDay === undefined) return taken();
    const today = this.#days.get(use);
    if (today !== undefined && today.left > 0 && today.day === dayOf(now, limits.timeZone)) {
      today.left -= 1;
      return taken();
    }
    // One after the other: what two note at once would be lost for one.
    const turn = this.#last.then(() => this.#noteAhead(use, perDay, dayOf(now, limits.timeZone)));
    this.#last = turn.catch(() => undefined);
    return turn.then((has) => (has ? this.take(use, limits, now) : { per: "day", most: perDay }));
  }

  /** Gives back what was noted ahead and not used. */
  async close(): Promise<void> {
    await this.#last;
    const back = [...this.#days].filter(([, { left }]) => left > 0);
    this.#days.clear();
    if (back.length === 0) return;
    await this.#change((counts) => {
      for (const [use, { day, left }] of back) {
        const count = counts[use];
        if (count?.day === day) counts[use] = { day, noted: Math.max(0, count.noted - left) };
      }
    });
  }

  /** Uses of the last minute, in order. */
  #recent(use: string, now: Date): number[] {
    const all = this.#minutes.get(use) ?? [];
    const since = now.getTime() - MINUTE;
    const first = all.findIndex((at) => at > since);
    all.splice(0, first < 0 ? all.length : first);
    this.#minutes.set(use, all);
    return all;
  }

  /** Notes some more uses of today on disk. @returns whether there is one to make */
  async #noteAhead(use: string, perDay: number, day: string): Promise<boolean> {
    const held = this.#days.get(use);
    // Another call may have noted some meanwhile.
    if (held?.day === day && held.left > 0) return true;
    let more = 0;
    await this.#change((counts) => {
      const noted = counts[use]?.day === day ? counts[use].noted : 0;
      more = Math.max(0, Math.min(Math.ceil(perDay / AHEAD), perDay - noted));
      if (more > 0) counts[use] = { day, noted: noted + more };
      for (const [other, { day: old }] of Object.entries(counts)) if (isLongPast(old, day)) delete counts[other];
    });
    this.#days.set(use, { day, left: more });
    return more > 0;
  }

  #change(change: (counts: Record<string, DayCount>) => void): Promise<void> {
    const path = join(this.#folder, FILE);
    const lock = { folder: join(this.#folder, "locks"), purpose: "counting uses of keys" };
    return withLocks([LOCK], lock, async () => {
      const counts = await readCounts(path);
      const before = JSON.stringify(counts);
      change(counts);
      const after = JSON.stringify(counts);
      if (after !== before) await writeAtomic(path, `${after}\n`);
    });
  }
}

/** Whether no time zone has that day any more. */
function isLongPast(old: string, day: string): boolean {
  return Date.parse(day) - Date.parse(old) > 2 * 24 * 60 * MINUTE;
}

/** @throws HostError for a file that cannot be read: no count is taken for zero because of that */
async function readCounts(path: string): Promise<Record<string, DayCount>> {
  let text: string;
  try {
    text = (await readFile(path)).toString("utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return {};
    throw new HostError(`cannot read ${path}: ${explainSystem(error)}`, { cause: error });
  }
  try {
    return JSON.parse(text) as Record<string, DayCount>;
  } catch (error) {
    const hints = ["keys with perDay stay refused until it is repaired, or removed: today's counts then begin anew"];
    throw new HostError(`${path} is not JSON as it was written`, { cause: error, hints });
  }
}
