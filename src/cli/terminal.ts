/**
 * The terminal itself, whatever the standard streams are: for what is typed without being shown.
 * @module
 */
import { openSync, writeSync } from "node:fs";
import { ReadStream } from "node:tty";

const MOST = 1024;
const [CTRL_C, CTRL_D, BACKSPACE, NEWLINE, RETURN, DELETE] = [0x03, 0x04, 0x08, 0x0a, 0x0d, 0x7f];

/**
 * Asks for a line without echo. The caller wipes the answer.
 * @returns undefined when it was interrupted (Ctrl-C, which is a byte in raw mode)
 */
export async function readHidden(question: string): Promise<Uint8Array | undefined> {
  const fd = openSync("/dev/tty", "r+");
  const tty = new ReadStream(fd);
  const typed = Buffer.alloc(MOST);
  let length = 0;
  try {
    // First, so that what is typed at once is not shown.
    tty.setRawMode(true);
    writeSync(fd, `${question}: `);
    // Kept open until the mode is set back.
    for await (const chunk of tty.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      for (const byte of chunk) {
        if (byte === CTRL_C) return undefined;
        if (byte === NEWLINE || byte === RETURN || byte === CTRL_D) return Uint8Array.from(typed.subarray(0, length));
        if (byte === DELETE || byte === BACKSPACE) length = withoutLast(typed, length);
        else if (length < MOST) typed[length++] = byte;
      }
      chunk.fill(0);
    }
    return Uint8Array.from(typed.subarray(0, length));
  } finally {
    typed.fill(0);
    tty.setRawMode(false);
    writeSync(fd, "\n");
    tty.destroy();
  }
}

/** The length without the last character, which may be several bytes of UTF-8. */
function withoutLast(buffer: Uint8Array, length: number): number {
  let end = Math.max(0, length - 1);
  while (end > 0 && (buffer[end]! & 0xc0) === 0x80) end -= 1;
  return end;
}
