/**
 * Fields of a file that people write: each is read from YAML with its place, and described in JSON Schema, from one definition.
 * @module
 */
import { type Document, isAlias, isMap, isScalar, isSeq, type LineCounter, type Node } from "yaml";
import { nearest } from "./nearest.ts";

/** One fault, where it is. */
export interface Fault {
  readonly file: string;
  /** Counted from 1; 0 where there is no place. */
  readonly line: number;
  readonly column: number;
  /** Such as `keys.www.certificate.validity`. */
  readonly path: string;
  readonly message: string;
  readonly hint?: string;
}

/** What is read from, and where faults go. */
export interface Source {
  readonly file: string;
  /** What it is, for messages: `a declaration`. */
  readonly what: string;
  readonly document: Document;
  readonly lines: LineCounter;
  readonly faults: Fault[];
  /** Nodes read so far: an alias can repeat a large part many times over. */
  visited: number;
}

const MOST_NODES = 200_000;

/** A place in the document. */
export class Cursor {
  readonly source: Source;
  readonly node: Node | null;
  readonly path: string;

  constructor(source: Source, node: unknown, path: string) {
    this.source = source;
    let target = (node ?? null) as Node | null;
    if (isAlias(target)) target = target.resolve(source.document) ?? null;
    this.node = target;
    this.path = path;
    source.visited += 1;
    if (source.visited > MOST_NODES) throw new RangeError(`${source.what} has no more than ${MOST_NODES} values`);
  }

  child(node: unknown, name: string): Cursor {
    return new Cursor(this.source, node, this.path === "" ? name : `${this.path}.${name}`);
  }

  fail(message: string, hint?: string): undefined {
    const at = this.node?.range?.[0];
    const place = at === undefined ? { line: 0, col: 0 } : this.source.lines.linePos(at);
    this.source.faults.push({
      file: this.source.file,
      line: place.line,
      column: place.col,
      path: this.path,
      message,
      ...(hint === undefined ? {} : { hint }),
    });
    return undefined;
  }

  /** What stands here, for messages. */
  get found(): string {
    if (this.node === null) return "nothing";
    if (isMap(this.node)) return "a mapping";
    if (isSeq(this.node)) return "a list";
    return isScalar(this.node)
      ? JSON.stringify(this.node.value, (_k, v) => (typeof v === "bigint" ? Number(v) : v))
      : "something else";
  }
}

export type JsonSchema = { readonly [key: string]: unknown };

/** How a value is read and described. */
export interface Field<T> {
  /** Made when it is asked for, where it is made of others: reading needs none. */
  readonly schema: JsonSchema;
  /** The value; undefined when it is not one, and the fault is then noted. */
  read(at: Cursor): T | undefined;
}

/** A field that an object has or may have. */
export interface Member<T, R extends boolean> {
  readonly field: Field<T>;
  readonly required: R;
  readonly about: string;
}

/** @param about a sentence for the schema */
export function required<T>(field: Field<T>, about: string): Member<T, true> {
  return { field, required: true, about };
}

export function optional<T>(field: Field<T>, about: string): Member<T, false> {
  return { field, required: false, about };
}

// biome-ignore lint/suspicious/noExplicitAny: members of every type are kept in one record
type Members = Readonly<Record<string, Member<any, boolean>>>;
type ReadMembers<M extends Members> = {
  readonly [K in keyof M as M[K]["required"] extends true ? K : never]: M[K] extends Member<infer T, boolean>
    ? T
    : never;
} & {
  readonly [K in keyof M as M[K]["required"] extends true ? never : K]?: M[K] extends Member<infer T, boolean>
    ? T
    : never;
};

/** A mapping with these members and no others. */
export function object<M extends Members>(what: string, members: M): Field<ReadMembers<M>> {
  const names = Object.keys(members);
  return {
    get schema() {
      return {
        type: "object",
        additionalProperties: false,
        required: names.filter((name) => members[name]!.required),
        properties: Object.fromEntries(
          names.map((name) => [name, { ...members[name]!.field.schema, description: members[name]!.about }]),
        ),
      };
    },
    read(at) {
      if (!isMap(at.node)) return at.fail(`${what} is a mapping, here is ${at.found}`);
      const values: Record<string, unknown> = {};
      const given = new Set<string>();
      let whole = true;
      for (const { key, value } of at.node.items) {
        const name = keyText(key);
        if (name === MERGE_KEY) return failMerge(at.child(key, name));
        const member = Object.hasOwn(members, name) ? members[name] : undefined;
        if (member === undefined) {
          const known = nearest(name, names);
          at.child(key, name).fail(
            `${what} has no field ${JSON.stringify(name)}`,
            known === undefined ? `fields: ${names.join(", ")}` : `did you mean ${known}?`,
          );
          whole = false;
          continue;
        }
        // A field without a value (`hook:`) is as if it were not there.
        if (value === null || (isScalar(value) && value.value === null)) continue;
        given.add(name);
        const read = member.field.read(at.child(value, name));
        if (read === undefined) whole = false;
        else values[name] = read;
      }
      for (const name of names.filter((one) => members[one]!.required && !given.has(one))) {
        at.fail(`${what} lacks ${name}`);
        whole = false;
      }
      return whole ? (values as ReadMembers<M>) : undefined;
    },
  };
}

