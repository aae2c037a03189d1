/**
 * Calls whose output has a length that only the token knows.
 * @module
 */
import type { Awaitable, Output } from "../port.ts";

/** Enough for every signature and wrapped key but those of SLH-DSA and large RSA-wrapped ones. */
const FIRST_ROOM = 2048;

/** Calls with room for `expected` bytes, and once more with what the token says it needs. */
export async function readOutput(
  call: (room: number) => Awaitable<{ output: Output }>,
  expected: number = FIRST_ROOM,
): Promise<Uint8Array> {
  const { output } = await call(expected);
  if ("bytes" in output) return output.bytes;
  const again = (await call(output.needed)).output;
  if ("bytes" in again) return again.bytes;
  throw new RangeError(`the module needs ${again.needed} bytes after it said ${output.needed}`);
}
