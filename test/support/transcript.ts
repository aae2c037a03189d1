/**
 * Transcripts: what a person types and sees, as tests.
 *
 * A transcript is a text file. `=== file NAME [MODE]` begins a file of the session's folder; `=== session` begins what is
 * typed. There, a line `$ COMMAND` is run by sh; the lines after it are what it answers: `> …` a line of standard output,
 * `! …` a line of standard error, `? N` the exit code (0 if absent). `…` stands for any text within a line, and alone on
 * a line for any number of lines. Lines with `#` are comments; those before the first section say what is shown.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

export interface Exchange {
  readonly line: number;
  readonly command: string;
  readonly out: string[];
  readonly err: string[];
  code: number;
}

export interface Transcript {
  readonly title: string;
  readonly files: { name: string; mode: number; text: string }[];
  readonly exchanges: Exchange[];
}

export function parseTranscript(text: string): Transcript {
  const transcript: Transcript = { title: "", files: [], exchanges: [] };
  const title: string[] = [];
  let section: "title" | "file" | "session" = "title";
  for (const [i, line] of text.split("\n").entries()) {
    const header = /^=== (?:file (\S+)(?: ([0-7]{3}))?|session)$/.exec(line);
    if (header !== null) {
      section = header[1] === undefined ? "session" : "file";
      if (header[1] !== undefined) {
        transcript.files.push({ name: header[1], mode: Number.parseInt(header[2] ?? "600", 8), text: "" });
      }
    } else if (section === "title") title.push(line.replace(/^# ?/, ""));
    else if (section === "file") transcript.files.at(-1)!.text += `${line}\n`;
    else addSessionLine(transcript.exchanges, line, i + 1);
  }
  return { ...transcript, title: title.join(" ").trim() };
}

function addSessionLine(exchanges: Exchange[], line: string, number: number): void {
  if (line === "" || line.startsWith("#")) return;
  const last = exchanges.at(-1);
  const text = line.slice(2);
  if (line.startsWith("$ ")) exchanges.push({ line: number, command: text, out: [], err: [], code: 0 });
  else if (last === undefined) throw new Error(`line ${number}: nothing was typed before this`);
  else if (line[0] === ">") last.out.push(text);
  else if (line[0] === "!") last.err.push(text);
  else if (line[0] === "?") last.code = Number(text);
  else throw new Error(`line ${number}: begins with none of $ > ! ? #`);
}

const COMMAND = resolve(import.meta.dirname, "../../dist/bin/keywright.js");

/** A folder with the transcript's files, `keywright` in the path, and a state folder of its own. */
export class TranscriptFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), "keywright-"));
  readonly #environment: NodeJS.ProcessEnv;

  constructor(files: Transcript["files"], environment: Record<string, string> = {}) {
    const bin = join(this.path, ".bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "keywright"), `#!/bin/sh\nexec ${process.execPath} ${COMMAND} "$@"\n`, { mode: 0o755 });
    symlinkSync(process.execPath, join(bin, "node"));
    for (const { name, mode, text } of files) {
      const path = join(this.path, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
      chmodSync(path, mode);
    }
    this.#environment = {
      PATH: `${bin}:${process.env.PATH}`,
      HOME: this.path,
      STATE_DIRECTORY: join(this.path, ".state"),
      KEYWRIGHT_LOCKS: join(this.path, ".locks"),
      LANG: "C.UTF-8",
      TZ: "UTC",
      ...environment,
    };
  }

  run(command: string): { out: string; err: string; code: number } {
    const done = spawnSync("sh", ["-c", command], { cwd: this.path, env: this.#environment, encoding: "utf8" });
    return { out: this.#plain(done.stdout), err: this.#plain(done.stderr), code: done.status ?? -1 };
  }

  /** The folder's own path is written `~`, so that transcripts do not depend on it. */
  #plain(text: string): string {
    return text.replaceAll(this.path, "~").replaceAll(encodeURIComponent(this.path), "~");
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Whether a text is what lines with `…` say; undefined if it is, else what was expected. */
export function mismatch(text: string, expected: readonly string[]): string | undefined {
  const lines = text === "" ? [] : text.replace(/\n$/, "").split("\n");
  return linesMatch(lines, expected) ? undefined : expected.join("\n");
}

function linesMatch(lines: readonly string[], expected: readonly string[]): boolean {
  const [first, ...rest] = expected;
  if (first === undefined) return lines.length === 0;
  if (first === "…")
    return Array.from({ length: lines.length + 1 }, (_, n) => n).some((n) => linesMatch(lines.slice(n), rest));
  const pattern = first
    .split("…")
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
    .join(".*");
  return lines[0] !== undefined && new RegExp(`^${pattern}$`).test(lines[0]) && linesMatch(lines.slice(1), rest);
}

export function readTranscript(path: string): Transcript {
  return parseTranscript(readFileSync(path, "utf8"));
}
