/**
 * Replies between the port and the wire: what a function answers. From p11-kit-rpc.md, 2.5 to 2.7.
 * @module
 */
import { fromPadded, padded } from "../cryptoki/padded.ts";
import type {
  AttributeReplies,
  AttributeReply,
  FunctionName,
  Output,
  Reply,
  Ulong,
  Version,
} from "../cryptoki/port.ts";
import { CALL_NAMES, type CallName, functionOf } from "../spec/calls.ts";
import { FUNCTIONS, type FunctionRow, type OutputKind } from "../spec/functions.ts";
import { CKR } from "../spec/returns.ts";
import { STRUCTURES, type StructureName } from "../spec/structures.ts";
import type { WireBytes, WireUlongs } from "./atoms.ts";
import type { WireAttribute, WireRequest } from "./attributes.ts";
import type { Dialect } from "./dialect.ts";
import type { Fields } from "./forms.ts";
import { takesNone, type WireMechanism, type WireUpdate } from "./mechanisms.ts";
import type { Request, Response } from "./messages.ts";
import { toWireMechanism } from "./parameters.ts";
import { lengthOnly, toWireAttribute } from "./values.ts";

const OK = CKR.CKR_OK[0];

/** How one kind of output travels: which fields it becomes, and how it is made of them. */
interface Conversion {
  toWire(value: unknown, request: Request, dialect: Dialect): Fields;
  /** Takes its fields off the front. */
  toPort(fields: unknown[]): unknown;
}

const bytes: Conversion = {
  toWire(value) {
    const output = value as Output;
    return ["bytes" in output ? output.bytes : output.needed];
  },
  toPort: (fields) => outputOf(fields.shift() as WireBytes),
};

function outputOf(wire: WireBytes): Output {
  return typeof wire === "number" ? { needed: wire } : { bytes: wire?.slice() ?? new Uint8Array() };
}

function structure(kind: StructureName): Conversion {
  const rows = Object.entries(STRUCTURES[kind]);
  return {
    toWire(value) {
      const given = value as Readonly<Record<string, Ulong | Version | string>>;
      return rows.map(([name, field]) =>
        typeof field === "object" ? padded(given[name] as string, field.text) : given[name],
      );
    },
    toPort: (fields) =>
      Object.fromEntries(
        rows.map(([name, field]) => {
          const value = fields.shift();
          return [name, typeof field === "object" ? fromPadded(value as Uint8Array) : value];
        }),
      ),
  };
}

const CONVERSIONS: Readonly<Record<Exclude<OutputKind, "values">, Conversion>> = {
  // A key that is not made yet, where only the size was asked for (C_EncapsulateKey), is 0.
  ulong: { toWire: (value) => [value ?? 0], toPort: (fields) => fields.shift() },
  // The room is the last field of the request. Numbers in answer to a question for their count are not understood.
  ulongs: {
    toWire(value, { fields }) {
      const list = value as readonly Ulong[];
      const room = fields.at(-1) as number;
      return [room === 0 || list.length > room ? list.length : list];
    },
    toPort: (fields) => fields.shift() as WireUlongs,
  },
  found: { toWire: (value) => [value], toPort: (fields) => fields.shift() },
  output: bytes,
  random: { toWire: (value) => [value], toPort: (fields) => (fields.shift() as Uint8Array).slice() },
  info: structure("info"),
  slotInfo: structure("slotInfo"),
  tokenInfo: structure("tokenInfo"),
  sessionInfo: structure("sessionInfo"),
  mechanismInfo: structure("mechanismInfo"),
};

interface Step {
  readonly name: string;
  readonly conversion: Conversion;
}

/** What each call answers, in order. Of C_GetAttributeValue it is attributes, which are apart. */
const STEPS = Object.fromEntries(
  CALL_NAMES.map((call) => {
    const row: FunctionRow = FUNCTIONS[functionOf(call)];
    const steps = Object.entries(row.out).map(([name, kind]) => ({
      name,
      conversion: CONVERSIONS[kind as keyof typeof CONVERSIONS],
    }));
    return [call, steps];
  }),
) as unknown as Readonly<Record<CallName, readonly Step[]>>;

/** A reply, as it travels: its fields, and to another Keywright what became of the parameter. */
export function toResponse(request: Request, reply: Reply<FunctionName>, dialect: Dialect): Response {
  const fields = toFieldsOf(request, reply, dialect);
  if (reply.parameter === undefined || !dialect.extended) return { fields };
  const given = request.fields.find(isMechanism);
  if (given === undefined) return { fields, parameter: reply.parameter as Uint8Array };
  const fn = functionOf(request.call);
  return {
    fields,
    parameter: toWireMechanism(fn, { type: given.type, parameter: reply.parameter }, dialect)?.parameter,
  };
}

function isMechanism(field: unknown): field is NonNullable<WireMechanism> {
  return typeof field === "object" && field !== null && "type" in field;
}

function toFieldsOf(request: Request, reply: Reply<FunctionName>, dialect: Dialect): Fields {
  const { call } = request;
  const given = reply as Readonly<Record<string, unknown>>;
  if (call === "C_GetAttributeValue") return attributesOf(request, given.values as AttributeReplies, dialect);
  const fields: unknown[] = [];
  for (const { name, conversion } of STEPS[call]) fields.push(...conversion.toWire(given[name], request, dialect));
  return call === "C_DeriveKey2" ? [0, updateOf(request, dialect), ...fields] : fields;
}

/** The mark of a derivation's answer is that of its request. */
function updateOf({ fields }: Request, dialect: Dialect): WireUpdate | undefined {
  const mechanism = fields[1] as WireMechanism;
  if (mechanism === null || mechanism.parameter === undefined) return undefined;
  return takesNone(mechanism.type, dialect) ? undefined : {};
}

/** The same attributes in the same order, each with its value, its length, or neither. */
function attributesOf({ fields }: Request, { rv, values }: AttributeReplies, dialect: Dialect): Fields {
  const requests = fields[2] as readonly WireRequest[];
  const attributes = requests.map((request, i) => attributeOf(request, values[i]!, dialect));
  // A value that was read and has no form here is as good as not there.
  const isLost = attributes.some(({ value }, i) => value === undefined && values[i]!.value !== undefined);
  return [attributes, isLost && rv === OK ? CKR.CKR_ATTRIBUTE_TYPE_INVALID[0] : rv];
}

function attributeOf({ type, room }: WireRequest, { value, needed }: AttributeReply, dialect: Dialect): WireAttribute {
  if (value !== undefined) return toWireAttribute({ type, value }, dialect) ?? { type };
  return needed !== undefined && room === 0 ? lengthOnly(type, needed, dialect) : { type };
}

/** A reply, from the fields that arrived; lists that did not fit are a number. Not for C_GetAttributeValue. */
export function toReply(call: CallName, fields: Fields): Reply<FunctionName> {
  const left = call === "C_DeriveKey2" ? fields.slice(2) : [...fields];
  return Object.fromEntries(
    STEPS[call].map(({ name, conversion }) => [name, conversion.toPort(left)]),
  ) as Reply<FunctionName>;
}
