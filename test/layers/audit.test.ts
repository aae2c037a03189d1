/** The audit log: its chain, its checkpoints, and what it survives. */
import { generateKeyPairSync, sign, verify } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { UseEntry } from "../../src/layers/audit/lines.ts";
import { AuditLog, type AuditLogOptions, type Witnessed } from "../../src/layers/audit/log.ts";
import { type VerifyOptions, verifyLog } from "../../src/layers/audit/verify.ts";

const ENTRY: UseEntry = {
  type: "use",
  client: { uid: 33 },
  function: "C_Sign",
  keys: [{ as: "sign", label: "w\u202ew\u009b" }],
  result: "CKR_OK",
  ms: 1,
};
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const signer = {
  key: "pkcs11:object=audit",
  digest: "SHA-256",
  pss: false,
  sign: (data: Uint8Array) => Promise.resolve(sign("sha256", data, privateKey)),
};
const holds: VerifyOptions["holds"] = (data, signature) => verify("sha256", data, publicKey, signature);

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "keywright-audit-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function write(path: string, entries: number, options: Partial<AuditLogOptions> = {}): Promise<void> {
  const log = await AuditLog.open({ path, ...options });
  for (let i = 0; i < entries; i += 1) await log.append(ENTRY);
  await log.close();
}

const read = (path: string) => ({ name: path, text: readFileSync(path, "utf8") });
/** The files of a log, oldest first. */
const filesOf = (path: string) =>
  readdirSync(join(path, ".."))
    .filter((name) => name.endsWith(".jsonl"))
    .sort((a, b) => (a === "audit.jsonl" ? 1 : b === "audit.jsonl" ? -1 : a.localeCompare(b)))
    .map((name) => read(join(path, "..", name)));