/** A mapping of names that the writer chooses. */
export function record<T>(what: string, field: Field<T>, name: RegExp, nameRule: string): Field<Record<string, T>> {
  return {
    get schema() {
      return { type: "object", additionalProperties: field.schema, propertyNames: { pattern: name.source } };
    },
    read(at) {
      if (!isMap(at.node)) return at.fail(`${what} is a mapping of names, here is ${at.found}`);
      const values: Record<string, T> = {};
      let whole = true;
      for (const { key, value } of at.node.items) {
        const text = keyText(key);
        if (text === MERGE_KEY) return failMerge(at.child(key, text));
        const place = at.child(value, text);
        if (!name.test(text)) {
          at.child(key, text).fail(`the name ${JSON.stringify(text)} is not ${nameRule}`);
          whole = false;
          continue;
        }
        const read = field.read(place);
        if (read === undefined) whole = false;
        else values[text] = read;
      }
      return whole ? values : undefined;
    },
  };
}

export function list<T>(what: string, field: Field<T>): Field<readonly T[]> {
  return {
    get schema() {
      return { type: "array", items: field.schema };
    },
    read(at) {
      if (!isSeq(at.node)) return at.fail(`${what} is a list, here is ${at.found}`, "a list of one is written [ it ]");
      const values = at.node.items.map((item, i) => field.read(at.child(item, String(i))));
      return values.some((value) => value === undefined) ? undefined : (values as T[]);
    },
  };
}

/** Text; numbers and booleans are not taken for it. @param convert makes the value, or throws what is wrong */
export function text<T = string>(what: string, convert?: (value: string) => T, schema: JsonSchema = {}): Field<T> {
  return {
    schema: { type: "string", ...schema },
    read(at) {
      if (!isScalar(at.node) || typeof at.node.value !== "string") {
        return at.fail(`${what} is text, here is ${at.found}`, isScalar(at.node) ? "put it in quotes" : undefined);
      }
      return attempt(at, () =>
        convert === undefined
          ? (at.node as { value: T } & Node).value
          : convert((at.node as unknown as { value: string }).value),
      );
    },
  };
}

/** Any scalar, with its source text, for values whose spelling matters. */
export function scalar<T>(schema: JsonSchema, convert: (value: unknown, source: string) => T): Field<T> {
  return {
    schema,
    read(at) {
      if (!isScalar(at.node)) return at.fail(`a single value is expected, here is ${at.found}`);
      const { value, source } = at.node;
      return attempt(at, () => convert(value, source ?? String(value)));
    },
  };
}

export function integer(what: string, least: number, most: number): Field<number> {
  return {
    schema: { type: "integer", minimum: least, maximum: most },
    read(at) {
      const value = isScalar(at.node) ? at.node.value : undefined;
      const number = typeof value === "bigint" ? Number(value) : Number.NaN;
      if (!Number.isSafeInteger(number) || number < least || number > most) {
        return at.fail(`${what} is a whole number from ${least} to ${most}, here is ${at.found}`);
      }
      return number;
    },
  };
}

export function flag(what: string): Field<boolean> {
  return {
    schema: { type: "boolean" },
    read(at) {
      const value = isScalar(at.node) ? at.node.value : undefined;
      return typeof value === "boolean" ? value : at.fail(`${what} is true or false, here is ${at.found}`);
    },
  };
}

export function oneOf<T extends string>(what: string, ...choices: readonly T[]): Field<T> {
  return {
    schema: { enum: choices },
    read(at) {
      const value = isScalar(at.node) ? at.node.value : undefined;
      if (choices.includes(value as T)) return value as T;
      const near = typeof value === "string" ? nearest(value, choices) : undefined;
      return at.fail(
        `${what} is one of ${choices.join(", ")}, here is ${at.found}`,
        near === undefined ? undefined : `did you mean ${near}?`,
      );
    },
  };
}

/**
 * One of several forms, chosen by what stands there.
 * @param isSecret whether what stands there may be a secret, which no message repeats
 */
export function either<T>(
  schema: () => JsonSchema,
  choose: (at: Cursor) => Field<T> | undefined,
  expected: string,
  isSecret = false,
): Field<T> {
  return {
    get schema() {
      return schema();
    },
    read(at) {
      const field = choose(at);
      return field === undefined ? at.fail(isSecret ? expected : `${expected}, here is ${at.found}`) : field.read(at);
    },
  };
}

function attempt<T>(at: Cursor, make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    const { message, hints } = error as { message: string; hints?: readonly string[] };
    return at.fail(message, hints?.[0]);
  }
}

const MERGE_KEY = "<<";

function failMerge(at: Cursor): undefined {
  return at.fail(
    "merge keys (<<) are not supported: YAML 1.2 has none",
    "write the fields out, or alias a whole value",
  );
}

function keyText(key: unknown): string {
  if (!isScalar(key)) return String(key);
  // The library's value of a merge key, where the text asks for YAML 1.1, is a symbol.
  return typeof key.value === "symbol" ? MERGE_KEY : String(key.value);
}
