/**
 * The audit log of a process: one file, one writer, one chain. Threads send their entries to the one that keeps it.
 * @module
 */
import { closeSync, constants, fsync, ftruncateSync, renameSync, writeSync } from "node:fs";
import { basename, dirname } from "node:path";
import { promisify } from "node:util";
import type { Awaitable } from "../../cryptoki/port.ts";
import { explainSystem, HostError } from "../../host/errors.ts";
import { makePrivateFolder, openOwnFile, syncFolder } from "../../host/files.ts";
import { holdLock } from "../../host/locks.ts";
import {
  AUDIT_FORMAT,
  type AuditEntry,
  type CheckpointLine,
  encodeLine,
  hashOf,
  type Link,
  type StartLine,
  signedText,
} from "./lines.ts";
import { damagedName, LONGEST_LINE, positionAfter, readTail, rotatedName } from "./tail.ts";

const sync = promisify(fsync);

/** What signs checkpoints: a key in a token. */
export interface CheckpointSigner {
  /** Its URI. */
  readonly key: string;
  /** Undefined where the key has none to choose. */
  readonly digest: string | undefined;
  readonly pss: boolean;
  sign(data: Uint8Array): Promise<Uint8Array>;
}

/** A checkpoint, for a witness outside. */
export interface Witnessed {
  readonly log: string;
  readonly n: number;
  /** SHA-256 of line n. */
  readonly hash: string;
}

export interface AuditLogOptions {
  readonly path: string;
  /** How many entries at most between two checkpoints; 1000 by default. */
  readonly checkpointEvery?: number;
  /** A file that is larger is put aside, in bytes; 64 MiB by default. */
  readonly maxBytes?: number;
  /** When the disk has to have it: after each entry, at each checkpoint (the default), or when the system likes. */
  readonly sync?: "each" | "checkpoint" | "never";
  readonly signer?: CheckpointSigner | undefined;
  /** Told each checkpoint once it is written. */
  readonly witness?: (checkpoint: Witnessed) => Awaitable<void>;
  /** Told what the operator should know: a checkpoint that could not be signed, a file that was damaged. */
  readonly tell?: (message: string) => void;
  readonly now?: () => Date;
}

