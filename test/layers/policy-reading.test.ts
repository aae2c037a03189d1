/** Reading a policy, and the keys that it names. */
import { describe, expect, test } from "vitest";
import { requireKnownKeys, seenObjects } from "../../src/layers/policy/known.ts";
import { PolicyError, policySchema, readPolicy } from "../../src/layers/policy/policy.ts";
import { tokenWithKeys } from "./rig.ts";
import { web } from "./under.ts";

describe("reading a policy", () => {
  const faults = async (text: string) => {
    try {
      await readPolicy(text, "policy.yaml");
      return [];
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error;
      return error.faults.map(
        ({ line, path, message, hint }) => `${line} ${path}: ${message}${hint === undefined ? "" : ` (${hint})`}`,
      );
    }
  };

  test.each([
    ["clients:\n  web: { uid: [33], key: [] }", '2 clients.web.key: a client has no field "key" (did you mean keys?)'],
    [
      "clients:\n  web: { keys: [] }",
      "2 clients.web: it does not say whom it is for (give uid, gid, program or socket, or anyone: true)",
    ],
    [
      "clients:\n  web: { uid: [33], keys: [{ operations: [sign] }] }",
      "2 clients.web.keys.0: it names no key (give label, id or uri)",
    ],
    [
      "clients: { web: { uid: [33], keys: [{ label: a, operations: [sing] }] } }",
      '1 clients.web.keys.0.operations.0: an operation is one of sign, verify, encrypt, decrypt, digest, wrap, unwrap, extract, derive, encapsulate, decapsulate, modify, destroy, here is "sing" (did you mean sign?)',
    ],
    [
      "clients: { web: { uid: [33], keys: [{ label: a, operations: [sign], mechanisms: [CKM_NONE] }] } }",
      '1 clients.web.keys.0.mechanisms.0: there is no mechanism "CKM_NONE"',
    ],
    [
      "clients: { web: { uid: [33], keys: [{ label: a, operations: [sign], hours: ['8-18'] }] } }",
      '1 clients.web.keys.0.hours.0: "8-18" are no hours: write "Mon-Fri 08:00-18:00", "Sat 09:00-12:00" or "22:00-06:00" for every day',
    ],
    [
      "clients: { web: { uid: [no-such-user-here] } }",
      '1 clients.web.uid: this machine knows no user "no-such-user-here"',
    ],
    [
      "clients: { web: { program: [nginx] } }",
      '1 clients.web.program.0: a path here begins with /, and "nginx" does not',
    ],
    [
      "timeZone: Mars\nclients: {}",
      '1 timeZone: there is no time zone "Mars": write UTC, or a name such as Europe/Berlin',
    ],
    [
      "clients: { web: { uid: [33], keys: [{ uri: 'pkcs11:slot-id=3;object=a', operations: [sign] }] } }",
      "1 clients.web.keys.0.uri: a key is named by token, manufacturer, serial, model, object, type, id; this URI has slot-id",
    ],
  ])("%s is refused", async (text, fault) => {
    expect(await faults(text)).toEqual([fault]);
  });

  test("users and groups are found by name", async () => {
    const policy = await readPolicy("clients: { web: { uid: [root, 33], gid: [root] } }", "policy.yaml");
    expect(policy.clients[0]).toMatchObject({ uid: [0, 33], gid: [0] });
  });

  test("a key that the token does not have is refused, with the nearest name", async () => {
    const rig = await tokenWithKeys();
    const seen = await seenObjects(rig.app, rig.session);
    const check = async (keys: string) => requireKnownKeys(await readPolicy(web(keys), "policy.yaml"), seen);
    await check("{ label: www, operations: [sign] }, { id: 0x02, operations: [sign] }");
    await expect(check("{ label: wwv, operations: [sign] }")).rejects.toMatchObject({
      message: 'policy.yaml:1:39: clients.web.keys.0: the token has no key of label "wwv"',
      hints: ["did you mean www?"],
    });
    await expect(check("{ id: 7, operations: [sign] }")).rejects.toMatchObject({
      hints: ["keys that there are: www, mail, box"],
    });
  });

  test("its schema has every field and what each is for", () => {
    const { properties } = policySchema() as { properties: Record<string, { description: string }> };
    expect(Object.keys(properties)).toEqual(["timeZone", "clients"]);
    const text = JSON.stringify(policySchema());
    for (const name of ["perDay", "publicObjects", "decapsulate"]) expect(text).toContain(`"${name}"`);
  });

  test("a night's hours go on into the next day, and a week's into the next week", async () => {
    const { isWithin, parseHours } = await import("../../src/layers/policy/hours.ts");
    const at = (text: string, moment: string) => isWithin([parseHours(text)], new Date(moment), "UTC");
    // 2026-11-22 is a Sunday.
    expect(at("Sun 22:00-06:00", "2026-11-22T23:00:00Z")).toBe(true);
    expect(at("Sun 22:00-06:00", "2026-11-23T05:59:00Z")).toBe(true);
    expect(at("Sun 22:00-06:00", "2026-11-23T06:00:00Z")).toBe(false);
    expect(at("Sat-Mon 00:00-24:00", "2026-11-23T12:00:00Z")).toBe(true);
    expect(at("Sat-Mon 00:00-24:00", "2026-11-24T00:00:00Z")).toBe(false);
    expect(() => parseHours("Mon 25:00-26:00")).toThrow("are no hours");
  });
});
