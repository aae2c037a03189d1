/**
 * The error of this room.
 * @module
 */

/** This machine refused: a file, a folder, a lock, a child process. */
export class HostError extends Error {
  readonly code = "ERR_HOST";
  readonly hints: readonly string[];

  constructor(message: string, options: { cause?: unknown; hints?: readonly string[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HostError";
    this.hints = options.hints ?? [];
  }
}

/** The system's code of an error, such as `ENOENT`; undefined if it has none. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

const EXPLAINED: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file would become larger than it may (ulimit -f, or the file system's limit)",
  EIO: "the disk failed",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is not a folder",
};

/** What a system error means, for people: `"the disk is full (ENOSPC)"`. */
export function explainSystem(error: unknown): string {
  const code = systemCode(error);
  const said = code === undefined ? undefined : EXPLAINED[code];
  if (said !== undefined) return `${said} (${code})`;
  return error instanceof Error ? error.message : String(error);
}
