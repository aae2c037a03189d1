/**
 * C_GetAttributeValue: one call with buffers of likely size; more calls only for what did not fit.
 *
 * A module answers CK_UNAVAILABLE_INFORMATION as the length of what is sensitive, of what the object does not have, and
 * of what did not fit, with one return value for the whole call. So where it is not clear which of the three
 * an attribute is, its length is asked for, which says.
 * @module
 */
import { described } from "../../cryptoki/arguments.ts";
import { after } from "../../cryptoki/awaitable.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import type {
  Attribute,
  AttributeReplies,
  AttributeReply,
  AttributeRequest,
  AttributeValue,
  Awaitable,
  FunctionName,
  Ulong,
} from "../../cryptoki/port.ts";
import { attributeKind, attributeName } from "../../spec/attributes.ts";
import { CKR } from "../../spec/returns.ts";
import { type Arena, spaceFor } from "./arena.ts";
import type { Calling, CFunction, Values } from "./calling.ts";
import { checkSize, checkUlong } from "./checks.ts";
import { describeCall } from "./describe.ts";
import { TRIPLE } from "./layout.ts";
import type { Plan } from "./plan.ts";
import { firstRoom, hasFixedSize, readValue } from "./values.ts";

const OK = CKR.CKR_OK[0];
const TOO_SMALL = CKR.CKR_BUFFER_TOO_SMALL[0];
const PARTIAL: ReadonlySet<number> = new Set([
  OK,
  TOO_SMALL,
  CKR.CKR_ATTRIBUTE_SENSITIVE[0],
  CKR.CKR_ATTRIBUTE_TYPE_INVALID[0],
]);

/** One attribute in a call: `room` bytes are offered, null for none. */
interface Row {
  readonly type: number;
  readonly room: number | null;
}

/** What a call left of one attribute; without a length it is unavailable, or did not fit. */
interface Answer {
  readonly length?: number;
  readonly value?: AttributeValue;
}

interface Answers {
  readonly rv: number;
  readonly answers: readonly Answer[];
}

/** Reads the attributes of one object, in as many calls as it takes. */
class AttributeReading {
  readonly #fn: FunctionName;
  readonly #calling: Calling;
  readonly #cFunction: CFunction;
  readonly #values: Values;

  constructor(fn: FunctionName, calling: Calling, cFunction: CFunction, values: Values) {
    this.#fn = fn;
    this.#calling = calling;
    this.#cFunction = cFunction;
    this.#values = values;
  }

  read(requests: readonly AttributeRequest[]): Awaitable<AttributeReplies> {
    const rows = requests.map(firstRow);
    return after(
      () => this.#ask(rows),
      (first) => {
        const open = unclear(rows, requests, first);
        if (open.length === 0) return this.#fetch(requests, first, [first.rv]);
        return after(
          () => this.#ask(open.map((i) => ({ type: rows[i]!.type, room: null }))),
          (lengths) => this.#fetch(requests, merge(first, open, lengths.answers), [first.rv, lengths.rv]),
        );
      },
    );
  }

  /** Reads, by their now known lengths, the values that are wanted in full. */
  #fetch(requests: readonly AttributeRequest[], known: Answers, rvs: readonly number[]): Awaitable<AttributeReplies> {
    if (known.rv === OK && known.answers.every(({ value }) => value !== undefined)) {
      return summarise(requests, known, rvs);
    }
    const wanted = requests.flatMap(({ room }, i) => {
      const { length, value } = known.answers[i]!;
      return length !== undefined && value === undefined && room !== null && (room ?? length) >= length ? [i] : [];
    });
    const templates = wanted.filter((i) => attributeKind(requests[i]!.type) === "template");
    const plain = wanted.filter((i) => !templates.includes(i));
    const rows = plain.map((i) => ({ type: requests[i]!.type, room: known.answers[i]!.length! }));
    return after(
      () => (rows.length === 0 ? { rv: OK, answers: [] } : this.#ask(rows)),
      (fetched) =>
        this.#fetchTemplates(requests, merge(known, plain, fetched.answers), templates, [...rvs, fetched.rv]),
    );
  }