describe("a log", () => {
  test("is a chain over all its starts, with a checkpoint every so many entries and at the end", async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 5, { checkpointEvery: 2, signer });
    await write(path, 1, { checkpointEvery: 2, signer });
    const types = readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).type as string);
    const use = ["use", "use", "checkpoint"];
    expect(types).toEqual(["start", ...use, ...use, "use", "checkpoint", "start", "use", "checkpoint"]);
    expect(verifyLog([read(path)], { holds })).toMatchObject({
      first: 1,
      last: 12,
      faults: [],
      checkpoints: 4,
      proven: [{ first: 1, last: 12 }],
    });
  });

  test("that others can read or write is refused, and stays as it is; a new one is 0600", async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 1);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const before = readFileSync(path, "utf8");
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(path, mode);
      await expect(AuditLog.open({ path })).rejects.toThrow(`found mode ${mode.toString(8)}, expected 600`);
      expect([readFileSync(path, "utf8"), statSync(path).mode & 0o777]).toEqual([before, mode]);
    }
    chmodSync(path, 0o600);
    await write(path, 1);
    expect(verifyLog([read(path)], { holds }).faults).toEqual([]);
  });

  test.runIf(process.getuid?.() === 0)("of another user is refused", async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 1);
    chownSync(path, 65534, 65534);
    await expect(AuditLog.open({ path })).rejects.toThrow("found owner 65534, expected owner 0");
  });

  test("has nothing in it that a terminal obeys", async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 1);
    expect(readFileSync(path, "utf8")).toMatch(/^[\n -~]*$/);
  });

  test("takes entries that come at once, each whole and in a chain", async () => {
    const path = join(folder(), "audit.jsonl");
    const log = await AuditLog.open({ path, checkpointEvery: 7, signer, sync: "each" });
    await Promise.all(Array.from({ length: 50 }, () => log.append(ENTRY)));
    await log.close();
    const { faults, last } = verifyLog([read(path)], { holds });
    expect([faults, last]).toEqual([[], 1 + 50 + 8]);
  });

  test("is put aside when it is large, ended by a checkpoint, and goes on in another file", async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 20, { maxBytes: 1000, signer });
    const files = filesOf(path);
    expect(files.length).toBeGreaterThan(3);
    expect(files[0]!.name).toMatch(/audit-000000000001\.jsonl$/);
    for (const { text } of files.slice(0, -1))
      expect(JSON.parse(text.trim().split("\n").at(-1)!).type).toBe("checkpoint");
    expect(verifyLog(files, { holds }).faults).toEqual([]);
    expect(verifyLog(files.slice(1), { holds }).notes[0]!.message).toContain("in files that were not given");
    const [first, , ...rest] = files;
    expect(verifyLog([first!, ...rest], { holds }).faults).toHaveLength(1);
  });

  test("whose newest file is missing goes on after the last one that was put aside", async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 20, { maxBytes: 1000, signer });
    rmSync(path);
    await write(path, 1, { signer });
    const { faults, proven, last } = verifyLog(filesOf(path), { holds });
    expect([faults, proven.length]).toEqual([[], 1]);
    expect(proven[0]!.last).toBe(last);
  });

  test("is written by one process at a time", async () => {
    const path = join(folder(), "audit.jsonl");
    const log = await AuditLog.open({ path });
    await expect(AuditLog.open({ path })).rejects.toThrow(
      `stays locked by process ${process.pid}: writing this audit log`,
    );
    await log.close();
    await (await AuditLog.open({ path })).close();
  });

  test("takes nothing after it was closed", async () => {
    const log = await AuditLog.open({ path: join(folder(), "audit.jsonl") });
    await log.close();
    await expect(log.append(ENTRY)).rejects.toThrow("is closed");
    await log.close();
  });

  test("tells a witness each checkpoint, whose lines are proven without any key", async () => {
    const path = join(folder(), "audit.jsonl");
    const told: Witnessed[] = [];
    await write(path, 3, { checkpointEvery: 2, witness: (one) => void told.push(one) });
    expect(told.map(({ n }) => n)).toEqual([4, 6]);
    const { proven, faults } = verifyLog([read(path)], { witnessed: told });
    expect([proven, faults]).toEqual([[{ first: 1, last: 6, by: "a witness" }], []]);
  });

  test("goes on when a checkpoint cannot be signed, and says so", async () => {
    const path = join(folder(), "audit.jsonl");
    const said: string[] = [];
    const broken = { ...signer, sign: () => Promise.reject(new Error("the token was removed")) };
    await write(path, 1, { signer: broken, tell: (message) => said.push(message) });
    expect(said).toEqual([`checkpoint 3 of ${path} is not signed: the token was removed`]);
    const { proven, notes, faults } = verifyLog([read(path)], { holds });
    expect([proven, faults]).toEqual([[], []]);
    expect(notes[0]!.message).toBe("checkpoint 3 could not be signed: the token was removed");
  });
});

describe("after a crash", () => {
  test("within a line, at every byte of it, the log goes on and says what was cut off", async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 2, { signer });
    const whole = readFileSync(path);
    const end = whole.lastIndexOf(0x0a, whole.length - 2) + 1;
    const middle = whole.lastIndexOf(0x0a, end - 2) + 1;
    for (let cut = middle + 1; cut < end; cut += 1) {
      writeFileSync(path, whole.subarray(0, cut));
      await write(path, 1, { signer });
      const { faults, notes, proven, last } = verifyLog([read(path)], { holds });
      expect([cut, faults]).toEqual([cut, []]);
      const bytes = cut - middle;
      expect(notes[0]!.message).toBe(`after a crash ${bytes} bytes of a line that was never whole were cut off here`);
      expect(proven).toMatchObject([{ first: 1, last }]);
    }
  });

  test("in the first line of all, a log begins", async () => {
    const path = join(folder(), "audit.jsonl");
    writeFileSync(path, '{"n":1,"prev":"00', { mode: 0o600 });
    await write(path, 1, { signer });
    expect(verifyLog([read(path)], { holds })).toMatchObject({ first: 1, faults: [], proven: [{ last: 3 }] });
  });

  test("a file that ends with something else is put aside, and the log goes on", async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 2, { signer });
    appendFileSync(path, "garbage\n\0\0\0\n");
    const said: string[] = [];
    await write(path, 1, { signer, tell: (message) => said.push(message) });
    expect(said[0]).toContain("and the log goes on after line 4");
    const aside = filesOf(path).find(({ name }) => name.includes("damaged"))!;
    const { faults, notes, last } = verifyLog([aside, read(path)], { holds });
    expect(faults.map(({ message }) => message)).toContain("this is no line of an audit log");
    expect(notes.at(-1)!.message).toContain("was put aside as audit-damaged-");
    expect(last).toBe(7);
    expect(existsSync(path)).toBe(true);
  });
});

