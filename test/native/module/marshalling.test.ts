/** Marshalling without a module: what is written into an arena is what was given, and fits the space asked for. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Values } from "../../../src/cryptoki/describe.ts";
import { CryptokiError } from "../../../src/cryptoki/errors.ts";
import { valueFromMemory } from "../../../src/cryptoki/memory.ts";
import type { Attribute, AttributeValue, FunctionName, ParameterValue, Ulong } from "../../../src/cryptoki/port.ts";
import { Arena } from "../../../src/native/module/arena.ts";
import type { Calling, CFunction } from "../../../src/native/module/calling.ts";
import { TRIPLE } from "../../../src/native/module/layout.ts";
import { PLANS } from "../../../src/native/module/plans.ts";
import { putTemplate, templateSpace } from "../../../src/native/module/values.ts";
import { attributeKind, CKA, type ValueKind } from "../../../src/spec/attributes.ts";
import { CKM } from "../../../src/spec/mechanisms.ts";
import { PARAMETERS, type ParameterField, type ParameterName } from "../../../src/spec/parameters.ts";

const bytes = fc.uint8Array({ maxLength: 70 });
const ulong: fc.Arbitrary<Ulong> = fc
  .bigInt({ min: 0n, max: 2n ** 64n - 1n })
  .map((value) => (value <= Number.MAX_SAFE_INTEGER ? Number(value) : value));

function valueOfKind(kind: ValueKind): fc.Arbitrary<AttributeValue> {
  switch (kind) {
    case "bool":
      return fc.boolean();
    case "mechanisms":
    case "ulongs":
      return fc.array(ulong, { maxLength: 5 });
    case "template":
      return fc.array(fc.record({ type: fc.constant(CKA.CKA_LABEL[0]), value: bytes }), { minLength: 1, maxLength: 3 });
    case "text":
    case "bytes":
    case "bigint":
    case "der":
    case "date":
    case "version":
      return bytes;
    case "ulong":
    case "class":
    case "keyType":
    case "certificateType":
    case "mechanism":
    case "hardwareFeature":
    case "profile":
      return ulong;
  }
}

const attribute: fc.Arbitrary<Attribute> = fc
  .constantFrom(...Object.values(CKA).map(([type]) => type))
  .chain((type) => fc.record({ type: fc.constant(type), value: valueOfKind(attributeKind(type)) }));

/** Reads a template back, nested ones too. */
function read(arena: Arena, at: number, count: number): Attribute[] {
  return Array.from({ length: count }, (_, i) => {
    const row = at + i * TRIPLE.size;
    const type = Number(arena.ulong(row + TRIPLE.type));
    const target = arena.pointer(row + TRIPLE.pointer) - arena.address;
    const length = Number(arena.ulong(row + TRIPLE.length));
    const isTemplate = attributeKind(type) === "template";
    return {
      type,
      value: isTemplate ? read(arena, target, length / TRIPLE.size) : valueFromMemory(type, arena.copy(target, length)),
    };
  });
}

test("a template of every kind of value is read back as it was written, in exactly the space it asked for", () => {
  fc.assert(
    fc.property(fc.array(attribute, { maxLength: 8 }), (template) => {
      const space = templateSpace(template);
      const arena = new Arena(space);
      arena.begin(0);
      expect(read(arena, putTemplate(arena, template), template.length)).toEqual(template);
      expect(() => arena.take(1)).toThrow(RangeError);
    }),
  );
});

function parameterOf(name: ParameterName): fc.Arbitrary<ParameterValue> {
  const fields = Object.entries(PARAMETERS[name]) as [string, ParameterField][];
  const arbitrary = ([key, field]: [string, ParameterField]): [string, fc.Arbitrary<unknown>] => {
    if (field === "ulong") return [key, ulong];
    if (field === "bool") return [key, fc.boolean()];
    if (field === "bytes" || field === "lengthBytes") return [key, bytes];
    if ("block" in field) return [key, fc.uint8Array({ minLength: field.block, maxLength: field.block })];
    return [key, parameterOf(field.to as ParameterName)];
  };
  return fc.record(Object.fromEntries(fields.map(arbitrary))) as unknown as fc.Arbitrary<ParameterValue>;
}

/** A call whose C function does `act` to the arena. */
function calling(act: (arena: Arena) => void): { how: Calling; cFunction: CFunction } {
  let arena: Arena | undefined;
  const how: Calling = {
    arena(space) {
      arena = new Arena(space);
      return arena;
    },
    invoke() {
      act(arena!);
      return 0;
    },
  };
  return { how, cFunction: (() => 0) as unknown as CFunction };
}

