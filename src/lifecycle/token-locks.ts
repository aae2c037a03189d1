/**
 * Locks on tokens: every command that changes one takes it, so that two never work on the same token at once.
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { withLocks } from "../host/locks.ts";

export interface TokenLockOptions {
  /** The state folder; the locks are in it. */
  readonly state: string;
  /** What is being done, for whoever waits. */
  readonly purpose: string;
  /** Told once when another process holds a token. */
  readonly onWait?: (holder: string) => void;
}

/** Held by whoever makes a token, until it has its PINs: which one is blank is not known by name. */
export const MAKING_TOKENS = "making tokens";

/**
 * Runs `use` while holding the locks of tokens. Never while a person is asked.
 * @param tokens their URIs, so that it does not matter how they were named; of one that is to be made, what it will be
 * @throws HostError naming the holder when a lock stays taken
 */
export function withTokenLocks<T>(
  tokens: readonly string[],
  { state, purpose, onWait }: TokenLockOptions,
  use: () => Promise<T>,
): Promise<T> {
  const names = tokens.map((token) => `token-${createHash("sha256").update(token).digest("hex").slice(0, 16)}`);
  return withLocks(names, { folder: join(state, "locks"), purpose, ...(onWait === undefined ? {} : { onWait }) }, use);
}
