/**
 * C_GetAttributeValue as the port has it, from calls as C has them: one call with room of likely size; more calls only for
 * what did not fit.
 *
 * A module answers CK_UNAVAILABLE_INFORMATION as the length of what is sensitive, of what the object does not have, and
 * of what did not fit, with one return value for the whole call. So where it is not clear which of the three
 * an attribute is, its length is asked for, which says.
 * @module
 */
import { attributeKind, type ValueKind } from "../spec/attributes.ts";
import { CKR } from "../spec/returns.ts";
import { after } from "./awaitable.ts";
import { ULONG_SIZE as ULONG } from "./memory.ts";
import type {
  Attribute,
  AttributeReplies,
  AttributeReply,
  AttributeRequest,
  AttributeValue,
  Awaitable,
} from "./port.ts";

/** The size of CK_ATTRIBUTE, in bytes. */
export const ATTRIBUTE_SIZE = 24;

const OK = CKR.CKR_OK[0];
const TOO_SMALL = CKR.CKR_BUFFER_TOO_SMALL[0];

/** Return values of C_GetAttributeValue with which there are answers. */
export const PARTIAL: ReadonlySet<number> = new Set([
  OK,
  TOO_SMALL,
  CKR.CKR_ATTRIBUTE_SENSITIVE[0],
  CKR.CKR_ATTRIBUTE_TYPE_INVALID[0],
]);

/** One attribute in a call: `room` bytes are offered, null for none. */
export interface Row {
  readonly type: number;
  readonly room: number | null;
}

/** What a call left of one attribute; without a length it is unavailable, or did not fit. */
export interface Answer {
  readonly length?: number;
  readonly value?: AttributeValue;
}

export interface Answers {
  readonly rv: number;
  readonly answers: readonly Answer[];
}

/** One row of a template attribute that was read. */
export type NestedRow = Row & { readonly value?: AttributeValue };

/** One call of C_GetAttributeValue for one object. */
export interface AttributeAsking {
  /** Whether {@link askNested} can be asked at all; otherwise only a template attribute's length is known. */
  readonly canNest: boolean;
  ask(rows: readonly Row[]): Awaitable<Answers>;
  /** Asks for a template attribute, with these rows in it; answers what is in them: types and lengths, or values. */
  askNested(type: number, rows: readonly Row[]): Awaitable<readonly NestedRow[]>;
}

/** Reads the attributes of one object, in as many calls as it takes. */
class AttributeReading {
  readonly #asking: AttributeAsking;

  constructor(asking: AttributeAsking) {
    this.#asking = asking;
  }

  read(requests: readonly AttributeRequest[]): Awaitable<AttributeReplies> {
    const rows = requests.map(firstRow);
    return after(
      () => this.#asking.ask(rows),
      (first) => {
        const open = unclear(rows, requests, first);
        if (open.length === 0) return this.#fetch(requests, first, [first.rv]);
        return after(
          () => this.#asking.ask(open.map((i) => ({ type: rows[i]!.type, room: null }))),
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
    const nested = wanted.filter((i) => attributeKind(requests[i]!.type) === "template");
    const templates = this.#asking.canNest ? nested : [];
    const plain = wanted.filter((i) => !nested.includes(i));
    const rows = plain.map((i) => ({ type: requests[i]!.type, room: known.answers[i]!.length! }));
    return after(
      () => (rows.length === 0 ? { rv: OK, answers: [] } : this.#asking.ask(rows)),
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
      () => this.#template(requests[i]!.type, Math.floor(length / ATTRIBUTE_SIZE)),
      (value) => this.#fetchTemplates(requests, merge(known, [i], [{ length, value }]), others, rvs),
    );
  }

  /** The elements of a template attribute: their types and lengths first, then their values. */
  #template(type: number, count: number): Awaitable<readonly Attribute[]> {
    if (count === 0) return [];
    const blank = Array.from({ length: count }, (): Row => ({ type: 0, room: null }));
    return after(
      () => this.#asking.askNested(type, blank),
      (rows) =>
        after(
          () => this.#asking.askNested(type, rows),
          (elements) => elements.flatMap(({ type: of, value }) => (value === undefined ? [] : [{ type: of, value }])),
        ),
    );
  }
}

/** The answer of C_GetAttributeValue, by asking as often as needed. */
export function readAttributes(
  requests: readonly AttributeRequest[],
  asking: AttributeAsking,
): Awaitable<AttributeReplies> {
  return new AttributeReading(asking).read(requests);
}

/**
 * How many bytes are offered for a value whose length nobody knows yet. Only what is larger costs another call: a
 * certificate chain, a post-quantum key.
 */
const FIRST_ROOM: Readonly<Record<ValueKind, number>> = {
  bool: ULONG, // some modules give a CK_BBOOL as a CK_ULONG
  ulong: ULONG,
  class: ULONG,
  keyType: ULONG,
  certificateType: ULONG,
  mechanism: ULONG,
  hardwareFeature: ULONG,
  profile: ULONG,
  text: 256,
  bytes: 2048,
  bigint: 1024,
  der: 1024,
  date: 8,
  version: 2,
  template: 0,
  mechanisms: 64 * ULONG,
  ulongs: 64 * ULONG,
};

/** How many bytes to offer for a first try at this attribute. */
function firstRoom(type: number): number {
  return FIRST_ROOM[attributeKind(type)];
}

/** Whether a value of this kind always has the same length, so that a first try cannot have been too small. */
function hasFixedSize(type: number): boolean {
  const room = firstRoom(type);
  return room > 0 && room <= ULONG;
}

function firstRow({ type, room }: AttributeRequest): Row {
  if (room === null || attributeKind(type) === "template") return { type, room: null };
  return { type, room: room ?? firstRoom(type) };
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
