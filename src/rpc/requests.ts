/**
 * Requests between the port and the wire: what a function is given.
 * @module
 */
import { fromUtf8, utf8 } from "../codec/bytes.ts";
import { checkBytes, checkSize, checkTemplate, checkUlong } from "../cryptoki/checks.ts";
import { CryptokiError } from "../cryptoki/errors.ts";
import { padded } from "../cryptoki/padded.ts";
import type { Args, Attribute, AttributeRequest, FunctionName, InitArgs, Mechanism } from "../cryptoki/port.ts";
import { attributeName } from "../spec/attributes.ts";
import { CALL_NAMES, type CallName, functionOf } from "../spec/calls.ts";
import { FUNCTIONS, type FunctionRow, type InputKind } from "../spec/functions.ts";
import { NULL, type WireBytes } from "./atoms.ts";
import type { WireAttribute, WireRequest } from "./attributes.ts";
import type { Dialect } from "./dialect.ts";
import type { Fields } from "./forms.ts";
import { MAX_BODY, MAX_NUMBERS } from "./limits.ts";
import type { WireMechanism } from "./mechanisms.ts";
import type { Request } from "./messages.ts";
import { fromWireMechanism, toWireMechanism } from "./parameters.ts";
import { fromWireTemplate, toWireTemplate } from "./values.ts";

/** What C_Initialize begins with. */
const MAGIC = utf8("PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1");
const LABEL = 32;

interface Place {
  readonly fn: FunctionName;
  readonly name: string;
  readonly dialect: Dialect;
}

/** How one kind of input travels. Values of the caller are checked on their way out, those of a peer on their way in. */
interface Conversion {
  toWire(value: unknown, place: Place): unknown;
  toPort(value: unknown, place: Place): unknown;
}

function bad({ fn, name }: Place, fault: string): CryptokiError {
  return new CryptokiError(fn, "CKR_ARGUMENTS_BAD", `${name} is ${fault}`);
}

const bytes: Conversion = {
  toWire(value, { fn, name }) {
    checkBytes(fn, name, value);
    return value;
  },
  toPort(value, place) {
    const given = value as WireBytes;
    if (typeof given === "number" && given > 0) throw bad(place, `NULL, with a length of ${given}`);
    return given instanceof Uint8Array ? given : new Uint8Array();
  },
};

const pin: Conversion = {
  toWire: (value, place) => (value === null ? null : bytes.toWire(value, place)),
  toPort: (value, place) => (value === null || value === 0 ? null : bytes.toPort(value, place)),
};

const mechanism: Conversion = {
  toWire: (value, { fn, dialect }) => toWireMechanism(fn, value as Mechanism | null, dialect),
  toPort: (value, { fn, dialect }) => fromWireMechanism(fn, value as WireMechanism, dialect),
};

const template: Conversion = {
  toWire(value, place) {
    checkTemplate(place.fn, place.name, value);
    const attributes = value as readonly Attribute[];
    const wire = toWireTemplate(attributes, place.dialect);
    if (wire !== undefined) return wire;
    const fault = attributes.find((attribute) => toWireTemplate([attribute], place.dialect) === undefined)!;
    throw new CryptokiError(
      place.fn,
      "CKR_ATTRIBUTE_VALUE_INVALID",
      `${attributeName(fault.type)} has a value that p11-kit's protocol cannot carry to this peer`,
    );
  },
  toPort(value, { fn, name, dialect }) {
    const attributes = value as readonly WireAttribute[];
    const given = fromWireTemplate(attributes, dialect);
    if (given !== undefined) return given;
    const fault = attributes.find((attribute) => fromWireTemplate([attribute], dialect) === undefined)!;
    throw new CryptokiError(
      fn,
      "CKR_ATTRIBUTE_VALUE_INVALID",
      `${name} has ${attributeName(fault.type)} without a value that could be carried`,
    );
  },
};

/** @throws CryptokiError CKR_DEVICE_MEMORY for more room than is given here */
function requireRoom(room: number, { fn, name }: Place): void {
  if (room > MAX_BODY) {
    throw new CryptokiError(fn, "CKR_DEVICE_MEMORY", `${name} asks for ${room} bytes; at most ${MAX_BODY} are given`);
  }
}