describe("verification", () => {
  const log = async () => {
    const path = join(folder(), "audit.jsonl");
    await write(path, 6, { checkpointEvery: 3, signer });
    return readFileSync(path, "utf8").trim().split("\n");
  };
  const verified = (lines: readonly string[], options: VerifyOptions = { holds }) =>
    verifyLog([{ name: "a", text: `${lines.join("\n")}\n` }], options);

  test("finds every line that was changed, taken out, put in or moved before a checkpoint", async () => {
    const lines = await log();
    expect(verified(lines).faults).toEqual([]);
    for (let i = 0; i < lines.length - 1; i += 1) {
      const changed = lines.with(i, lines[i]!.replace(/"time":"20/, '"time":"19'));
      expect([i, verified(changed).faults.length > 0]).toEqual([i, true]);
      if (i > 0) expect([i, verified(lines.toSpliced(i, 1)).faults.length > 0]).toEqual([i, true]);
      expect([i, verified(lines.toSpliced(i, 0, lines[i]!)).faults.length > 0]).toEqual([i, true]);
      const moved = lines.with(i, lines[i + 1]!).with(i + 1, lines[i]!);
      expect([i, verified(moved).faults.length > 0]).toEqual([i, true]);
    }
  });

  test("a chain that was made anew holds together, and no signature in it does", async () => {
    const { hashOf, encodeLine } = await import("../../src/layers/audit/lines.ts");
    const lines = (await log()).map((line) => JSON.parse(line) as { prev: string; client?: object });
    let prev = lines[0]!.prev;
    const forged = lines.map((line) => {
      const text = encodeLine({ ...line, prev, ...(line.client === undefined ? {} : { client: { uid: 0 } }) });
      prev = hashOf(text);
      return text;
    });
    expect(verified(forged, {}).faults).toEqual([]);
    expect(verified(forged, {}).proven).toEqual([]);
    expect(verified(forged).faults.map(({ message }) => message)).toEqual([
      "the signature of checkpoint 5 is not by the key that was given (it says pkcs11:object=audit)",
      "the signature of checkpoint 9 is not by the key that was given (it says pkcs11:object=audit)",
    ]);
  });

  test("what was cut off after a checkpoint is missed only by a witness", async () => {
    const lines = await log();
    const cut = lines.slice(0, 5);
    expect(verified(cut)).toMatchObject({ faults: [], proven: [{ first: 1, last: 5 }] });
    const { hashOf } = await import("../../src/layers/audit/lines.ts");
    const witnessed = [{ n: 9, hash: hashOf(lines[8]!) }];
    expect(verified(cut, { holds, witnessed }).faults.map(({ message }) => message)).toEqual([
      "line 9, which a witness was told of, is not there: the log was cut off, or its file was not given",
    ]);
  });

  test("lines after the last checkpoint are in no proof", async () => {
    const lines = await log();
    expect(verified(lines.slice(0, 7))).toMatchObject({ last: 7, proven: [{ first: 1, last: 5 }] });
  });

  test("the checkpoints of another log of the same key do not count", async () => {
    const [a, b] = [await log(), await log()];
    expect(verified([...a.slice(0, 4), b[4]!]).faults.length).toBeGreaterThan(0);
    expect(
      verified([...a, ...b])
        .faults.map(({ message }) => message)
        .join(),
    ).toContain("another log");
  });

  test("what is no line at all, or is written in another way, is told", async () => {
    const lines = await log();
    const spaced = lines.with(2, lines[2]!.replace('":"', '": "'));
    expect(verified(spaced).faults[0]!.message).toBe("this is no line of an audit log");
  });
});