describe("mechanism parameters", () => {
  const structured = Object.entries(CKM).filter(([, [, kind]]) => kind in PARAMETERS);

  test.each(Object.keys(PARAMETERS) as ParameterName[])(
    "%s fits its space, and is unchanged if the module left it",
    (name) => {
      const type = structured.find(([, [, kind]]) => kind === name)![1][0];
      fc.assert(
        fc.property(parameterOf(name), (parameter) => {
          const { how, cFunction } = calling(() => {});
          const values = { session: 1, mechanism: { type, parameter }, key: 2 };
          expect(PLANS.C_SignInit.run(how, cFunction, values)).toEqual({});
        }),
        { numRuns: 40 },
      );
    },
  );

  test("bytes that the module changed come back, the others as they were given", () => {
    const type = CKM.CKM_AES_GCM[0];
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), bytes, (iv, aad) => {
        const parameter = { iv, ivBits: 8 * iv.length, aad, tagBits: 128 };
        const inverted = iv.map((byte) => byte ^ 0xff);
        const { how, cFunction } = calling((arena) => {
          const gcm = arena.pointer(TRIPLE.pointer) - arena.address;
          arena.bytes.set(inverted, arena.pointer(gcm) - arena.address);
        });
        const values = { session: 1, mechanism: { type, parameter }, key: 2 };
        expect(PLANS.C_SignInit.run(how, cFunction, values)).toEqual({ parameter: { ...parameter, iv: inverted } });
      }),
    );
  });

  test("a structure for a mechanism that takes bytes is refused", () => {
    const { how, cFunction } = calling(() => {});
    const mechanism = { type: 0x8000_0001, parameter: { hash: 1 } };
    expect(() => PLANS.C_SignInit.run(how, cFunction, { session: 1, mechanism, key: 2 })).toThrow(
      "takes its parameter as bytes",
    );
  });
});

describe("what a caller gives that C must not see is refused before anything is written", () => {
  const session = 1;
  const data = Uint8Array.of(1);
  const sign = (mechanism: unknown) => ({ session, mechanism, key: 2 });
  const gcm = { iv: new Uint8Array(12), ivBits: 96, aad: new Uint8Array(), tagBits: 128 };
  const ctr = { counterBits: 128, counterBlock: new Uint8Array(16) };
  const set = (value: unknown, type: number = CKA.CKA_LABEL[0]) => ({
    session,
    object: 1,
    template: [{ type, value }],
  });
  const of = (mechanism: readonly [number, ...unknown[]], parameter: unknown) =>
    sign({ type: mechanism[0], parameter });
  test.each<[fn: FunctionName, values: Values, message: string]>([
    [
      "C_GenerateRandom",
      { session, length: -1 },
      "CKR_ARGUMENTS_BAD, an argument is not acceptable: length is -1, not a whole number from 0 to 2147483647",
    ],
    ["C_GenerateRandom", { session, length: 1.5 }, "length is 1.5, not"],
    ["C_GenerateRandom", { session, length: 2 ** 40 }, "length is 1099511627776, not"],
    ["C_Encrypt", { session, data, room: -5 }, "room is -5, not"],
    ["C_Encrypt", { session, data, room: Number.NaN }, "room is NaN, not"],
    ["C_Encrypt", { session, data }, "room is missing, not"],
    ["C_Digest", { session, data: "text", room: 32 }, "data is a string, not bytes"],
    ["C_Digest", { session: -1, data, room: 32 }, "session is -1, not a whole number from 0"],
    ["C_Digest", { session: "1", data, room: 32 }, "session is a string, not a whole number from 0"],
    ["C_Login", { session, userType: 1, pin: "1234" }, "pin is a string, not bytes"],
    ["C_FindObjects", { session, max: -1 }, "max is -1, not"],
    ["C_GetAttributeValue", { session, object: 1, requests: [{ type: 3, room: -8 }] }, "room of CKA_LABEL is -8, not"],
    ["C_GetAttributeValue", { session, object: 1, requests: "CKA_LABEL" }, "requests are a string, not a list"],
    [
      "C_SetAttributeValue",
      set(undefined),
      "CKR_ATTRIBUTE_VALUE_INVALID, an attribute has an unacceptable value: CKA_LABEL is missing",
    ],
    ["C_SetAttributeValue", set("www"), "CKA_LABEL is a string, not bytes"],
    ["C_SetAttributeValue", set(null), "CKA_LABEL is null, not bytes"],
    ["C_SetAttributeValue", set(-1, CKA.CKA_VALUE_LEN[0]), "CKA_VALUE_LEN is -1, not bytes"],
    ["C_SetAttributeValue", set([{ type: 3, value: "www" }], CKA.CKA_WRAP_TEMPLATE[0]), "CKA_LABEL is a string"],
    ["C_SetAttributeValue", { session, object: 1, template: undefined }, "template is missing, not a list"],
    ["C_SignInit", sign(undefined), "mechanism is missing without a type"],
    ["C_SignInit", of(CKM.CKM_AES_GCM, null), "CKM_AES_GCM has the parameter null: leave it out"],
    ["C_SignInit", of(CKM.CKM_AES_GCM, "iv"), "has a parameter that is a string"],
    [
      "C_SignInit",
      of(CKM.CKM_AES_GCM, { ...gcm, aad: undefined }),
      "CKR_MECHANISM_PARAM_INVALID, the mechanism's parameter is not acceptable: mechanism CKM_AES_GCM has aad that is missing, not bytes",
    ],
    ["C_SignInit", of(CKM.CKM_AES_GCM, { ...gcm, tagBits: 12.5 }), "has tagBits that is 12.5, not a whole number"],
    [
      "C_SignInit",
      of(CKM.CKM_AES_CTR, { ...ctr, counterBlock: new Uint8Array(8) }),
      "has counterBlock that is a Uint8Array, not 16 bytes",
    ],
    [
      "C_SignInit",
      of(CKM.CKM_AES_CTR, { ...ctr, counterBits: 1.5 }),
      "has counterBits that is 1.5, not a whole number",
    ],
  ])("%s %j", (fn, values, message) => {
    const { how, cFunction } = calling(() => {
      throw new Error("it was called");
    });
    const call = () => PLANS[fn].run(how, cFunction, values);
    expect(call).toThrow(CryptokiError);
    expect(call).toThrow(message);
  });
});