const CONVERSIONS: Readonly<Record<Exclude<InputKind, "null" | "initArgs">, Conversion>> = {
  ulong: {
    toWire(value, { fn, name }) {
      checkUlong(fn, name, value);
      return value;
    },
    toPort: (value) => value,
  },
  bool: { toWire: (value) => (value === true ? 1 : 0), toPort: (value) => value !== 0 },
  bytes,
  parameter: bytes,
  username: bytes,
  pin,
  label: {
    toWire(value, place) {
      checkBytes(place.fn, place.name, value);
      const { length } = value as Uint8Array;
      if (length > LABEL) throw bad(place, `of ${length} bytes; it may have ${LABEL}`);
      return padded(value as Uint8Array, LABEL);
    },
    toPort(value, place) {
      if (value === null) throw bad(place, "NULL");
      // Stock clients measure a label that is not terminated as if it were.
      return (value as Uint8Array).slice(0, LABEL);
    },
  },
  mechanism: {
    toWire: mechanism.toWire,
    toPort(value, place) {
      if (value === null) throw bad(place, "NULL");
      return mechanism.toPort(value, place);
    },
  },
  mechanismOrNull: mechanism,
  template,
  requests: {
    toWire: () => {
      throw new TypeError("attributes are asked for by the client itself");
    },
    toPort(value, place) {
      const requests = value as readonly WireRequest[];
      requireRoom(
        requests.reduce((sum, { room }) => sum + room, 0),
        place,
      );
      return requests.map(toRequest);
    },
  },
  // Room is a bound and no amount: what needs more than is given here gets its length.
  room: {
    toWire(value, { fn, name, dialect }) {
      if (value === null) return 0;
      checkSize(fn, name, value);
      if (value !== 0) return value;
      return dialect.release === "0.24" ? 0 : NULL;
    },
    toPort(value) {
      if (value === 0) return null;
      return value === NULL ? 0 : Math.min(value as number, MAX_BODY);
    },
  },
  count: {
    toWire(value, { fn, name }) {
      checkSize(fn, name, value);
      return value;
    },
    toPort(value, place) {
      if (place.fn !== "C_GenerateRandom") return Math.min(value as number, MAX_NUMBERS);
      requireRoom(value as number, place);
      return value;
    },
  },
};

function toRequest({ type, room, nested }: WireRequest): AttributeRequest {
  return { type, room: room === 0 ? null : room, ...(nested === undefined ? {} : { nested: nested.map(toRequest) }) };
}

interface Step {
  readonly name: string;
  readonly conversion: Conversion;
}

/** Fields that the port has no name for: how many numbers a list may have, whether a signature is wanted. */
const UNNAMED: Readonly<Partial<Record<CallName, { readonly at: number; readonly value: number }>>> = {
  C_GetSlotList: { at: 1, value: 256 },
  C_GetMechanismList: { at: 1, value: 1024 },
  C_SignMessageNext: { at: 3, value: 1 },
};

const STEPS = Object.fromEntries(
  CALL_NAMES.map((call) => {
    const row: FunctionRow = FUNCTIONS[functionOf(call)];
    const steps: Step[] = Object.entries(row.in)
      .filter(([, kind]) => kind !== "null" && kind !== "initArgs")
      .map(([name, kind]) => ({ name, conversion: CONVERSIONS[kind as keyof typeof CONVERSIONS] }));
    const unnamed = UNNAMED[call];
    if (unnamed !== undefined) {
      const { at, value } = unnamed;
      steps.splice(at, 0, { name: "", conversion: { toWire: () => value, toPort: () => undefined } });
    }
    return [call, steps];
  }),
) as unknown as Readonly<Record<CallName, readonly Step[]>>;

/**
 * A request for a function, as it travels. C_GetAttributeValue is not among them: its client asks in rows.
 * @throws CryptokiError for arguments that are not of their kinds, or that cannot travel
 */
export function toRequestOf<F extends FunctionName>(call: CallName, fn: F, args: Args<F>, dialect: Dialect): Request {
  if (call === "C_Initialize") return { call, fields: initialisation(args as Args<"C_Initialize">) };
  const given = args as Readonly<Record<string, unknown>>;
  return {
    call,
    fields: STEPS[call].map(({ name, conversion }) => conversion.toWire(given[name], { fn, name, dialect })),
  };
}

function initialisation({ args }: { readonly args: InitArgs }): Fields {
  const { reserved } = args;
  return [MAGIC, reserved === undefined ? 0 : 1, utf8(`${reserved ?? ""}\0`)];
}

/**
 * What a function is given, from a request that arrived.
 * @throws CryptokiError for what cannot be given to it
 */
export function toArgs({ call, fields }: Request, dialect: Dialect): Args<FunctionName> {
  const fn = functionOf(call);
  if (call === "C_Initialize") return initArgs(fields) as Args<FunctionName>;
  const args: Record<string, unknown> = {};
  for (const [i, { name, conversion }] of STEPS[call].entries()) {
    if (name !== "") args[name] = conversion.toPort(fields[i], { fn, name, dialect });
  }
  return args as Args<FunctionName>;
}

/** What the client puts into `pReserved` is not handed on: it would say which files are opened here. */
function initArgs([magic]: Fields): Args<"C_Initialize"> {
  if (!(magic instanceof Uint8Array) || fromUtf8(magic) !== fromUtf8(MAGIC)) {
    throw new CryptokiError("C_Initialize", "CKR_GENERAL_ERROR", "the client does not begin as p11-kit's do");
  }
  return { args: {} };
}
