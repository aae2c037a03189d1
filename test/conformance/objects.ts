import { expect } from "vitest";
import { utf8 } from "../../src/codec/bytes.ts";
import type { AttributeValue } from "../../src/cryptoki/port.ts";
import { attributeKind, attributeName, CKA, type ValueKind } from "../../src/spec/attributes.ts";
import { CKK, CKO } from "../../src/spec/objects.ts";
import { CKR } from "../../src/spec/returns.ts";
import { mechanism, RENAMED, refuses, template } from "./kit.ts";
import type { Can } from "./suite.ts";

function hasKind(kind: ValueKind, value: AttributeValue): boolean {
  switch (kind) {
    case "bool":
      return typeof value === "boolean";
    case "template":
    case "mechanisms":
    case "ulongs":
      return Array.isArray(value);
    case "date":
      return value instanceof Uint8Array && (value.length === 0 || value.length === 8);
    case "der":
    case "text":
    case "bytes":
    case "bigint":
    case "version":
      return value instanceof Uint8Array;
    case "ulong":
    case "class":
    case "keyType":
    case "certificateType":
    case "mechanism":
    case "hardwareFeature":
    case "profile":
      return typeof value === "number" || typeof value === "bigint";
  }
}

export function objects(can: Can): void {
  can(["data objects"], "an object is found by what it is, and read back as it was made", (kit) =>
    kit.user(async (session) => {
      const object = await kit.data(session, { CKA_APPLICATION: "tests", CKA_VALUE: "something" });
      expect(await kit.find(session, { CKA_CLASS: CKO.CKO_DATA[0], CKA_APPLICATION: "tests" })).toEqual([object]);
      expect(await kit.find(session, { CKA_CLASS: CKO.CKO_DATA[0], CKA_APPLICATION: "test" })).toEqual([]);
      expect(await kit.read(session, object, "CKA_CLASS", "CKA_APPLICATION", "CKA_VALUE", "CKA_PRIVATE")).toEqual({
        CKA_CLASS: CKO.CKO_DATA[0],
        CKA_APPLICATION: utf8("tests"),
        CKA_VALUE: utf8("something"),
        CKA_PRIVATE: kit.hasPrivateData,
      });
    }),
  );

  can(["data objects"], "a search gives out its finds in portions, each once", (kit) =>
    kit.user(async (session) => {
      const made = [];
      for (let i = 0; i < 5; i++) made.push(await kit.data(session, { CKA_APPLICATION: "portions" }));
      const values = { CKA_APPLICATION: "portions" };
      expect([...(await kit.find(session, values, 2))].sort()).toEqual([...made].sort());
      expect([...(await kit.find(session, values, 5))].sort()).toEqual([...made].sort());
    }),
  );

  can(["data objects"], "a destroyed object is gone", (kit) =>
    kit.user(async (session) => {
      const object = await kit.data(session, { CKA_APPLICATION: "gone" });
      await kit.call("C_DestroyObject", { session, object });
      expect(await kit.find(session, { CKA_APPLICATION: "gone" })).toEqual([]);
    }),
  );

  can(["data objects", "destroyed objects are invalid"], "the handle of a destroyed object is invalid", (kit) =>
    kit.user(async (session) => {
      const object = await kit.data(session);
      await kit.call("C_DestroyObject", { session, object });
      await refuses(() => kit.call("C_DestroyObject", { session, object }), "CKR_OBJECT_HANDLE_INVALID");
      await refuses(
        () => kit.call("C_GetAttributeValue", { session, object, requests: [{ type: CKA.CKA_LABEL[0] }] }),
        "CKR_OBJECT_HANDLE_INVALID",
      );
    }),
  );

  can(["data objects", "changing an attribute"], "an attribute can be changed, and is found by its new value", (kit) =>
    kit.user(async (session) => {
      const object = await kit.data(session);
      await kit.call("C_SetAttributeValue", { session, object, template: template({ CKA_LABEL: RENAMED }) });
      expect(await kit.read(session, object, "CKA_LABEL")).toEqual({ CKA_LABEL: utf8(RENAMED) });
      expect(await kit.find(session, { CKA_LABEL: RENAMED })).toEqual([object]);
    }),
  );

  can(["attributes that cannot change"], "what an object is cannot be changed", (kit) =>
    kit.user(async (session) => {
      const { privateKey: object } = await kit.ec(session, "P-256");
      const set = (values: Parameters<typeof template>[0]) => () =>
        kit.call("C_SetAttributeValue", { session, object, template: template(values) });
      await refuses(set({ CKA_KEY_TYPE: CKK.CKK_RSA[0] }), "CKR_ATTRIBUTE_READ_ONLY");
      await refuses(set({ CKA_SENSITIVE: false }), "CKR_ATTRIBUTE_READ_ONLY");
    }),
  );

  can(["data objects", "copying an object"], "a copy is an object of its own, with what was changed", (kit) =>
    kit.user(async (session) => {
      const object = await kit.data(session);
      const changes = template({ CKA_LABEL: RENAMED });
      const { copy } = await kit.call("C_CopyObject", { session, object, template: changes });
      expect(copy).not.toBe(object);
      await kit.call("C_DestroyObject", { session, object });
      expect(await kit.read(session, copy, "CKA_LABEL", "CKA_VALUE")).toEqual({
        CKA_LABEL: utf8(RENAMED),
        CKA_VALUE: utf8("a value"),
      });
    }),
  );

  can(
    ["data objects", "session objects"],
    "an object of a session is seen by other sessions, and ends with its own",
    (kit) =>
      kit.user(async (session) => {
        const other = await kit.open();
        const values = { CKA_TOKEN: false, CKA_APPLICATION: "of a session" };
        const object = await kit.data(session, values);
        expect(await kit.find(other, { CKA_APPLICATION: "of a session" })).toEqual([object]);
        await kit.call("C_CloseSession", { session });
        expect(await kit.find(other, { CKA_APPLICATION: "of a session" })).toEqual([]);
      }),
  );

  can(["private objects need a login"], "a private object is not there without login", (kit) =>
    kit.user(async (session) => {
      const id = Uint8Array.of(7, 7, 7);
      await kit.ec(session, "P-256", { CKA_TOKEN: true, CKA_ID: id });
      expect(await kit.find(session, { CKA_ID: id })).toHaveLength(1);
      await kit.call("C_Logout", { session });
      expect(await kit.find(session, { CKA_ID: id })).toEqual([]);
      await kit.login(session);
      expect(await kit.find(session, { CKA_ID: id })).toHaveLength(1);
    }),
  );

  can(["read-only sessions change no token object"], "a read-only session cannot make an object in the token", (kit) =>
    kit.alone(async () => {
      const session = await kit.open("ro");
      await kit.login(session);
      await refuses(() => kit.ec(session, "P-256", { CKA_TOKEN: true }), "CKR_SESSION_READ_ONLY");
    }),
  );

  can(["sensitive attributes"], "what may not leave the token does not spoil what may", (kit) =>
    kit.user(async (session) => {
      const { privateKey: object } = await kit.ec(session, "P-256");
      const requests = [
        { type: CKA.CKA_KEY_TYPE[0] },
        { type: CKA.CKA_VALUE[0] },
        { type: CKA.CKA_SIGN[0] },
        { type: CKA.CKA_MODULUS[0] },
        { type: CKA.CKA_LABEL[0], room: 1 },
        { type: CKA.CKA_LABEL[0], room: null },
      ];
      const { values } = await kit.call("C_GetAttributeValue", { session, object, requests });
      const label = (await kit.read(session, object, "CKA_LABEL")).CKA_LABEL as Uint8Array;
      expect(values.values).toEqual([
        { type: CKA.CKA_KEY_TYPE[0], value: CKK.CKK_EC[0] },
        { type: CKA.CKA_VALUE[0] },
        { type: CKA.CKA_SIGN[0], value: true },
        { type: CKA.CKA_MODULUS[0] },
        { type: CKA.CKA_LABEL[0], needed: label.length },
        { type: CKA.CKA_LABEL[0], needed: label.length },
      ]);
      // Any of the three that apply.
      const partial = ["CKR_ATTRIBUTE_SENSITIVE", "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_BUFFER_TOO_SMALL"] as const;
      expect(partial.map((name) => CKR[name][0])).toContain(values.rv);
    }),
  );

  for (const type of ["EC", "RSA"] as const) {
    can(
      ["attributes have the standard's kinds"],
      `every attribute of ${type} keys is of the kind that the table says`,
      (kit) =>
        kit.user(async (session) => {
          const pair = type === "EC" ? await kit.ec(session, "P-256") : await kit.rsa(session, "sign");
          const requests = Object.values(CKA).map(([code]) => ({ type: code }));
          for (const object of [pair.publicKey, pair.privateKey]) {
            const { values } = (await kit.call("C_GetAttributeValue", { session, object, requests })).values;
            const given = values.flatMap(({ type: code, value }) => (value === undefined ? [] : [{ code, value }]));
            const wrong = given.filter(({ code, value }) => !hasKind(attributeKind(code), value));
            expect(wrong.map(({ code, value }) => [attributeName(code), value])).toEqual([]);
            expect(given.length).toBeGreaterThan(12);
          }
        }),
    );
  }

  can(["generated keys are local"], "a generated key pair says how it came about", (kit) =>
    kit.user(async (session) => {
      const { privateKey, publicKey } = await kit.ec(session, "P-256");
      expect(
        await kit.read(session, privateKey, "CKA_CLASS", "CKA_LOCAL", "CKA_SENSITIVE", "CKA_ALWAYS_SENSITIVE"),
      ).toEqual({
        CKA_CLASS: CKO.CKO_PRIVATE_KEY[0],
        CKA_LOCAL: true,
        CKA_SENSITIVE: true,
        CKA_ALWAYS_SENSITIVE: true,
      });
      expect((await kit.read(session, publicKey, "CKA_CLASS")).CKA_CLASS).toBe(CKO.CKO_PUBLIC_KEY[0]);
    }),
  );

  can(["templates are checked"], "a template that lacks something, or contradicts itself, makes nothing", (kit) =>
    kit.user(async (session) => {
      const create = (values: Parameters<typeof template>[0]) => () =>
        kit.call("C_CreateObject", { session, template: template(values) });
      await refuses(create({ CKA_LABEL: "of no class" }), "CKR_TEMPLATE_INCOMPLETE");
      const generate = () =>
        kit.call("C_GenerateKey", {
          session,
          mechanism: mechanism("CKM_AES_KEY_GEN"),
          template: template({ ...kit.own, CKA_CLASS: CKO.CKO_PUBLIC_KEY[0], CKA_VALUE_LEN: 32 }),
        });
      await refuses(generate, "CKR_TEMPLATE_INCONSISTENT", "CKR_ATTRIBUTE_VALUE_INVALID");
    }),
  );
}
