/**
 * The command's only way to the outside: what it prints, and whom it asks.
 *
 * Results go to standard output, everything else to standard error. Messages are in lower case without a full stop.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { explainSystem, HostError, systemCode } from "../host/errors.ts";
import { readHidden } from "./terminal.ts";
import { shortened, visible, visibleLines } from "./words.ts";

/** How a value is shown to people; programs get the value itself. */
export interface View<T> {
  /** Names the JSON: `keywright/key-list/1`. */
  readonly schema: string;
  human(value: T, style: Style): string;
}

/** Marks in a text; plain where the output is no terminal. */
export interface Style {
  /** What goes into a column of a table: whole for programs, cut where a terminal would wrap every line for it. */
  cell(text: string): string;
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
}

export interface IoOptions {
  readonly json: boolean;
  readonly debug: boolean;
}

export class Io {
  readonly #options: IoOptions;
  readonly #results = new Output(() => process.stdout);
  readonly #messages = new Output(() => process.stderr);
  #asking = 0;
  #isEnding = false;
  #whenInterrupted: string | undefined;

  constructor(options: IoOptions) {
    this.#options = options;
  }

  /** Whether a person can be asked. */
  get interactive(): boolean {
    return process.stdin.isTTY === true && process.stderr.isTTY === true;
  }

  /** Whether a person is being asked at this moment: what is told then would stand in the question. */
  get isAsking(): boolean {
    return this.#asking > 0;
  }

  get style(): Style {
    return styleFor(process.stdout.isTTY === true);
  }

  /** Prints a result, for people or as JSON from the same value. */
  show<T extends object>(view: View<T>, value: T): void {
    if (this.#options.json) this.out(visibleLines(JSON.stringify({ schema: view.schema, ...value }, undefined, 2)));
    else {
      const text = view.human(value, this.style);
      if (text !== "") this.out(visibleLines(text));
    }
  }

  /** Prints a line of the result. */
  out(line: string): void {
    this.outBytes(`${line}\n`);
  }

  /** Prints bytes of the result. Whoever calls it has looked whether the output is a terminal. */
  outBytes(bytes: Uint8Array | string): void {
    if (!this.#isEnding) this.#results.write(bytes);
  }

  /**
   * Waits until all of the result has been taken: a pipe holds 64 KiB, and its reader may be slow. One that has gone has
   * read what it wanted.
   * @throws HostError when it could not be written
   */
  async written(): Promise<void> {
    const fault = await this.#results.written();
    if (fault !== undefined)
      throw new HostError(`cannot write to standard output: ${explainSystem(fault)}`, {
        cause: fault,
        hints: ["the command did its work; its result was lost, in whole or in part"],
      });
  }

  /** Waits until all that was printed has been taken, as far as it can be. */
  async told(): Promise<void> {
    await Promise.all([this.#results.written(), this.#messages.written()]);
  }

  get outputIsTerminal(): boolean {
    return process.stdout.isTTY === true;
  }

  /** Tells something on standard error. */
  tell(line: string): void {
    if (!this.#isEnding) this.#messages.write(`${visibleLines(line)}\n`);
  }

  /** Tells something that has to be told even while a signal ends the command. */
  tellLast(line: string): void {
    this.#messages.write(`${visibleLines(line)}\n`);
  }

  /** Says what to tell if a signal ends the command from now on; undefined where there is nothing to tell any more. */
  onInterrupt(told: string | undefined): void {
    this.#whenInterrupted = told;
  }

  /** A signal ends the command: what fails from now on fails because of that, and nothing more is printed. */
  interrupt(): void {
    if (this.#whenInterrupted !== undefined) this.tell(`keywright: interrupted: ${this.#whenInterrupted}`);
    this.#isEnding = true;
  }

  warn(message: string): void {
    this.tell(`keywright: warning: ${message}`);
  }

  get isDebugging(): boolean {
    return this.#options.debug;
  }

  debug(message: string): void {
    if (this.#options.debug) this.tell(`keywright: debug: ${message}`);
  }

  /** Asks for `yes`; anything else is no, and so is the end of the input (Ctrl-D). */
  async confirm(question: string): Promise<boolean> {
    // Imported here: it costs every command 2 ms, and few ask.
    const { createInterface } = await import("node:readline/promises");
    const reader = createInterface({ input: process.stdin, output: process.stderr });
    // The line editor takes Ctrl-C for itself.
    reader.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
    const ended = new AbortController();
    reader.on("close", () => ended.abort());
    try {
      const asked = `${visibleLines(question)} Only "yes" goes on: `;
      return (await reader.question(asked, { signal: ended.signal })).trim() === "yes";
    } catch (error) {
      if (!ended.signal.aborted) throw error;
      this.#messages.write("\n");
      return false;
    } finally {
      reader.close();
    }
  }

  /** Asks for a PIN on the terminal, without echo. The caller wipes the answer. */
  async askPin(question: string): Promise<Uint8Array> {
    this.#asking += 1;
    const answer = await readHidden(visible(question)).finally(() => {
      this.#asking -= 1;
    });
    if (answer !== undefined) return answer;
    process.kill(process.pid, "SIGINT");
    // The signal ends the process; a promise alone would not keep it until then.
    return sleep(60_000, new Uint8Array());
  }
}

/** A standard stream, opened when it is first used. That it cannot be written is found out when all is done. */
class Output {
  readonly #open: () => NodeJS.WriteStream;
  #stream: NodeJS.WriteStream | undefined;
  #last: Promise<void> = Promise.resolve();
  #fault: Error | undefined;

  constructor(open: () => NodeJS.WriteStream) {
    this.#open = open;
  }

  write(bytes: Uint8Array | string): void {
    if (this.#stream === undefined) {
      this.#stream = this.#open();
      // Without it, the first failure would end the process in the midst of what it does.
      this.#stream.on("error", (error: Error) => {
        this.#fault ??= error;
      });
    }
    const stream = this.#stream;
    this.#last = new Promise((resolve) => {
      stream.write(bytes, (error) => {
        if (error) this.#fault ??= error;
        resolve();
      });
    });
  }

  /** Waits for the last write. @returns why one failed, but for want of a reader */
  async written(): Promise<Error | undefined> {
    await this.#last;
    return systemCode(this.#fault) === "EPIPE" ? undefined : this.#fault;
  }
}

const WIDEST_CELL = 40;

function styleFor(terminal: boolean): Style {
  const on = terminal && !process.env.NO_COLOR && process.env.TERM !== "dumb";
  const mark = (from: number, to: number) => (text: string) => (on ? `\u001b[${from}m${text}\u001b[${to}m` : text);
  return {
    cell: (text) => (terminal ? shortened(text, WIDEST_CELL) : text),
    bold: mark(1, 22),
    dim: mark(2, 22),
    red: mark(31, 39),
    green: mark(32, 39),
    yellow: mark(33, 39),
  };
}
