/** The audit layer: which line each use of a key makes, over the built-in token. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import { isPromise } from "../../src/cryptoki/awaitable.ts";
import type { Cryptoki } from "../../src/cryptoki/port.ts";
import { refusalEntry, type UseEntry } from "../../src/layers/audit/lines.ts";
import { recordUses } from "../../src/layers/audit/record.ts";
import { enforcePolicy } from "../../src/layers/policy/enforce.ts";
import { readPolicy } from "../../src/layers/policy/policy.ts";
import {
  bytes,
  type Connection,
  connect,
  how,
  PRIVATE,
  rvOf,
  SECRET,
  signWith,
  template,
  tokenWithKeys,
} from "./rig.ts";
import { NEVER, SIGN_WWW, web } from "./under.ts";

async function audited(append?: (entry: UseEntry) => void): Promise<Connection & { entries: UseEntry[] }> {
  const entries: UseEntry[] = [];
  const layer = recordUses({ client: { uid: 33 }, append: append ?? ((entry) => void entries.push(entry)) });
  return { ...(await connect(await tokenWithKeys(), layer)), entries };
}

/** The entries, briefly: `C_Sign sign www CKM_ECDSA 32 CKR_OK`. */
const brief = (entries: readonly UseEntry[]) =>
  entries.map(({ function: fn, keys, mechanism, part, bytes: size, result }) =>
    [fn, ...keys.flatMap(({ as, label }) => [as, label]), mechanism, part, size, result]
      .filter((one) => one !== undefined)
      .join(" "),
  );

const LOGIN = "C_Login CKR_OK";

describe("a line", () => {
  test("is made for each signature, with key, mechanism, size and result", async () => {
    const c = await audited();
    await signWith(c, await c.handle("www", PRIVATE));
    expect(brief(c.entries)).toEqual([LOGIN, "C_Sign sign www CKM_ECDSA 32 CKR_OK"]);
    const [{ user }, entry] = c.entries as [UseEntry, UseEntry];
    expect(user).toBe("CKU_USER");
    expect(entry).toMatchObject({ type: "use", client: { uid: 33 }, keys: [{ id: "01", class: "CKO_PRIVATE_KEY" }] });
    expect(entry.keys[0]!.uri).toMatch(/^pkcs11:id=%01;.*object=www;.*token=test;type=private$/);
    expect(typeof entry.ms).toBe("number");
  });

  test("is not made for a query of a size, nor for looking", async () => {
    const c = await audited();
    const { app, session } = c;
    const key = await c.handle("www", PRIVATE);
    await app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key });
    await app.call("C_Sign", { session, data: new Uint8Array(32), room: null });
    await app.call("C_GetAttributeValue", { session, object: key, requests: [{ type: 3 }, { type: 0x11 }] });
    expect(brief(c.entries)).toEqual([LOGIN]);
  });

  test("is made for what fails, at its beginning or its end", async () => {
    const c = await audited();
    const { app, session } = c;
    const key = await c.handle("www", PRIVATE);
    await rvOf(() => app.call("C_SignInit", { session, mechanism: how("CKM_RSA_PKCS"), key }));
    await rvOf(() => app.call("C_SignInit", { session, mechanism: how("CKM_ECDSA"), key: 9999 }));
    await rvOf(() => app.call("C_Sign", { session, data: new Uint8Array(32), room: 100 }));
    expect(brief(c.entries.slice(1))).toEqual([
      expect.stringMatching(/^C_SignInit sign www CKM_RSA_PKCS CKR_KEY_TYPE_INCONSISTENT$/),
      "C_SignInit sign CKM_ECDSA CKR_KEY_HANDLE_INVALID",
      "C_Sign 32 CKR_OPERATION_NOT_INITIALIZED",
    ]);
    expect(c.entries[2]!.keys).toEqual([{ as: "sign", handle: "9999" }]);
  });

  test("is made when parts begin, so that plaintext that was taken without an end shows, and when they end", async () => {
    const c = await audited();
    const { app, session } = c;
    const key = await c.handle("box", SECRET);
    const mechanism = how("CKM_AES_CBC_PAD", new Uint8Array(16));
    await app.call("C_EncryptInit", { session, mechanism, key });
    for (let i = 0; i < 3; i += 1) await app.call("C_EncryptUpdate", { session, data: new Uint8Array(32), room: 100 });
    expect(brief(c.entries.slice(1))).toEqual(["C_EncryptUpdate encrypt box CKM_AES_CBC_PAD first 32 CKR_OK"]);
    await app.call("C_EncryptFinal", { session, room: 100 });
    expect(brief(c.entries.slice(2))).toEqual(["C_EncryptFinal encrypt box CKM_AES_CBC_PAD last 96 CKR_OK"]);
  });

  test("names both keys of a wrapping, the key that was made, and the key that was read", async () => {
    const c = await audited();
    const { app, session } = c;
    const box = await c.handle("box", SECRET);
    const www = await c.handle("www", PRIVATE);
    const mechanism = how("CKM_AES_KEY_WRAP_KWP");
    const wrap = (room: number | null) =>
      app.call("C_WrapKey", { session, mechanism, wrappingKey: box, key: www, room });
    await wrap(null);
    const wrapped = bytes((await wrap(1000)).output);
    const values = template({ CKA_CLASS: PRIVATE, CKA_KEY_TYPE: 3, CKA_LABEL: "back" });
    const { key } = await app.call("C_UnwrapKey", {
      session,
      mechanism,
      unwrappingKey: box,
      wrapped,
      template: values,
    });
    await app.call("C_GetAttributeValue", { session, object: box, requests: [{ type: 0x11 }] });
    await app.call("C_DestroyObject", { session, object: key });
    expect(brief(c.entries.slice(1))).toEqual([
      "C_WrapKey wrap box extract www CKM_AES_KEY_WRAP_KWP CKR_OK",
      `C_UnwrapKey unwrap box made back CKM_AES_KEY_WRAP_KWP ${wrapped.length} CKR_OK`,
      "C_GetAttributeValue extract box CKR_OK",
      "C_DestroyObject destroy back CKR_OK",
    ]);
  });

  test("never has a PIN or data", async () => {
    const c = await audited();
    const { app, session } = c;
    const secret = utf8("very secret data");
    await rvOf(() => app.call("C_Login", { session, userType: 1, pin: secret }));
    const key = await c.handle("box", SECRET);
    await app.call("C_EncryptInit", { session, mechanism: how("CKM_AES_ECB"), key });
    await app.call("C_Encrypt", { session, data: secret, room: 16 });
    const text = JSON.stringify(c.entries);
    expect(c.entries).toHaveLength(3);
    for (const form of [
      Buffer.from(secret).toString(),
      Buffer.from(secret).toString("hex"),
      Buffer.from(secret).toString("base64"),
      JSON.stringify([...secret]).slice(1, -1),
    ]) {
      expect(text).not.toContain(form);
    }
  });
});

