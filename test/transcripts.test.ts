/** Every transcript in test/transcripts: what a person types, and what comes back. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { mismatch, readTranscript, TranscriptFolder } from "./support/transcript.ts";

const folder = join(import.meta.dirname, "transcripts");
const names = readdirSync(folder).filter((name) => name.endsWith(".txt"));

describe("the command", () => {
  test.each(names)("%s", (name) => {
    const transcript = readTranscript(join(folder, name));
    expect(transcript.exchanges.length).toBeGreaterThan(0);
    const session = new TranscriptFolder(transcript.files);
    onTestFinished(() => session.remove());
    for (const { line, command, out, err, code } of transcript.exchanges) {
      const got = session.run(command);
      const at = `${name}:${line}: $ ${command}`;
      const shown = `${got.out}${got.err.replace(/^/gm, "! ")}`;
      expect(got.code, `${at}\n${shown}`).toBe(code);
      const expectedOut = mismatch(got.out, out);
      if (expectedOut !== undefined) expect(got.out, at).toBe(expectedOut);
      const expectedErr = mismatch(got.err, err);
      if (expectedErr !== undefined) expect(got.err, at).toBe(expectedErr);
    }
  });
});
