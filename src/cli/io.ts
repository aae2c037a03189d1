/**
 * The command's only way to the outside: what it prints, and whom it asks.
 *
 * Results go to standard output, everything else to standard error. Messages are in lower case without a full stop.
 * @module
 */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { ReadStream } from "node:tty";

/** How a value is shown to people; programs get the value itself. */
export interface View<T> {
  /** Names the JSON: `keywright/key-list/1`. */
  readonly schema: string;
  human(value: T, style: Style): string;
}

/** Marks in a text; plain where the output is no terminal. */
export interface Style {
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

  constructor(options: IoOptions) {
    this.#options = options;
  }

  /** Whether a person can be asked. */
  get interactive(): boolean {
    return process.stdin.isTTY === true && process.stderr.isTTY === true;
  }

  get style(): Style {
    return styleFor(process.stdout.isTTY === true);
  }

  /** Prints a result, for people or as JSON from the same value. */
  show<T extends object>(view: View<T>, value: T): void {
    if (this.#options.json) this.out(JSON.stringify({ schema: view.schema, ...value }, undefined, 2));
    else {
      const text = view.human(value, this.style);
      if (text !== "") this.out(text);
    }
  }

  /** Prints a line of the result. */
  out(line: string): void {
    process.stdout.write(`${line}\n`);
  }

  /** Prints bytes of the result; refuses to put them on a terminal. */
  outBytes(bytes: Uint8Array): void {
    process.stdout.write(bytes);
  }

  get outputIsTerminal(): boolean {
    return process.stdout.isTTY === true;
  }

  /** Tells something on standard error. */
  tell(line: string): void {
    process.stderr.write(`${line}\n`);
  }

  warn(message: string): void {
    this.tell(`keywright: warning: ${message}`);
  }

  debug(message: string): void {
    if (this.#options.debug) this.tell(`keywright: debug: ${message}`);
  }

  /** Asks for `yes`; anything else is no. */
  async confirm(question: string): Promise<boolean> {
    const reader = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return (await reader.question(`${question} Only "yes" goes on: `)).trim() === "yes";
    } finally {
      reader.close();
    }
  }

  /** Asks for a PIN on the terminal, without echo. The caller wipes the answer. */
  async askPin(question: string): Promise<Uint8Array> {
    const fd = openSync("/dev/tty", "r+");
    const tty = new ReadStream(openSync("/dev/tty", "r"));
    const buffer = Buffer.alloc(1024);
    let length = 0;
    try {
      writeSync(fd, `${question}: `);
      tty.setRawMode(true);
      for (;;) {
        const read = readSync(fd, buffer, length, 1, null);
        const byte = buffer[length];
        if (read === 0 || byte === 0x0a || byte === 0x0d || length === buffer.length - 1) break;
        if (byte === 0x03) throw new Error("interrupted");
        if (byte === 0x7f || byte === 0x08) length = Math.max(0, length - 1);
        else length += 1;
      }
      return Uint8Array.from(buffer.subarray(0, length));
    } finally {
      buffer.fill(0);
      tty.setRawMode(false);
      tty.destroy();
      writeSync(fd, "\n");
      closeSync(fd);
    }
  }
}

function styleFor(terminal: boolean): Style {
  const on = terminal && !process.env.NO_COLOR && process.env.TERM !== "dumb";
  const mark = (from: number, to: number) => (text: string) => (on ? `\u001b[${from}m${text}\u001b[${to}m` : text);
  return { bold: mark(1, 22), dim: mark(2, 22), red: mark(31, 39), green: mark(32, 39), yellow: mark(33, 39) };
}
