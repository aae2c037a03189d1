/**
 * Wrapping a key under a PIN with scrypt (RFC 7914) and AES-256-GCM.
 * @module
 */
import { randomBytes, scrypt } from "node:crypto";
import { concat, Reader, Writer } from "../codec/bytes.ts";
import { openEnvelope, sealEnvelope } from "./envelope.ts";

/** log2 of scrypt's N: the bounds and the default. The block size r is 8 and the parallelism p is 1. */
export const SCRYPT_COST = { least: 10, most: 20, default: 16 } as const;

const BLOCK_SIZE = 8;
const SALT_LENGTH = 16;
const FORMAT = 1;

/** At most two at a time: each takes 128·N·r bytes, 64 MiB at the default cost. */
const MOST_AT_ONCE = 2;
let running = 0;
const waiting: (() => void)[] = [];

async function turn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= MOST_AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }
}

function stretch(pin: Uint8Array, salt: Uint8Array, cost: number): Promise<Buffer> {
  const options = { N: 2 ** cost, r: BLOCK_SIZE, p: 1, maxmem: 2 ** cost * BLOCK_SIZE * 128 + (1 << 20) };
  return turn(
    () =>
      new Promise((resolve, reject) => {
        scrypt(pin, salt, 32, options, (error, key) => (error === null ? resolve(key) : reject(error)));
      }),
  );
}

/**
 * Wraps a secret under a PIN.
 * @param cost log2 of N, 10 to 20
 * @param context what the wrap belongs to; opening it with another context fails
 * @returns format (1 byte), cost (1), salt (16), envelope
 */
export async function wrapUnderPin(
  pin: Uint8Array,
  secret: Uint8Array,
  cost: number,
  context: Uint8Array,
): Promise<Uint8Array> {
  if (!Number.isInteger(cost) || cost < SCRYPT_COST.least || cost > SCRYPT_COST.most) {
    throw new RangeError(`scrypt cost ${cost}: give ${SCRYPT_COST.least} to ${SCRYPT_COST.most}`);
  }
  const head = new Writer().u8(FORMAT).u8(cost).bytes(randomBytes(SALT_LENGTH)).finish();
  const key = await stretch(pin, head.subarray(2), cost);
  try {
    return concat(head, sealEnvelope(key, secret, concat(head, context)));
  } finally {
    key.fill(0);
  }
}

/**
 * Opens what {@link wrapUnderPin} made.
 * @returns the secret; undefined if the PIN is wrong or the wrap was changed
 * @throws CodecError if it is not a wrap at all
 */
export async function unwrapUnderPin(
  pin: Uint8Array,
  wrap: Uint8Array,
  context: Uint8Array,
): Promise<Uint8Array | undefined> {
  const r = new Reader(wrap, "PIN wrap");
  if (r.u8() !== FORMAT) r.fail("unknown format", 0);
  const cost = r.u8();
  if (cost < SCRYPT_COST.least || cost > SCRYPT_COST.most) r.fail(`scrypt cost ${cost} is out of bounds`, 1);
  const salt = r.take(SALT_LENGTH);
  const envelope = r.take(r.left);
  const key = await stretch(pin, salt, cost);
  try {
    return openEnvelope(key, envelope, concat(wrap.subarray(0, 2 + SALT_LENGTH), context));
  } finally {
    key.fill(0);
  }
}

/** The scrypt cost that a wrap was made with, as log2 of N. */
export function wrapCost(wrap: Uint8Array): number {
  return wrap[1] ?? 0;
}
