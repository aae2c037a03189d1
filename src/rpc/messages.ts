/**
 * Messages: the number of a call, its signature, and the fields that the signature names. From p11-kit-rpc.md, 2 and 3.
 * @module
 */
import { fromUtf8, Reader, sameBytes, Writer } from "../codec/bytes.ts";
import { CodecError } from "../codec/errors.ts";
import type { Ulong } from "../cryptoki/port.ts";
import { type CallName, callByNumber, functionOf, isOwnCall } from "../spec/calls.ts";
import { FUNCTIONS, type FunctionRow } from "../spec/functions.ts";
import type { ReturnName } from "../spec/returns.ts";
import { readUlong, writeUlong } from "./atoms.ts";
import type { WireRequest } from "./attributes.ts";
import { type Dialect, mechanismVariants, nestingVariants } from "./dialect.ts";
import { type Asked, ATOMS, type Atom, type AtomCodec, ERROR, type Fields, FORMS, type Form } from "./forms.ts";
import {
  type ParameterForm,
  parameterForm,
  readParameter,
  type WireMechanism,
  type WireParameter,
  writeParameter,
} from "./mechanisms.ts";

/** The longest signature has 18 characters (C_GetTokenInfo). */
const LONGEST_SIGNATURE = 64;
/** CK_ATTRIBUTE where pointers and numbers have 4 bytes each. */
const SMALLEST_ATTRIBUTE = 12;

export interface Request {
  readonly call: CallName;
  readonly fields: Fields;
}

/** An answer: fields, or a return value alone. Between two Keywrights, also the parameter that the call changed. */
export type Response =
  | { readonly fields: Fields; readonly parameter?: WireParameter | undefined }
  | { readonly rv: Ulong };

/** A request whose call, or signature, or a field is not what the protocol says. */
export class RequestError extends CodecError {
  /** What the client is answered. */
  readonly rv: ReturnName;

  constructor(rv: ReturnName, { path, offset, fault }: Pick<CodecError, "path" | "offset" | "fault">) {
    super(path, offset, fault);
    this.rv = rv;
  }
}

export function encodeRequest({ call, fields }: Request, dialect: Dialect): Uint8Array {
  const { number, request } = FORMS[call];
  return encode(number, request, fields, dialect, undefined);
}

export function encodeResponse(request: Request, response: Response, dialect: Dialect): Uint8Array {
  if ("rv" in response) return encodeError(response.rv);
  const { number, response: written } = FORMS[request.call];
  // With a return value other than OK, a derivation's answer ends before the key.
  const body = encode(number, written, response.fields, dialect, askedOf(request));
  if (!dialect.extended || response.parameter === undefined) return body;
  const w = new Writer().bytes(body);
  writeParameter(w, response.parameter, changedForm(request, dialect));
  return w.finish();
}

/** How a parameter that a call changed travels: as the mechanism's, or as a message's, which is bytes. */
function changedForm({ call, fields }: Request, dialect: Dialect): ParameterForm {
  const place = FORMS[call].request.atoms.indexOf("M");
  const mechanism = place < 0 ? null : (fields[place] as WireMechanism);
  return mechanism === null ? "bytes" : parameterForm(mechanism.type, dialect);
}

/** Whether a call may change a parameter: its mechanism's, or its message's. */
function changesParameter(call: CallName): boolean {
  return Object.values((FUNCTIONS[functionOf(call)] as FunctionRow).in).some(
    (kind) => kind === "mechanism" || kind === "mechanismOrNull" || kind === "parameter",
  );
}

/** An answer that is a return value alone. */
export function encodeError(rv: Ulong): Uint8Array {
  const { signature } = ERROR.response;
  const w = new Writer().u32(ERROR.number).u32(signature.length).bytes(signature);
  writeUlong(w, rv);
  return w.finish();
}

function encode(
  number: number,
  { signature, atoms }: Form,
  fields: Fields,
  dialect: Dialect,
  asked: Asked | undefined,
) {
  const w = new Writer();
  w.u32(number).u32(signature.length).bytes(signature);
  for (const [i, value] of fields.entries()) {
    (ATOMS[atoms[i]!] as AtomCodec<unknown>).write(w, value, dialect, asked);
  }
  return w.finish();
}

function askedOf({ call, fields }: Request): Asked | undefined {
  if (call === "C_GetAttributeValue") {
    const requests = fields[2] as readonly WireRequest[];
    return { counted: new Set(requests.flatMap(({ type, room }) => (room === 0 ? [type] : []))) };
  }
  if (call !== "C_DeriveKey2") return undefined;
  return { mechanism: (fields[1] as WireMechanism)?.type ?? 0 };
}

