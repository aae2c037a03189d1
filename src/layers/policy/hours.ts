/**
 * Allowed hours: `Mon-Fri 08:00-18:00`, in a time zone.
 * @module
 */

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY = 24 * 60;
const WEEK = 7 * DAY;

/** A part of each week, in minutes since Monday 00:00; the end is not in it, and may lie beyond the week's. */
interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Hours {
  /** As it was written. */
  readonly text: string;
  readonly spans: readonly Span[];
}

const FORM = /^(?:([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))?\s+)?(\d{2}):(\d{2})-(\d{2}):(\d{2})$/;

/**
 * Parses `Mon-Fri 08:00-18:00`, `Sat 09:00-12:00`, `22:00-06:00` (every day, into the next one).
 * @throws Error for anything else
 */
export function parseHours(text: string): Hours {
  const match = FORM.exec(text);
  if (match === null) throw wrong(text);
  const [, first = "Mon", last = match[1] ?? "Sun", ...clock] = match;
  const [fromHour, fromMinute, toHour, toMinute] = clock.map(Number) as [number, number, number, number];
  const [from, to] = [fromHour * 60 + fromMinute, toHour * 60 + toMinute];
  const [firstDay, lastDay] = [DAYS.indexOf(first), DAYS.indexOf(last)];
  if (firstDay < 0 || lastDay < 0 || fromMinute > 59 || toMinute > 59 || from >= DAY || to > DAY || from === to) {
    throw wrong(text);
  }
  const days = Array.from({ length: ((lastDay - firstDay + 7) % 7) + 1 }, (_, i) => (firstDay + i) % 7);
  const length = to > from ? to - from : to + DAY - from;
  return { text, spans: days.map((day) => ({ from: day * DAY + from, to: day * DAY + from + length })) };
}

function wrong(text: string): Error {
  return new Error(
    `${JSON.stringify(text)} are no hours: write "Mon-Fri 08:00-18:00", "Sat 09:00-12:00" or "22:00-06:00" for every day`,
  );
}

/** @throws Error for a name that is no time zone */
export function parseTimeZone(name: string): string {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return name;
  } catch {
    throw new Error(`there is no time zone ${JSON.stringify(name)}: write UTC, or a name such as Europe/Berlin`);
  }
}

/** Whether a moment is in one of these hours. */
export function isWithin(hours: readonly Hours[], now: Date, timeZone: string): boolean {
  const { weekday, hour, minute } = parts(now, timeZone);
  const at = DAYS.indexOf(weekday!) * DAY + Number(hour) * 60 + Number(minute);
  return hours.some(({ spans }) =>
    spans.some(({ from, to }) => (at >= from && at < to) || (at + WEEK >= from && at + WEEK < to)),
  );
}

/** The calendar day of a moment in a time zone: `2026-11-21`. */
export function dayOf(now: Date, timeZone: string): string {
  const { year, month, day } = parts(now, timeZone);
  return `${year}-${month}-${day}`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function parts(now: Date, timeZone: string): Record<string, string> {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      weekday: "short",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
    });
    formats.set(timeZone, format);
  }
  return Object.fromEntries(format.formatToParts(now).map(({ type, value }) => [type, value]));
}