test("a result leaves only when its line is written", async () => {
  let isFull = false;
  const c = await audited(() => {
    if (isFull) throw new Error("the disk is full");
  });
  const key = await c.handle("www", PRIVATE);
  isFull = true;
  await expect(signWith(c, key)).rejects.toThrow(
    "C_Sign: CKR_FUNCTION_FAILED, the function could not be carried out: it was done, and its result is withheld: the disk is full",
  );
});

test("what uses no key stays synchronous, and waits for no line", async () => {
  const c = await audited();
  expect(isPromise(c.app.call("C_GetSessionInfo", { session: c.session }))).toBe(false);
  expect(isPromise(c.app.call("C_FindObjectsInit", { session: c.session, template: [] }))).toBe(false);
});

test("refusals of a policy above are lines too", async () => {
  const entries: object[] = [];
  const policy = await readPolicy(web(SIGN_WWW), "policy.yaml");
  const client = { uid: 33 };
  const layer = (inner: Cryptoki) =>
    enforcePolicy({ policy, client, counters: NEVER, log: (refusal) => void entries.push(refusalEntry(refusal)) })(
      recordUses({ client, append: (entry) => void entries.push(entry) })(inner),
    );
  const c = await connect(await tokenWithKeys(), layer);
  await rvOf(async () => c.app.call("C_DestroyObject", { session: c.session, object: await c.handle("www", PRIVATE) }));
  await signWith(c, await c.handle("www", PRIVATE));
  expect(entries.slice(1)).toMatchObject([
    {
      type: "refusal",
      client,
      function: "C_DestroyObject",
      keys: [{ as: "destroy", label: "www", id: "01" }],
      result: "CKR_ACTION_PROHIBITED",
      by: "policy.yaml: clients.web",
      reason: "destroy is not allowed: readOnly",
    },
    { type: "use", function: "C_Sign", result: "CKR_OK" },
  ]);
});
