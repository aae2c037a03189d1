/** Every message that can be written is read as it was; every other one is read, or refused with its path and offset. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat, fromHex, utf8 } from "../../src/codec/bytes.ts";
import { CodecError } from "../../src/codec/errors.ts";
import { kindOf } from "../../src/rpc/attributes.ts";
import { type Dialect, dialectOf, EXTENDED } from "../../src/rpc/dialect.ts";
import { encodeFrame, type Frame, FrameReader } from "../../src/rpc/frames.ts";
import { MAX_BODY, MAX_NESTING, MAX_OPTIONS } from "../../src/rpc/limits.ts";
import { type ParameterForm, parameterForm } from "../../src/rpc/mechanisms.ts";
import {
  decodeRequest,
  decodeResponse,
  encodeError,
  encodeRequest,
  encodeResponse,
  type Request,
  RequestError,
} from "../../src/rpc/messages.ts";
import { CKA } from "../../src/spec/attributes.ts";
import { CALL_NAMES, type CallName, callByNumber, callRow, functionOf, isOwnCall } from "../../src/spec/calls.ts";
import { FUNCTIONS } from "../../src/spec/functions.ts";
import { CKM } from "../../src/spec/mechanisms.ts";
import { LAID_OUT, WITHOUT_PARAMETER } from "../../src/spec/wire-mechanisms.ts";

const DIALECTS: readonly Dialect[] = [dialectOf(0), dialectOf(1), dialectOf(2), EXTENDED];

const ulong = fc.oneof(
  fc.nat(1000),
  fc.maxSafeNat(),
  fc.bigInt({ min: BigInt(Number.MAX_SAFE_INTEGER) + 1n, max: 2n ** 64n - 1n }),
);
const u32 = fc.nat(0xffff_fffe);
const bytes = fc.uint8Array({ maxLength: 40 });
const wireBytes = fc.oneof(bytes, fc.constant(null), u32);
const attributeType = fc.oneof(fc.constantFrom(...Object.values(CKA).map(([code]) => code)), u32);
const mechanismType = fc.oneof(fc.constantFrom(...Object.values(CKM).map(([code]) => code)), u32);

function attributes(dialect: Dialect, depth = 0): fc.Arbitrary<unknown[]> {
  const one = attributeType.chain((type) => {
    const declared = u32;
    const kind = kindOf(type, dialect);
    const value: fc.Arbitrary<unknown> =
      kind === "byte"
        ? fc.nat(255)
        : kind === "ulong"
          ? ulong
          : kind === "mechanisms"
            ? fc.array(ulong, { maxLength: 4 })
            : kind === "template"
              ? depth < 2
                ? attributes(dialect, depth + 1)
                : fc.constant([])
              : fc.oneof(bytes, fc.constant(null));
    return fc.oneof(fc.record({ type: fc.constant(type), declared, value }), fc.constant({ type }));
  });
  return fc.array(one, { maxLength: 4 });
}

function parameter(form: ParameterForm): fc.Arbitrary<unknown> {
  if (form === "ulong") return ulong;
  if (form === "bytes") return fc.oneof(bytes, fc.constant(null));
  return fc
    .tuple(...form.map(([, field]) => fieldOf(field)))
    .map((values) => Object.fromEntries(form.map(([name], i) => [name, values[i]])));
}

function fieldOf(field: Exclude<ParameterForm, string>[number][1]): fc.Arbitrary<unknown> {
  if (field === "byte") return fc.nat(255);
  if (field === "bool") return fc.boolean();
  return parameter(field as ParameterForm);
}

function mechanism(dialect: Dialect): fc.Arbitrary<unknown> {
  const one = mechanismType.chain((type) => {
    const bare = fc.constant({ type });
    const isBare = WITHOUT_PARAMETER[dialect.release].has(type) && dialect.mechanisms === "marked";
    const isLegacy = dialect.mechanisms === "legacy";
    if (isBare) return bare;
    const form = parameterForm(type, dialect);
    const given = fc.record({ type: fc.constant(type), parameter: parameter(form) });
    if (!isLegacy) return fc.oneof(bare, given);
    // NULL and no parameter are one there, but for those that are laid out, which always have one.
    if (LAID_OUT[dialect.release].has(type)) return given;
    return fc.oneof(
      bare,
      given.filter(({ parameter: value }) => value !== null),
    );
  });
  return fc.oneof({ arbitrary: one, weight: 9 }, { arbitrary: fc.constant(null), weight: 1 });
}

function requests(dialect: Dialect): fc.Arbitrary<unknown[]> {
  return fc.array(
    attributeType.chain((type) => {
      const nests = kindOf(type, dialect) === "template";
      const room = fc.nat(200);
      return room.chain((size) => {
        const isNested = nests && (dialect.nesting === "always" || (dialect.nesting === "with room" && size > 0));
        const plain = { type, room: size };
        if (!isNested) return fc.constant(plain);
        const nested = fc.array(fc.record({ type: fc.constant(CKA.CKA_LABEL[0]), room }), {
          maxLength: Math.floor(size / 24),
        });
        return nested.map((inner) => ({ ...plain, nested: inner }));
      });
    }),
    { maxLength: 5 },
  );
}

function field(atom: string, dialect: Dialect): fc.Arbitrary<unknown> {
  switch (atom) {
    case "y":
      return fc.nat(255);
    case "u":
      return ulong;
    case "v":
      return fc.record({ major: fc.nat(255), minor: fc.nat(255) });
    case "s":
      return bytes;
    case "z":
      return fc.oneof(bytes, fc.constant(null));
    case "ay":
      return wireBytes;
    case "au":
      return fc.oneof(fc.array(ulong, { maxLength: 5 }), u32);
    case "fy":
    case "fu":
      return u32;
    case "aA":
      return attributes(dialect);
    case "fA":
      return requests(dialect);
    case "M":
      return mechanism(dialect);
    default:
      throw new Error(`no values for ${atom}`);
  }
}

function fields(signature: string, dialect: Dialect): fc.Arbitrary<unknown[]> {
  const atoms = signature.match(/[af]?[a-zA-Z]/g) ?? [];
  return fc.tuple(...atoms.map((atom) => field(atom, dialect)));
}

const call = fc.constantFrom(...CALL_NAMES);
const message = fc
  .record({ call, dialect: fc.constantFrom(...DIALECTS) })
  .filter(({ call: name, dialect }) => dialect.extended || !isOwnCall(name))
  .chain(({ call: name, dialect }) =>
    fields(callRow(name)[1], dialect).map((values) => ({
      request: { call: name, fields: values } as Request,
      dialect,
    })),
  );

describe("decoding inverts encoding", () => {
  test("requests, of every call and in every dialect", () => {
    fc.assert(
      fc.property(message, ({ request, dialect }) => {
        const decoded = decodeRequest(encodeRequest(request, dialect), dialect);
        // In some dialects the same bytes say the same in two ways; they are read as the dialect's own.
        expect({ call: decoded.call, fields: decoded.fields }).toEqual(request);
      }),
      { numRuns: 2000 },
    );
  });

  test("responses, of every call and in every dialect", () => {
    const response = message.chain((asked) => {
      const [, , signature] = callRow(asked.request.call);
      const values =
        asked.request.call === "C_DeriveKey2" ? fc.constant([0, undefined, 7]) : fields(signature, asked.dialect);
      return values.map((answered) => ({ ...asked, answered }));
    });
    fc.assert(
      fc.property(response, ({ request, dialect, answered }) => {
        fc.pre(request.call !== "C_DeriveKey2" || request.fields[1] !== null);
        const body = encodeResponse(request, { fields: answered }, dialect);
        // Of what only the length was asked for, a list of mechanisms is a number: see vectors.test.ts.
        fc.pre(request.call !== "C_GetAttributeValue");
        expect(decodeResponse(body, request, dialect)).toEqual({ fields: answered });
      }),
      { numRuns: 2000 },
    );
  });

  test("a return value alone", () => {
    fc.assert(
      fc.property(ulong, call, (rv, name) => {
        expect(decodeResponse(encodeError(rv), { call: name, fields: [] }, dialectOf(2))).toEqual({ rv });
      }),
    );
  });

  test("frames, however they are cut", () => {
    const frame = fc.record({
      code: fc.integer({ min: 1, max: 0xffff_ffff }),
      options: bytes,
      body: fc.uint8Array({ maxLength: 500 }),
    });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 5 }), fc.array(fc.nat(600), { maxLength: 20 }), (frames, cuts) => {
        const all = concat(...frames.map(encodeFrame));
        const reader = new FrameReader();
        const found: Frame[] = [];
        const places = [0, ...cuts.map((cut) => Math.min(cut, all.length)).sort((a, b) => a - b), all.length];
        for (const [i, place] of places.slice(1).entries()) {
          for (const one of reader.take(all.slice(places[i], place)) as Frame[]) {
            found.push({ ...one, options: one.options.slice(), body: one.body.slice() });
          }
        }
        expect(found).toEqual(frames);
        expect(reader.isWithin).toBe(false);
      }),
    );
  });
});

describe("what is no message", () => {
  interface Connection {
    offered: number;
    frames: { dir: string; hex: string }[];
  }
  const vectors = JSON.parse(
    readFileSync(new URL("../vectors/p11-kit-rpc-vectors.json", import.meta.url), "utf8"),
  ) as Connection[];
  const captured = vectors.flatMap(({ offered, frames }) =>
    frames
      .filter(({ dir }) => dir === "request")
      .map(({ hex }) => ({
        dialect: dialectOf(offered),
        body: (new FrameReader().take(fromHex(hex)!)[0] as Frame).body,
      })),
  );

  /** Whether it is read; what is refused is refused with a path and an offset within it. */
  function isRead(body: Uint8Array, dialect: Dialect): boolean {
    try {
      decodeRequest(body, dialect);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(RequestError);
      const { path, offset } = error as RequestError;
      expect(path).toMatch(/^request/);
      expect(offset).toBeGreaterThanOrEqual(0);
      expect(offset).toBeLessThanOrEqual(body.length);
      return false;
    }
  }

  test("a request that ends early is refused, at every byte of every captured one", () => {
    for (const { body, dialect } of captured) {
      const isAmbiguous = /M|fA/.test(callRow(decodeRequest(body, dialect).call)[1]);
      for (let length = 0; length < body.length; length += 1) {
        const cut = isRead(body.subarray(0, length), dialect);
        // Cut at one place, a mechanism or a list of attributes to read is one as another release writes it.
        if (!isAmbiguous) expect(cut).toBe(false);
      }
    }
  });

  test("a captured request with bytes changed is read, or refused with path and offset", () => {
    const change = fc.record({ at: fc.nat(), to: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.constantFrom(...captured),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        ({ body, dialect }, changes) => {
          const changed = body.slice();
          for (const { at, to } of changes) changed[at % changed.length] = to;
          isRead(changed, dialect);
        },
      ),
      { numRuns: 5000 },
    );
  });

  test("any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.constantFrom(...DIALECTS), (body, dialect) => {
        isRead(body, dialect);
      }),
    );
  });

  test("lengths that the bytes do not have are refused before memory is taken for them", () => {
    const long = (signature: string, number: number, ...rest: number[]) =>
      concat(
        fromHex(number.toString(16).padStart(8, "0"))!,
        fromHex(signature.length.toString(16).padStart(8, "0"))!,
        utf8(signature),
        Uint8Array.from(rest),
      );
    const eight = [0, 0, 0, 0, 0, 0, 0, 1];
    const huge = [0xff, 0xff, 0xff, 0xfe];
    // C_FindObjectsInit with 4 294 967 294 attributes; C_Sign with as many bytes; C_GetAttributeValue with as many requests.
    for (const body of [
      long("uaA", 26, ...eight, ...huge),
      long("uayfy", 43, ...eight, 1, ...huge),
      long("uufA", 24, ...eight, ...eight, ...huge),
    ]) {
      const before = process.memoryUsage().arrayBuffers;
      expect(isRead(body, dialectOf(0))).toBe(false);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    }
  });

  test("attributes nested deeper than eight are refused", () => {
    const wrap = (inner: Uint8Array) => concat(fromHex("00000001400002110100000018")!, inner);
    const nested = (depth: number): Uint8Array => (depth === 0 ? fromHex("00000000")! : wrap(nested(depth - 1)));
    const request = (depth: number) =>
      concat(fromHex("0000001a00000003")!, utf8("uaA"), fromHex("0000000000000001")!, nested(depth));
    expect(isRead(request(MAX_NESTING), dialectOf(2))).toBe(true);
    expect(isRead(request(MAX_NESTING + 2), dialectOf(2))).toBe(false);
  });

  test("another signature, and a call that there is none of", () => {
    const body = encodeRequest({ call: "C_GetSessionInfo", fields: [1] }, dialectOf(0));
    const signed = body.slice();
    signed[8] = "y".charCodeAt(0);
    expect(() => decodeRequest(signed, dialectOf(0))).toThrow(
      'request/C_GetSessionInfo at byte 4: signature "y" where "u" is expected',
    );
    const unknown = body.slice();
    unknown[3] = 200;
    expect(() => decodeRequest(unknown, dialectOf(0))).toThrow("request at byte 0: there is no call 200");
  });

  test("a frame too large is passed over, and the one behind it is read", () => {
    const frame = encodeFrame({ code: 5, options: new Uint8Array(), body: utf8("next") });
    for (const [options, body, fault] of [
      [0, MAX_BODY + 1, "a body of"],
      [MAX_OPTIONS + 1, 3, "options of"],
    ] as const) {
      const header = new Uint8Array(12);
      const view = new DataView(header.buffer);
      view.setUint32(0, 4);
      view.setUint32(4, options);
      view.setUint32(8, body);
      const reader = new FrameReader();
      expect(reader.take(header)).toMatchObject([{ code: 4, fault: expect.stringContaining(fault) }]);
      const filler = new Uint8Array(65_536);
      for (let left = options + body; left > 0; left -= filler.length) {
        expect(reader.take(filler.subarray(0, Math.min(left, filler.length)))).toEqual([]);
      }
      expect(reader.take(frame)).toMatchObject([{ code: 5 }]);
    }
  });

  test("a code of 0 is the end", () => {
    expect(() => new FrameReader().take(new Uint8Array(12))).toThrow(CodecError);
  });
});

test("every call carries a function, and every function but two has a call", () => {
  for (const name of CALL_NAMES) {
    expect(callByNumber(callRow(name)[0])).toBe(name);
    expect(FUNCTIONS).toHaveProperty(functionOf(name));
  }
  const carried = new Set(CALL_NAMES.map(functionOf));
  const without = Object.keys(FUNCTIONS).filter((name) => !carried.has(name as keyof typeof FUNCTIONS));
  expect(without).toEqual(["C_GetFunctionStatus", "C_CancelFunction"]);
});

test("Keywright's own calls are unknown to any other peer", () => {
  for (const name of CALL_NAMES.filter(isOwnCall)) {
    const body = Uint8Array.from(fromHex(callRow(name)[0].toString(16))!);
    expect(() => decodeRequest(body, dialectOf(2))).toThrow("there is no call");
  }
});
