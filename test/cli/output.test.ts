/** Where a command's result goes, if that is no terminal: a slow reader, one that goes away, a full disk. */
import { expect, onTestFinished, test } from "vitest";
import { TranscriptFolder } from "../support/transcript.ts";

const MEGABYTE = 1024 * 1024;
const RANDOM = `keywright random pkcs11:token=demo --bytes ${MEGABYTE} --store t.db`;
const KEYS = Array.from({ length: 20 }, (_, i) => `  k${i}: { token: demo, id: ${i}, type: "EC:P-256" }\n`).join("");
const TOKEN = "{ module: softtoken, store: t.db, label: demo, pin: { file: user.pin }, soPin: { file: so.pin } }";

function folder() {
  const made = new TranscriptFolder([
    { name: "user.pin", mode: 0o600, text: "1234-user\n" },
    { name: "so.pin", mode: 0o600, text: "so-12345678\n" },
    { name: "keys.yaml", mode: 0o644, text: `tokens: { demo: ${TOKEN} }\nkeys:\n${KEYS}` },
  ]);
  onTestFinished(() => made.remove());
  /** In bash, which knows what became of each part of a pipeline. */
  return { run: (line: string) => made.run(`bash -c '${line}; echo "codes \${PIPESTATUS[*]}"'`) };
}

function withToken() {
  const made = folder();
  const { err } = made.run("keywright token init --label demo --so-pin file:so.pin --pin file:user.pin --store t.db");
  expect(err).toBe("");
  return made;
}

test("a reader that is slow gets all of it", () => {
  expect(withToken().run(`${RANDOM} | (sleep 1; wc -c)`).out).toBe(`${MEGABYTE}\ncodes 0 0\n`);
});

test("a reader that goes away is no fault", () => {
  expect(withToken().run(`${RANDOM} | head -c 1 | wc -c`)).toMatchObject({ out: "1\ncodes 0 0 0\n", err: "" });
});

test("a reader of messages that goes away does not end a command in the midst of what it does", () => {
  const { run } = folder();
  expect(run("keywright apply --yes --state s 2>&1 >result | true").out).toBe("codes 0 0\n");
  expect(run("keywright plan --exit-code --state s").out).toBe("Nothing to do: 20 keys as declared.\ncodes 0\n");
});

test("a result that cannot be written is an error", () => {
  const { out, err } = withToken().run(`${RANDOM} >/dev/full`);
  expect(out).toBe("codes 1\n");
  expect(err).toContain("keywright: error: cannot write to standard output: the disk is full");
});

test("a declaration from standard input has its paths start from here", () => {
  const { run } = folder();
  expect(run("cat keys.yaml | keywright apply --yes --state s -f - 2>err >result").out).toBe("codes 0 0\n");
  expect(run("keywright plan --exit-code --state s -f keys.yaml").out).toBe(
    "Nothing to do: 20 keys as declared.\ncodes 0\n",
  );
});

test("a PIN from a descriptor that the command was not started with is refused at once", () => {
  const { run } = withToken();
  const list = "keywright key list pkcs11:token=demo --store t.db --pin fd:";
  for (const fd of [3, 4, 9]) {
    const { out, err } = run(`timeout 20 ${list}${fd} </dev/null`);
    expect([out, err]).toEqual(["codes 4\n", expect.stringContaining(`there is no file descriptor ${fd} that this`)]);
  }
  expect(run(`${list}7 7<user.pin`).out).toContain("codes 0\n");
});

test("a token that was deleted on purpose is made again", () => {
  const { run } = folder();
  expect(run("keywright apply --yes --state s 2>err >result").out).toBe("codes 0\n");
  expect(run("keywright token delete demo --yes --state s 2>err").out).toBe("codes 0\n");
  expect(run("keywright apply --yes --state s 2>err >result").out).toBe("codes 0\n");
});