  #fetchTemplates(
    requests: readonly AttributeRequest[],
    known: Answers,
    templates: readonly number[],
    rvs: readonly number[],
  ): Awaitable<AttributeReplies> {
    const [i, ...others] = templates;
    if (i === undefined) return summarise(requests, known, rvs);
    const length = known.answers[i]!.length!;
    return after(
      () => this.#template(requests[i]!.type, Math.floor(length / TRIPLE.size)),
      (value) => this.#fetchTemplates(requests, merge(known, [i], [{ length, value }]), others, rvs),
    );
  }

  /** The elements of a template attribute: their types and lengths first, then their values. */
  #template(type: number, count: number): Awaitable<readonly Attribute[]> {
    if (count === 0) return [];
    const blank = Array.from({ length: count }, (): Row => ({ type: 0, room: null }));
    return after(
      () => this.#askNested(type, blank),
      (rows) =>
        after(
          () => this.#askNested(type, rows),
          (elements) => elements.flatMap(({ type: of, value }) => (value === undefined ? [] : [{ type: of, value }])),
        ),
    );
  }

  #ask(rows: readonly Row[]): Awaitable<Answers> {
    const space = rows.reduce((sum, { room }) => sum + spaceFor(room ?? 0), spaceFor(rows.length * TRIPLE.size));
    return this.#call(
      space,
      rows.length,
      (arena) => putRows(arena, rows),
      (arena, at, rv) => ({
        rv,
        answers: rows.map((row, i) => readRow(arena, at + i * TRIPLE.size, row)),
      }),
    );
  }

  #askNested(type: number, rows: readonly Row[]): Awaitable<(Row & { value?: AttributeValue })[]> {
    const rooms = rows.reduce((sum, { room }) => sum + spaceFor(room ?? 0), 0);
    const length = rows.length * TRIPLE.size;
    const space = spaceFor(TRIPLE.size) + spaceFor(length) + rooms;
    const inner = spaceFor(TRIPLE.size);
    return this.#call(
      space,
      1,
      (arena) => {
        const outer = arena.take(TRIPLE.size);
        arena.setUlong(outer + TRIPLE.type, type);
        arena.setPointer(outer + TRIPLE.pointer, putRows(arena, rows));
        arena.setUlong(outer + TRIPLE.length, length);
        return outer;
      },
      (arena, at) =>
        rows.map((row, i) => {
          const element = at + inner + i * TRIPLE.size;
          const of = Number(arena.ulong(element + TRIPLE.type));
          const answer = readRow(arena, element, { type: of, room: row.room });
          return { type: of, room: answer.length ?? 0, ...(answer.value === undefined ? {} : { value: answer.value }) };
        }),
    );
  }

  #call<R>(
    space: number,
    count: number,
    put: (arena: Arena) => number,
    read: (arena: Arena, at: number, rv: number) => R,
  ): Awaitable<R> {
    const { session, object } = this.#values as { session: Ulong; object: Ulong };
    const arena = this.#calling.arena(space);
    arena.begin(0);
    const at = put(arena);
    return after(
      () => this.#calling.invoke(this.#cFunction, [session, object, arena.address + at, count]),
      (rv) => {
        try {
          if (!PARTIAL.has(rv)) throw new CryptokiError(this.#fn, rv, describeCall(this.#fn, this.#values));
          return read(arena, at, rv);
        } finally {
          arena.wipe(0);
        }
      },
    );
  }
}

function firstRow({ type, room }: AttributeRequest): Row {
  if (room === null || attributeKind(type) === "template") return { type, room: null };
  return { type, room: room ?? firstRoom(type) };
}

function putRows(arena: Arena, rows: readonly Row[]): number {
  const at = arena.take(rows.length * TRIPLE.size);
  for (const [i, { type, room }] of rows.entries()) {
    const row = at + i * TRIPLE.size;
    arena.setUlong(row + TRIPLE.type, type);
    if (room === null) arena.bytes.fill(0, row + TRIPLE.pointer, row + TRIPLE.size);
    else {
      arena.setPointer(row + TRIPLE.pointer, arena.take(room));
      arena.setUlong(row + TRIPLE.length, room);
    }
  }
  return at;
}

function readRow(arena: Arena, at: number, { type, room }: Row): Answer {
  const length = arena.ulong(at + TRIPLE.length);
  if (typeof length === "bigint") return {};
  if (room === null || length > room) return { length };
  return { length, value: readValue(arena, type, arena.pointer(at + TRIPLE.pointer) - arena.address, length) };
}

/** Which attributes are without a length, and may only not have fitted. */
function unclear(rows: readonly Row[], requests: readonly AttributeRequest[], { rv, answers }: Answers): number[] {
  const missing = answers.flatMap(({ length }, i) => (length === undefined ? [i] : []));
  if (rv === OK || (missing.length === 1 && rv !== TOO_SMALL)) return [];
  return missing.filter((i) => {
    const { type, room } = rows[i]!;
    return room !== null && !(requests[i]!.room === undefined && hasFixedSize(type));
  });
}

function merge(known: Answers, places: readonly number[], found: readonly Answer[]): Answers {
  const answers = [...known.answers];
  for (const [i, place] of places.entries()) answers[place] = found[i]!;
  return { rv: known.rv, answers };
}

/** The reply: its return value is the first that explains what is missing. */
function summarise(
  requests: readonly AttributeRequest[],
  { answers }: Answers,
  rvs: readonly number[],
): AttributeReplies {
  const values = requests.map(({ type }, i): AttributeReply => {
    const { length, value } = answers[i]!;
    if (value !== undefined) return { type, value };
    return length === undefined ? { type } : { type, needed: length };
  });
  const refusal = rvs.find((rv) => rv !== OK && rv !== TOO_SMALL);
  const isMissing = values.some(({ value, needed }) => value === undefined && needed === undefined);
  const didNotFit = values.some(({ needed }, i) => needed !== undefined && requests[i]!.room !== null);
  if (isMissing) return { rv: refusal ?? CKR.CKR_ATTRIBUTE_TYPE_INVALID[0], values };
  return { rv: didNotFit ? TOO_SMALL : OK, values };
}

function checkRequests(fn: FunctionName, { session, object, requests }: Values): void {
  checkUlong(fn, "session", session);
  checkUlong(fn, "object", object);
  if (!Array.isArray(requests)) {
    throw new CryptokiError(fn, "CKR_ARGUMENTS_BAD", `requests are ${described(requests)}, not a list`);
  }
  for (const { type, room } of requests as AttributeRequest[]) {
    checkUlong(fn, "type", type);
    if (room !== undefined && room !== null) checkSize(fn, `room of ${attributeName(type)}`, room);
  }
}

/** The plan of C_GetAttributeValue. */
export function attributesPlan(fn: FunctionName): Plan {
  return {
    types: ["ulong", "ulong", "uintptr_t", "ulong"],
    run(calling, cFunction, values) {
      const reading = new AttributeReading(fn, calling, cFunction, values);
      return after(
        () => {
          checkRequests(fn, values);
          return reading.read(values.requests as readonly AttributeRequest[]);
        },
        (replies) => ({ values: replies }),
      );
    },
  };
}
