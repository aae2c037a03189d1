/** Confirmation by a person, over the built-in token. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Client } from "../../src/layers/client.ts";
import { askByCommand } from "../../src/layers/confirm/command.ts";
import { confirmUses } from "../../src/layers/confirm/confirm.ts";
import { type Ask, Confirmer, type ConfirmerOptions, type Question } from "../../src/layers/confirm/confirmer.ts";
import type { Refusal } from "../../src/layers/refusals.ts";
import type { Rig } from "../softtoken/rig.ts";
import {
  type Connection,
  connect,
  how,
  PRIVATE,
  PUBLIC,
  rvOf,
  SECRET,
  signWith,
  template,
  tokenWithKeys,
} from "./rig.ts";

interface Asked extends Connection {
  readonly questions: Question[];
  readonly refused: Refusal[];
}

function confirmer(ask: Ask, options: Partial<ConfirmerOptions> = {}): { confirmer: Confirmer; questions: Question[] } {
  const questions: Question[] = [];
  const made = new Confirmer({
    ask: (question) => {
      questions.push(question);
      return ask(question);
    },
    ...options,
  });
  return { confirmer: made, questions };
}

async function asked(
  of: { confirmer: Confirmer; questions: Question[] },
  client: Client = { pid: 7, uid: 33 },
  rig?: Rig,
): Promise<Asked> {
  const refused: Refusal[] = [];
  const layer = confirmUses({ confirmer: of.confirmer, client, log: (refusal) => void refused.push(refusal) });
  return { ...(await connect(rig ?? (await tokenWithKeys()), layer)), questions: of.questions, refused };
}

const yes: Ask = () => Promise.resolve(true);
const no: Ask = () => Promise.resolve(false);
const brief = (questions: readonly Question[]) =>
  questions.map(({ key, operation, mechanism }) => `${operation} ${key.label} ${mechanism ?? "-"}`);

describe("a key of the token", () => {
  test("is used after a yes, and each use is asked for", async () => {
    const c = await asked(confirmer(yes));
    const key = await c.handle("www", PRIVATE);
    await signWith(c, key);
    await signWith(c, key);
    expect(brief(c.questions)).toEqual(["sign www CKM_ECDSA", "sign www CKM_ECDSA"]);
    expect(c.questions[0]).toMatchObject({ client: { pid: 7, uid: 33 }, key: { id: "01", class: "CKO_PRIVATE_KEY" } });
  });

  test("is not used after a no, nor where nobody could be asked, and the log says which", async () => {
    const c = await asked(confirmer(no));
    expect(await rvOf(async () => signWith(c, await c.handle("www", PRIVATE)))).toBe("CKR_FUNCTION_REJECTED");
    expect(c.refused[0]).toMatchObject({
      reason: "the person who was asked did not allow to sign",
      key: { label: "www" },
    });
    const { app, session } = c;
    const sign = () => app.call("C_Sign", { session, data: new Uint8Array(32), room: 100 });
    expect(await rvOf(sign)).toBe("CKR_OPERATION_NOT_INITIALIZED");
    const d = await asked(confirmer(() => Promise.reject(new Error("no screen"))));
    expect(await rvOf(async () => signWith(d, await d.handle("www", PRIVATE)))).toBe("CKR_FUNCTION_REJECTED");
    expect(d.refused[0]!.reason).toBe("nobody could be asked: no screen");
  });

  test("is asked for whatever is done with it, both keys of a wrapping, and what is read of it", async () => {
    const c = await asked(confirmer(yes));
    const { app, session } = c;
    const box = await c.handle("box", SECRET);
    const www = await c.handle("www", PRIVATE);
    const mechanism = how("CKM_AES_KEY_WRAP_KWP");
    await app.call("C_WrapKey", { session, mechanism, wrappingKey: box, key: www, room: null });
    await app.call("C_WrapKey", { session, mechanism, wrappingKey: box, key: www, room: 1000 });
    await app.call("C_GetAttributeValue", { session, object: box, requests: [{ type: 0x11 }] });
    await app.call("C_DestroyObject", { session, object: box });
    expect(brief(c.questions)).toEqual([
      "wrap box CKM_AES_KEY_WRAP_KWP",
      "extract www CKM_AES_KEY_WRAP_KWP",
      "extract box -",
      "destroy box -",
    ]);
  });

  test("nobody is asked for public keys, for looking, and for what a client made for itself", async () => {
    const c = await asked(confirmer(no));
    const { app, session } = c;
    const key = await c.handle("www", PUBLIC);
    await app.call("C_VerifyInit", { session, mechanism: how("CKM_ECDSA"), key });
    await app.call("C_GetAttributeValue", { session, object: await c.handle("box", SECRET), requests: [{ type: 3 }] });
    const values = template({ CKA_VALUE_LEN: 16, CKA_ENCRYPT: true });
    const made = await app.call("C_GenerateKey", { session, mechanism: how("CKM_AES_KEY_GEN"), template: values });
    await app.call("C_EncryptInit", { session, mechanism: how("CKM_AES_ECB"), key: made.key });
    expect(c.questions).toEqual([]);
  });
});

describe("an answer", () => {
  test("that is yes holds for its time, for the same client, key and operation", async () => {
    let now = 0;
    const of = confirmer(yes, { rememberMs: 1000, clock: () => now });
    const rig = await tokenWithKeys();
    const c = await asked(of, { pid: 7 }, rig);
    const key = await c.handle("www", PRIVATE);
    await signWith(c, key);
    now = 999;
    await signWith(await asked(of, { pid: 7 }, rig), key);
    expect(of.questions).toHaveLength(1);
    await signWith(await asked(of, { pid: 8 }, rig), key);
    expect(of.questions).toHaveLength(2);
    await signWith(c, await c.handle("mail", PRIVATE));
    expect(of.questions).toHaveLength(3);
    now = 1000;
    await signWith(c, key);
    expect(of.questions).toHaveLength(4);
  });

  test("of one connection is no other's where nothing is known of the clients", async () => {
    const of = confirmer(yes, { rememberMs: 1000, clock: () => 0 });
    const rig = await tokenWithKeys();
    for (const c of [await asked(of, {}, rig), await asked(of, {}, rig)]) {
      await signWith(c, await c.handle("www", PRIVATE));
      await signWith(c, await c.handle("www", PRIVATE));
    }
    expect(of.questions).toHaveLength(2);
  });

  test("that is no is not remembered", async () => {
    let answer = false;
    const of = confirmer(() => Promise.resolve(answer), { rememberMs: 1000, clock: () => 0 });
    const c = await asked(of);
    const key = await c.handle("www", PRIVATE);
    expect(await rvOf(() => signWith(c, key))).toBe("CKR_FUNCTION_REJECTED");
    answer = true;
    expect(await rvOf(() => signWith(c, key))).toBe("CKR_OK");
  });

  test("is one for two uses of a key at once, and another question waits for it", async () => {
    let open = 0;
    let most = 0;
    const answers: (() => void)[] = [];
    const of = confirmer(
      () =>
        new Promise((resolve) => {
          open += 1;
          most = Math.max(most, open);
          answers.push(() => {
            open -= 1;
            resolve(true);
          });
        }),
    );
    const rig = await tokenWithKeys();
    const [a, b] = [await asked(of, { pid: 7 }, rig), await asked(of, { pid: 7 }, rig)];
    const [www, mail] = [await a.handle("www", PRIVATE), await a.handle("mail", PRIVATE)];
    const done = Promise.all([signWith(a, www), signWith(b, www), signWith(await asked(of, { pid: 8 }, rig), mail)]);
    while (answers.length < 1) await new Promise((resolve) => setImmediate(resolve));
    answers[0]!();
    while (answers.length < 2) await new Promise((resolve) => setImmediate(resolve));
    answers[1]!();
    await done;
    expect([brief(of.questions), most]).toEqual([["sign www CKM_ECDSA", "sign mail CKM_ECDSA"], 1]);
  });
});

describe("a command that asks", () => {
  const question: Question = {
    client: { pid: 7, uid: 33, program: "/usr/bin/ssh" },
    key: { uri: "pkcs11:object=www", label: "w\nw\u001b[2Jw", id: "01", class: "CKO_PRIVATE_KEY" },
    operation: "sign",
    mechanism: "CKM_ECDSA",
  };

  function script(text: string): string {
    const folder = mkdtempSync(join(tmpdir(), "keywright-confirm-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "ask");
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  test("has the question in its environment and input, on one line, and nothing else of our environment", async () => {
    process.env.A_SECRET = "hidden";
    onTestFinished(() => void delete process.env.A_SECRET);
    const path = script('{ cat; env; } > "$0.out"');
    expect(await askByCommand({ command: [path] })(question)).toBe(true);
    const lines = readFileSync(`${path}.out`, "utf8").split("\n");
    expect(lines[0]).toBe('uid 33, /usr/bin/ssh (pid 7) wants to sign: the key "w\\nw\\u001b[2Jw" (id 01), CKM_ECDSA');
    expect(lines).toContain("KEYWRIGHT_OPERATION=sign");
    expect(lines).toContain("KEYWRIGHT_KEY_LABEL=w\\u000aw\\u001b[2Jw");
    expect(lines).toContain("KEYWRIGHT_CLIENT_PID=7");
    expect(lines.join()).not.toContain("hidden");
  });

  test("says no by any other exit code, by a signal, and by its silence", async () => {
    expect(await askByCommand({ command: [script("exit 1")] })(question)).toBe(false);
    expect(await askByCommand({ command: [script("kill -9 $$")] })(question)).toBe(false);
    expect(await askByCommand({ command: [script("exec sleep 600")], timeoutMs: 100 })(question)).toBe(false);
  });

  test("that is not there is an error, which the layer takes for a no", async () => {
    await expect(askByCommand({ command: ["/nonexistent/ask"] })(question)).rejects.toThrow(
      "cannot run /nonexistent/ask",
    );
  });
});
