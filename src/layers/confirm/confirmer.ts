/**
 * Asking a person whether a key may be used. One for all connections: it remembers answers, and asks one question at a time.
 * @module
 */
import type { Operation } from "../../spec/operations.ts";
import { type Client, clientText } from "../client.ts";
import type { KeyName } from "../facts.ts";

/** What a person is asked. */
export interface Question {
  readonly client: Client;
  readonly key: KeyName;
  readonly operation: Operation;
  /** Such as `CKM_ECDSA`; absent where none is used. */
  readonly mechanism?: string;
}

/** Asks; anything but true is no. */
export type Ask = (question: Question) => Promise<boolean>;

export interface ConfirmerOptions {
  readonly ask: Ask;
  /** How long a yes holds for the same client, key and operation, in ms; 0, the default, is for this use alone. */
  readonly rememberMs?: number;
  /** In ms, never going back; the process's own by default. */
  readonly clock?: () => number;
}

export class Confirmer {
  readonly #options: ConfirmerOptions;
  readonly #yes = new Map<string, number>();
  readonly #asked = new Map<string, Promise<boolean>>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ConfirmerOptions) {
    this.#options = options;
  }

  /** Whether a yes to this question still holds. */
  isRemembered(question: Question, connection: string): boolean {
    const until = this.#yes.get(nameOf(question, connection));
    return until !== undefined && this.#now() < until;
  }

  /**
   * Asks, unless the same question is being asked: then both have its answer.
   * @param connection tells clients apart of whom nothing is known
   */
  confirm(question: Question, connection: string): Promise<boolean> {
    const name = nameOf(question, connection);
    const asked = this.#asked.get(name);
    if (asked !== undefined) return asked;
    // A person is asked one thing at a time.
    const answer = this.#last.then(() => this.#options.ask(question)).then((yes) => this.#answered(name, yes === true));
    this.#asked.set(name, answer);
    this.#last = answer.catch(() => undefined);
    return answer.finally(() => this.#asked.delete(name));
  }

  #answered(name: string, yes: boolean): boolean {
    const { rememberMs = 0 } = this.#options;
    const now = this.#now();
    for (const [other, until] of this.#yes) if (until <= now) this.#yes.delete(other);
    if (yes && rememberMs > 0) this.#yes.set(name, now + rememberMs);
    return yes;
  }

  #now(): number {
    return this.#options.clock?.() ?? performance.now();
  }
}

/** The same for the same question; a client of whom nothing is known is its connection. */
function nameOf({ client, key, operation }: Question, connection: string): string {
  const { pid, uid, program } = client;
  const who = pid === undefined ? connection : "";
  return JSON.stringify([who, pid, uid, program, key.uri, operation]);
}

/** A question in words: `uid 1000, /usr/bin/ssh (pid 4711) wants to sign with the key "www" (id 01)`. */
export function questionText({ client, key, operation, mechanism }: Question): string {
  const how = mechanism === undefined ? "" : `, ${mechanism}`;
  const id = key.id === "" ? "" : ` (id ${key.id})`;
  return `${clientText(client)} wants to ${operation}: the key ${JSON.stringify(key.label)}${id}${how}`;
}