interface Waiting {
  readonly entry: AuditEntry;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #release: () => void;
  #fd: number;
  #size: number;
  #log = "";
  #n = 1;
  #prev = "";
  /** The number of the file's first line. */
  #first = 1;
  #sinceCheckpoint = 0;
  #isClosed = false;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  private constructor(options: AuditLogOptions, fd: number, release: () => void) {
    this.#options = options;
    this.#fd = fd;
    this.#size = 0;
    this.#release = release;
  }

  /**
   * Opens a log, or begins one. The chain goes on after the last whole line; what a crash left is told in it.
   * @throws HostError when it cannot be written, or another process writes it
   */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    const { path } = options;
    makePrivateFolder(dirname(path));
    const lock = { folder: dirname(path), purpose: "writing this audit log", waitMs: 0 };
    const release = await holdLock(basename(path), lock);
    let log: AuditLog | undefined;
    try {
      log = new AuditLog(options, open(path), release);
      log.#goOn();
      return log;
    } catch (error) {
      if (log !== undefined) closeSync(log.#fd);
      release();
      if (error instanceof HostError) throw error;
      throw new HostError(`cannot open the audit log ${path}: ${explainSystem(error)}`, { cause: error });
    }
  }

  /** Writes an entry; resolves when it is in the file, and with `sync: "each"` on the disk. @throws HostError */
  append(entry: AuditEntry): Promise<void> {
    if (this.#isClosed) return Promise.reject(new HostError(`the audit log ${this.#options.path} is closed`));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  /** Ends with a checkpoint, where there are entries after the last. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    while (this.#writing !== undefined) await this.#writing;
    try {
      if (this.#sinceCheckpoint > 0) await this.#checkpoint();
      await sync(this.#fd);
    } finally {
      closeSync(this.#fd);
      this.#release();
    }
  }

  /** Takes up what the file has, and says so in its next line. */
  #goOn(): void {
    const { path, tell } = this.#options;
    const tail = readTail(this.#fd);
    const { log, n, prev, after } = positionAfter(path, tail);
    this.#log = log;
    this.#n = n;
    this.#prev = prev;
    this.#first = n;
    let damaged: string | undefined;
    if (tail.isDamaged) {
      damaged = damagedName(path, this.#now());
      renameSync(path, damaged);
      this.#reopen();
      tell?.(`${path} did not end with lines of a log; it is now ${damaged}, and the log goes on after line ${n - 1}`);
    } else {
      if (tail.torn !== undefined) {
        ftruncateSync(this.#fd, tail.whole);
        tell?.(`${path} ended within a line; its ${tail.torn.bytes} bytes were cut off, and the log says so`);
      }
      this.#size = tail.whole;
      if (tail.last !== undefined) this.#first = tail.first?.n ?? n;
    }
    this.#start({
      ...(after === undefined ? {} : { after }),
      ...(tail.torn === undefined ? {} : { torn: tail.torn }),
      ...(damaged === undefined ? {} : { damaged: basename(damaged), after: basename(damaged) }),
    });
  }

  #start(more: Partial<StartLine>): void {
    this.#put({ type: "start", format: AUDIT_FORMAT, log: this.#log, pid: process.pid, ...more });
  }

  async #write(): Promise<void> {
    // Whoever appends at the same time shares one wait for the disk.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const written: Waiting[] = [];
      for (const one of batch) {
        try {
          this.#put(one.entry);
          this.#sinceCheckpoint += 1;
          if (this.#sinceCheckpoint >= (this.#options.checkpointEvery ?? 1000)) await this.#checkpoint();
          if (this.#size >= (this.#options.maxBytes ?? 64 * 1024 * 1024)) await this.#rotate();
          written.push(one);
        } catch (error) {
          one.reject(this.#unwritten(error));
        }
      }
      try {
        if (this.#options.sync === "each") await sync(this.#fd);
        for (const { resolve } of written) resolve();
      } catch (error) {
        for (const { reject } of written) reject(this.#unwritten(error));
      }
    }
    // At once: whoever appends next has to begin anew.
    this.#writing = undefined;
  }

  async #checkpoint(): Promise<void> {
    const { signer, witness, tell, path } = this.#options;
    const plain: Link & CheckpointLine = {
      ...this.#link(),
      type: "checkpoint",
      log: this.#log,
      ...(signer === undefined ? {} : { key: signer.key, pss: signer.pss }),
      ...(signer?.digest === undefined ? {} : { digest: signer.digest }),
    };
    let line = plain;
    if (signer !== undefined) {
      try {
        const signature = await signer.sign(Buffer.from(signedText(plain)));
        line = { ...plain, signature: Buffer.from(signature).toString("base64") };
      } catch (error) {
        const failed = error instanceof Error ? error.message : String(error);
        line = { ...plain, failed };
        tell?.(`checkpoint ${plain.n} of ${path} is not signed: ${failed}`);
      }
    }
    this.#putLine(line);
    this.#sinceCheckpoint = 0;
    if (this.#options.sync !== "never") await sync(this.#fd);
    try {
      await witness?.({ log: this.#log, n: plain.n, hash: this.#prev });
    } catch (error) {
      tell?.(`checkpoint ${plain.n} of ${path} has no witness: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Puts the file aside, ended by a checkpoint, and goes on in a new one. */
  async #rotate(): Promise<void> {
    const { path } = this.#options;
    if (this.#sinceCheckpoint > 0) await this.#checkpoint();
    await sync(this.#fd);
    const aside = rotatedName(path, this.#first);
    renameSync(path, aside);
    try {
      this.#reopen();
    } catch (error) {
      renameSync(aside, path);
      throw error;
    }
    this.#first = this.#n;
    this.#start({ after: basename(aside) });
    await syncFolder(dirname(path));
  }

  /** A new file in the place of the one that was put aside. */
  #reopen(): void {
    const fd = open(this.#options.path);
    closeSync(this.#fd);
    this.#fd = fd;
    this.#size = 0;
  }

  #link(): Link {
    return { n: this.#n, prev: this.#prev, time: this.#now().toISOString() };
  }

  #put(body: AuditEntry | StartLine): void {
    this.#putLine({ ...this.#link(), ...body });
  }

  /** Writes a line whole, or leaves the file as it was. */
  #putLine(line: object): void {
    const text = encodeLine(line);
    if (text.length >= LONGEST_LINE) throw new HostError(`a line of ${text.length} bytes does not belong in a log`);
    const bytes = Buffer.from(`${text}\n`);
    try {
      let at = 0;
      while (at < bytes.length) at += writeSync(this.#fd, bytes, at, bytes.length - at, this.#size + at);
    } catch (error) {
      ftruncateSync(this.#fd, this.#size);
      throw error;
    }
    this.#size += bytes.length;
    this.#n += 1;
    this.#prev = hashOf(text);
  }

  #unwritten(error: unknown): HostError {
    if (error instanceof HostError) return error;
    return new HostError(`cannot write the audit log ${this.#options.path}: ${explainSystem(error)}`, { cause: error });
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date();
  }
}

/**
 * A log that others can read or write is refused, and not closed to them in silence: whoever opened it to a collector has
 * to know that the next file, after rotation, will not be.
 */
function open(path: string): number {
  const { fd, mode = 0 } = openOwnFile(path, constants.O_RDWR);
  if ((mode & 0o077) === 0) return fd;
  closeSync(fd);
  throw new HostError(`the audit log ${path}: found mode ${mode.toString(8)}, expected 600`, {
    hints: [`chmod 600 ${path}, after a look at who wrote it: keywright audit verify`],
  });
}