/**
 * A request, read as its client writes it, or else as clients of other releases do.
 * @returns the request, and the dialect in which it made sense
 * @throws RequestError for an unknown call, another signature, fields that end early or make no sense
 */
export function decodeRequest(body: Uint8Array, dialect: Dialect): Request & { readonly dialect: Dialect } {
  const r = new Reader(body, "request");
  try {
    return decode(r, body, dialect);
  } catch (error) {
    if (!(error instanceof CodecError) || error instanceof RequestError) throw error;
    throw new RequestError("CKR_DEVICE_ERROR", error);
  }
}

function decode(r: Reader, body: Uint8Array, dialect: Dialect): Request & { readonly dialect: Dialect } {
  const number = r.u32();
  const call = callByNumber(number);
  if (call === undefined || (isOwnCall(call) && !dialect.extended)) {
    throw new RequestError("CKR_FUNCTION_NOT_SUPPORTED", {
      path: "request",
      offset: 0,
      fault: `there is no call ${number}`,
    });
  }
  const { request } = FORMS[call];
  const path = `request/${call}`;
  r.path = path;
  requireSignature(r, request.signature);
  const variants = variantsOf(request.atoms, dialect);
  if (variants.length === 1) return { call, fields: readFields(r, request.atoms, dialect, undefined), dialect };
  const start = r.offset;
  let first: CodecError | undefined;
  for (const variant of variants) {
    const attempt = new Reader(body.subarray(start), path, start);
    try {
      const fields = readFields(attempt, request.atoms, variant, undefined);
      attempt.end();
      requirePlausible(attempt, fields);
      return { call, fields, dialect: variant };
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      first ??= error;
    }
  }
  // What follows the last field is passed over, where nothing else explains it.
  if (request.atoms.includes("fA")) return { call, fields: readFields(r, request.atoms, dialect, undefined), dialect };
  throw new RequestError("CKR_MECHANISM_INVALID", first!);
}

function requireSignature(r: Reader, expected: Uint8Array): void {
  const start = r.offset;
  const length = r.u32();
  if (length > LONGEST_SIGNATURE) r.fail(`a signature of ${length} characters`, start);
  const given = r.take(length);
  if (!sameBytes(given, expected)) {
    r.fail(
      `signature ${JSON.stringify(fromUtf8(given))} where ${JSON.stringify(fromUtf8(expected))} is expected`,
      start,
    );
  }
}

/** In which dialects a request may be written: one, where it is the same in all. */
function variantsOf(atoms: readonly Atom[], dialect: Dialect): readonly Dialect[] {
  if (dialect.extended) return [dialect];
  if (atoms.includes("M")) return mechanismVariants(dialect);
  return atoms.includes("fA") ? nestingVariants(dialect) : [dialect];
}

/** Attributes within attributes are as many as their room has place for: else it was something else that was read. */
function requirePlausible(r: Reader, fields: Fields): void {
  const requests = fields.at(-1);
  if (!Array.isArray(requests)) return;
  for (const { room, nested = [] } of requests as WireRequest[]) {
    if (nested.length > room / SMALLEST_ATTRIBUTE) r.fail(`${nested.length} attributes in a room of ${room} bytes`);
  }
}

function readFields(
  r: Reader,
  atoms: readonly Atom[],
  dialect: Dialect,
  asked: Asked | undefined,
  isOver: (fields: Fields) => boolean = () => false,
): Fields {
  const fields: unknown[] = [];
  const { path } = r;
  for (const [i, atom] of atoms.entries()) {
    if (isOver(fields)) break;
    r.path = `${path}/${i}`;
    fields.push((ATOMS[atom] as AtomCodec<unknown>).read(r, dialect, asked));
  }
  r.path = path;
  return fields;
}

/**
 * The answer to a request. What follows its last field is passed over.
 * @throws CodecError for the answer to another call, another signature, fields that end early
 */
export function decodeResponse(body: Uint8Array, request: Request, dialect: Dialect): Response {
  const r = new Reader(body, `response/${request.call}`);
  const number = r.u32();
  if (number === ERROR.number) {
    requireSignature(r, ERROR.response.signature);
    return { rv: readUlong(r) };
  }
  const { number: expected, response } = FORMS[request.call];
  if (number !== expected) r.fail(`call ${number} is answered, not call ${expected}`, 0);
  requireSignature(r, response.signature);
  const isOver =
    request.call === "C_DeriveKey2" ? (fields: Fields) => fields.length === 2 && fields[0] !== 0 : undefined;
  const fields = readFields(r, response.atoms, dialect, askedOf(request), isOver);
  if (!dialect.extended || r.left === 0 || !changesParameter(request.call)) return { fields };
  return { fields, parameter: readParameter(r, changedForm(request, dialect)) };
}
