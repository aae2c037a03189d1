/**
 * C_GetAttributeValue in C.
 * @module
 */
import {
  type Answer,
  type Answers,
  type AttributeAsking,
  type NestedRow,
  PARTIAL,
  type Row,
  readAttributes,
} from "../../cryptoki/attribute-reading.ts";
import { after } from "../../cryptoki/awaitable.ts";
import { checkRequests, checkUlong } from "../../cryptoki/checks.ts";
import { describeCall, type Values } from "../../cryptoki/describe.ts";
import { CryptokiError } from "../../cryptoki/errors.ts";
import { valueFromMemory } from "../../cryptoki/memory.ts";
import type { AttributeRequest, Awaitable, FunctionName, Ulong } from "../../cryptoki/port.ts";
import { type Arena, spaceFor } from "./arena.ts";
import type { Calling, CFunction } from "./calling.ts";
import { TRIPLE } from "./layout.ts";
import type { Plan } from "./plan.ts";

/** Asks for attributes of one object. */
class Asking implements AttributeAsking {
  readonly canNest = true;
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

  ask(rows: readonly Row[]): Awaitable<Answers> {
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

  askNested(type: number, rows: readonly Row[]): Awaitable<readonly NestedRow[]> {
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
  return {
    length,
    value: valueFromMemory(type, arena.copy(arena.pointer(at + TRIPLE.pointer) - arena.address, length)),
  };
}

/** The plan of C_GetAttributeValue. */
export function attributesPlan(fn: FunctionName): Plan {
  return {
    types: ["ulong", "ulong", "uintptr_t", "ulong"],
    run(calling, cFunction, values) {
      const asking = new Asking(fn, calling, cFunction, values);
      return after(
        () => {
          checkUlong(fn, "session", values.session);
          checkUlong(fn, "object", values.object);
          checkRequests(fn, values.requests);
          return readAttributes(values.requests as readonly AttributeRequest[], asking);
        },
        (replies) => ({ values: replies }),
      );
    },
  };
}
