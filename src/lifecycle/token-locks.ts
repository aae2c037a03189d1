/**
 * Locks on tokens: every command that changes one takes it, so that two of one user never work on the same token at once,
 * whatever their state folders are.
 * @module
 */
import { createHash } from "node:crypto";
import { HostError } from "../host/errors.ts";
import { makePrivateFolder, requireOwnFolder, requireWritableFolder } from "../host/files.ts";
import { lockFolders } from "../host/folders.ts";
import { withLocks } from "../host/locks.ts";

export interface TokenLockOptions {
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
 * @throws HostError naming the holder when a lock stays taken, or when there is no place for locks
 */
export async function withTokenLocks<T>(
  tokens: readonly string[],
  { purpose, onWait }: TokenLockOptions,
  use: () => Promise<T>,
): Promise<T> {
  const names = tokens.map((token) => `token-${createHash("sha256").update(token).digest("hex").slice(0, 16)}`);
  return withLocks(names, { folder: ownFolder(), purpose, ...(onWait === undefined ? {} : { onWait }) }, use);
}

function ownFolder(): string {
  let first: HostError | undefined;
  for (const folder of lockFolders()) {
    try {
      makePrivateFolder(folder);
      requireWritableFolder(folder);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      first ??= error;
      continue;
    }
    requireOwnFolder(folder, "name another folder in KEYWRIGHT_LOCKS");
    return folder;
  }
  throw new HostError(`no place for the locks on tokens: ${first?.message}`, {
    cause: first,
    hints: ["name a folder in KEYWRIGHT_LOCKS, one and the same in every run that works on the token"],
  });
}
